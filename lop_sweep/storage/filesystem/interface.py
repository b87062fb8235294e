"""The interface of a file system, how one is found, and one-line errors for what goes wrong on it.

A path names its file system. `s3://bucket/sweep` is on the file system that is registered under the scheme "s3". Every
path without a scheme is on the local file system.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PosixPath
from typing import BinaryIO, Protocol

import pyarrow as pa

from lop_sweep.errors import InaccessibleFileError, MissingFileError, StoreError, comma_list, safe_repr, single_line
from lop_sweep.registry import component, components

DIRECTORY = "a directory"
"""What `FileSystem.kind` returns for a folder."""

_KIND = "filesystem"
LOCAL = "local"
"""The name of the local file system."""
READERS = 16
"""Threads that read files: decoding releases Python's global lock, and networks have latency."""


class FileSystem(Protocol):
    """What a sweep directory needs of the file system that holds it.

    Names that begin with a dot are temporaries: readers skip them. Methods raise `OSError` where the system refuses.

    Attributes:
        name: the scheme under which it is registered.
        beat_seconds: seconds between two heartbeats of a worker, which a request may cost money for.
        poll_seconds: least seconds between two questions whether a file is there that asks a worker to stop.
    """

    name: str
    beat_seconds: float
    poll_seconds: float

    def read(self, path: Path) -> bytes:
        """Return the content of a regular file; errors as `open_file`."""
        ...

    def open_file(self, path: Path) -> BinaryIO:
        """Open a regular file for reading at any position, without waiting for a FIFO or a device.

        Raises:
            FileNotFoundError: there is no such file.
            SpecialFileError: it is not a regular file.
        """
        ...

    def write(self, path: Path, content: bytes) -> None:
        """Write a file atomically and durably: after a crash, it has its old content or the new one."""
        ...

    def create(self, path: Path, content: bytes) -> bool:
        """Write a file atomically unless there is one already; return whether this call made it."""
        ...

    def delete(self, path: Path) -> None:
        """Remove a file, if there is one."""
        ...

    def move(self, path: Path, target: Path) -> None:
        """Give a file another name, in place of what is there. After a crash, it may have both.

        Raises:
            FileNotFoundError: there is no such file.
        """
        ...

    def list_names(self, folder: Path) -> list[str]:
        """Return the names of everything in a folder; none if there is no folder.

        Raises:
            SpecialFileError: the folder is a dangling link.
        """
        ...

    def exists(self, path: Path) -> bool:
        """Return whether there is a file at `path`, or anything else that is in its place, such as a dangling link."""
        ...

    def kind(self, path: Path) -> str:
        """Return what is at `path`, such as "a FIFO"; empty for a regular file or nothing. Links are followed."""
        ...

    def sizes(self, folder: Path) -> dict[str, int]:
        """Return the sizes of the regular files in a folder, in bytes, by name; none if there is no folder."""
        ...

    def make_folder(self, folder: Path) -> None:
        """Make sure that files can be written into a folder. It may exist only while something is in it."""
        ...

    def check_writable(self, folder: Path) -> None:
        """Write a file with content into a folder and remove it: a full disk accepts only empty files."""
        ...

    def identity(self, folder: Path) -> int:
        """Return a number that a copy of the folder does not share; 0 if there is none."""
        ...

    def temporary(self, path: Path) -> Path:
        """Return a name beside `path` that readers skip, and that `abandoned` reports once this process has ended."""
        ...

    def abandoned(self, folder: Path) -> list[Path]:
        """Return the temporaries in a folder whose writer has crashed."""
        ...


class UriPath(PosixPath):
    """A path on another file system than the local one: as a text, it is a URI."""

    def __str__(self) -> str:
        text = super().__str__()
        scheme, colon, rest = text.partition(":/")
        return f"{scheme}://{rest}" if colon and "/" not in scheme else text


def filesystem_of(path: Path) -> FileSystem:
    """Return the file system that holds a path."""
    scheme = path.parts[0].removesuffix(":") if path.parts and path.parts[0].endswith(":") else LOCAL
    found: FileSystem = component(_KIND, scheme if scheme in components(_KIND) else LOCAL)
    return found


def is_local(path: Path) -> bool:
    """Return whether a path is on this machine's file systems."""
    return filesystem_of(path).name == LOCAL


