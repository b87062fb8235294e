"""The local file system, and whatever the operating system mounts: a file is there whole, or not at all.

A file is written under a temporary name beside its own, forced to the disk, and renamed. So a reader never sees half of
one, and a writer that crashes leaves only a temporary, whose name says who wrote it.

Only regular files and links to them are read. A FIFO would block its reader, and a device may never end.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from lop_sweep.errors import SpecialFileError
from lop_sweep.registry import register
from lop_sweep.storage.filesystem.faults import fault_point
from lop_sweep.storage.filesystem.interface import DIRECTORY
from lop_sweep.storage.filesystem.temporaries import is_abandoned, is_temporary, temporary_beside

_PROBE_BYTES = 2**16
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
"""Errors of file systems without hard links."""
_KINDS = (
    (stat.S_ISDIR, DIRECTORY),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


@register("filesystem", "local")
class LocalFileSystem:
    """The file systems of this machine; see `FileSystem` for the methods."""

    name: str
    beat_seconds = 5.0
    poll_seconds = 0.0

    def read(self, path: Path) -> bytes:
        """Return the content of a regular file."""
        with self.open_file(path) as file:
            return file.read()

    def open_file(self, path: Path) -> BinaryIO:
        """Open a regular file for reading."""
        kind = self.kind(path)  # before opening, which may already do something to a device
        if not kind:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            kind = _kind(os.fstat(descriptor).st_mode)
            if not kind:
                return os.fdopen(descriptor, "rb")
            os.close(descriptor)
        raise SpecialFileError(f"{path}: is {kind}; only regular files are read, move it away")

    def write(self, path: Path, content: bytes) -> None:
        """Write a file atomically and durably."""
        temporary = self.temporary(path)
        place = path.parent.name
        try:
            with temporary.open("wb") as file:
                half = len(content) // 2
                file.write(content[:half])
                file.flush()
                fault_point(f"{place}.half")
                file.write(content[half:])
                file.flush()
                _sync(file.fileno())
            fault_point(f"{place}.written")
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            with suppress(OSError):  # the error that led here says more
                temporary.unlink(missing_ok=True)
        fault_point(f"{place}.renamed")

    def create(self, path: Path, content: bytes) -> bool:
        """Write a file atomically unless there is one: a hard link to a name that is taken fails."""
        draft = path.with_name(f"draft-{secrets.token_hex(8)}")
        try:
            self.write(draft, content)
            try:
                os.link(draft, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return _create_without_links(path, content)
        finally:
            draft.unlink(missing_ok=True)
        return True

    def delete(self, path: Path) -> None:
        """Remove a file, if there is one."""
        path.unlink(missing_ok=True)

    def move(self, path: Path, target: Path) -> None:
        """Rename a file."""
        path.replace(target)

    def list_names(self, folder: Path) -> list[str]:
        """Return the names of everything in a folder."""
        try:
            return os.listdir(folder)
        except FileNotFoundError:
            if folder.is_symlink():
                raise SpecialFileError(f"{folder}: is a dangling link; mount or make its target") from None
            return []

    def exists(self, path: Path) -> bool:
        """Return whether anything is at `path`."""
        return os.path.lexists(path)

    def kind(self, path: Path) -> str:
        """Return what is at `path`; empty for a regular file or nothing."""
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return "a dangling link" if path.is_symlink() else ""
        except OSError as error:
            if error.errno == errno.ELOOP:
                return "a link to itself"
            if error.errno == errno.ENOTDIR:
                return ""
            raise
        return _kind(mode)

    def sizes(self, folder: Path) -> dict[str, int]:
        """Return the sizes of the regular files in a folder."""
        found = {}
        for name in self.list_names(folder):
            try:
                status = (folder / name).stat()
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ELOOP):  # removed since the folder was listed, or a broken link
                    continue
                raise
            if stat.S_ISREG(status.st_mode):
                found[name] = status.st_size
        return found

    def make_folder(self, folder: Path) -> None:
        """Make a folder and its parents."""
        folder.mkdir(parents=True, exist_ok=True)

    def check_writable(self, folder: Path) -> None:
        """Write a file with content into a folder and remove it."""
        probe = self.temporary(folder / "probe")
        try:
            with probe.open("wb") as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                _sync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)

    def identity(self, folder: Path) -> int:
        """Return the folder's inode number."""
        try:
            return folder.stat().st_ino
        except OSError:
            return 0

    def temporary(self, path: Path) -> Path:
        """Return a name beside `path` that Parquet readers skip and that names this process."""
        return temporary_beside(path)

    def abandoned(self, folder: Path) -> list[Path]:
        """Return the temporaries whose process has ended, or which have not changed for an hour."""
        found = []
        for path in [folder / name for name in self.list_names(folder) if is_temporary(name)]:
            with suppress(FileNotFoundError):  # renamed since the folder was listed
                status = path.stat()
                if stat.S_ISREG(status.st_mode) and is_abandoned(path.name, time.time() - status.st_mtime):
                    found.append(path)
        return sorted(found)


def _create_without_links(path: Path, content: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return ""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "not a regular file")


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems without fsync
            raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)