def sweep_path(root: str | Path) -> Path:
    """Return the path of a sweep directory: absolute if it is local, else a `UriPath`.

    Raises:
        StoreError: as `local_path`; or the scheme of a URI is not that of a file system, or it names no bucket or has a
            query, a user or `..`.
    """
    scheme, _, rest = str(root).partition(":/")
    others = [name for name in components(_KIND) if name != LOCAL]
    if not rest or scheme not in others:
        if "://" in str(root):
            known = comma_list(f"{name}://" for name in others)
            raise StoreError(
                f"{safe_repr(_without_user(str(root)))} cannot hold a sweep; "
                f"give a path, or one of {known} with a bucket and a prefix"
            )
        return local_path(root)
    names = [name for name in rest.split("/") if name]
    if not names or {".", ".."} & set(names) or re.search(r"[?#@\s\\]", rest) or not is_text(Path(rest)):
        raise StoreError(
            f"{scheme}://...: not a place for a sweep; write {scheme}://BUCKET/PREFIX, without credentials or options"
        )
    return UriPath(f"{scheme}:", *names)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any error of reading `path`, damage included, into a one-line `StoreError`.

    Raises:
        MissingFileError: there is no such file.
        InaccessibleFileError: the system refuses to read it.
        StoreError: it is damaged.
    """
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError, pa.ArrowException) as error:
        message = f"{path}: cannot be read: {single_line(error)}"
        if isinstance(error, FileNotFoundError):
            raise MissingFileError(message) from error
        if isinstance(error, OSError) and error.errno is not None:  # PyArrow raises some without, for damage
            raise InaccessibleFileError(message) from error
        raise StoreError(message) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn any error of writing `path` into a one-line `StoreError`."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        has_place = not is_local(path) or _is_folder(path.parent)
        reason = single_line(error) if has_place else f"{path.parent} is not a directory"
        raise StoreError(f"{path}: cannot be written: {reason}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically and durably; errors as `FileSystem.write`."""
    filesystem_of(path).write(path, content)


def names_in(folder: Path, ending: str) -> list[str]:
    """Return the names, without `ending`, of a folder's visible files that have it, sorted.

    Raises:
        StoreError: the folder cannot be read. A folder that does not exist has no files.
    """
    with reading(folder):
        names = filesystem_of(folder).list_names(folder)
    return sorted(name.removesuffix(ending) for name in names if name.endswith(ending) and not name.startswith("."))


def quarantine(root: Path, path: Path) -> Path:
    """Move a file of the sweep directory `root` to the same place under `root/aside`; return where it is now.

    Raises:
        StoreError: it cannot be moved.
    """
    target, files = root / "aside" / path.relative_to(root), filesystem_of(root)
    with writing(target):
        files.make_folder(target.parent)
        count = 1
        while files.exists(target):
            count += 1
            target = target.with_name(f"{path.name}.{count}")
        files.move(path, target)
    return target


def writable_folder(path: str | Path) -> Path:
    """Make a folder unless it exists, and check that it can be written to.

    Raises:
        StoreError: it cannot.
    """
    folder = sweep_path(path)
    with writing(folder):
        filesystem_of(folder).make_folder(folder)
    check_writable(folder)
    return folder


def check_writable(folder: Path) -> None:
    """Check that a folder exists and has room for a file.

    Raises:
        StoreError: it does not.
    """
    with writing(folder):
        filesystem_of(folder).check_writable(folder)


def local_path(path: str | Path) -> Path:
    """Return `path` as an absolute path of the local file system.

    Raises:
        StoreError: it is empty, a URI or not valid UTF-8, or relative while the working directory has been removed.
    """
    if not str(path) or "://" in str(path):
        raise StoreError(
            f"{safe_repr(_without_user(str(path)))} is not a directory on this machine's file systems; give a path"
        )
    try:
        absolute = Path(path).absolute()
    except OSError as error:
        raise StoreError(
            f"{safe_repr(str(path))}: the working directory does not exist: {single_line(error)}"
        ) from error
    if not is_text(absolute):
        raise StoreError(f"{safe_repr(str(absolute))} is not valid UTF-8, which Ray and Parquet need; rename it")
    return absolute


def is_text(path: Path) -> bool:
    """Return whether a path is valid UTF-8 without null characters. Ray accepts no other names of files."""
    try:
        return b"\0" not in str(path).encode()
    except UnicodeEncodeError:
        return False


def _without_user(uri: str) -> str:
    """Return a URI without user, password and query, which may be secret."""
    return re.sub(r"\?.*", "", re.sub(r"//.*@", "//", uri))


def _is_folder(path: Path) -> bool:
    try:
        return filesystem_of(path).kind(path) == DIRECTORY
    except OSError:
        return False
