"""Files that are there whole or not at all: atomic writing, sealed JSON, one-line errors, and leftovers.

A file is written under a temporary name beside its own, hidden from Parquet readers, forced to the disk and renamed. So
a reader never sees half of one, and a writer that dies leaves nothing but a temporary, which names its writer.

Only regular files, and links to them, are read: a FIFO would block its reader, a device may never end.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa

from lop_sweep.config import digest
from lop_sweep.errors import MissingFileError, SpecialFileError, StoreError, safe_repr, single_line
from lop_sweep.storage.process import ProcessMark, machine_name

FAULTS = "LOP_SWEEP_FAULTS"
"""Environment variable for tests: a folder of tickets. The process that first reaches a fault point and finds a ticket
with its name is killed at once, or frozen if the ticket says "freeze"."""

Record = TypeVar("Record")

_log = logging.getLogger(__name__)

_CHECKSUM = "checksum"
_ABANDONED_SECONDS = 3600.0
"""After so long untouched, a temporary of another machine is taken for abandoned."""
_LATEST_SECONDS = 253402300800.0
"""The end of the year 9999: no clock shows more, and the calendar functions fail beyond."""
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong when `path` is read, damage included, into a one-line `StoreError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: cannot be read: {single_line(error)}") from error
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError, pa.ArrowException) as error:
        raise StoreError(f"{path}: cannot be read: {single_line(error)}") from error


def special_kind(path: Path) -> str:
    """Return what stands at `path` if it is no regular file, such as "a FIFO"; empty for a file or where nothing is.

    Links are followed.

    Raises:
        OSError: `path` cannot be examined.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "a dangling link" if path.is_symlink() else ""
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link to itself"
        raise
    return _kind(mode)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, without waiting for anything else that may stand there.

    Raises:
        FileNotFoundError: there is no such file.
        SpecialFileError: it is not a regular file.
        OSError: it cannot be opened.
    """
    kind = special_kind(path)  # first, because opening a device may already do something
    if not kind:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        kind = _kind(os.fstat(descriptor).st_mode)
        if not kind:
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
    raise SpecialFileError(f"{path}: is {kind}; only regular files are read, move it away")


def read_regular(path: Path) -> bytes:
    """Return the content of a regular file; errors as `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def timestamp(value: Any) -> float:
    """Return a time from a file, in seconds since 1970, as a float.

    Raises:
        TypeError, ValueError, OverflowError: it is not a number, or not a time until the year 9999.
    """
    seconds = float(value)
    if not 0 <= seconds < _LATEST_SECONDS:
        raise ValueError(f"{seconds:g} is not a time in seconds since 1970")
    return seconds


def is_out_of_reach(error: BaseException) -> bool:
    """Whether what could not be read may be sound: the system refused to read it, now or to this user."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno is not None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong when `path` is written into a one-line `StoreError`."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = single_line(error) if path.parent.is_dir() else f"{path.parent} is no folder"
        raise StoreError(f"{path}: cannot be written: {reason}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically and durably: after a crash at any moment, `path` is what it was or what it is to be."""
    temporary = temporary_beside(path)
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


def temporary_beside(path: Path) -> Path:
    """A name beside `path`, hidden from Parquet readers, that says which process it belongs to; see `abandoned`."""
    return path.with_name(f".{path.name}~{machine_name()}~{os.getpid()}")


def write_json(path: Path, content: dict[str, Any], indent: int | None = None) -> None:
    """Write a JSON object atomically, with a checksum of its content in it."""
    content_with_checksum = {**content, _CHECKSUM: digest(content)}
    write_bytes(path, json.dumps(content_with_checksum, indent=indent).encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote.

    Raises:
        MissingFileError: there is no such file.
        StoreError: the file cannot be read, or its content is not what was written.
    """
    return checked_json(path, load_json(path))


def load_json(path: Path) -> Any:
    """The content of a JSON file, its checksum included and not yet checked; see `checked_json`.

    Raises:
        MissingFileError: there is no such file.
        StoreError: the file cannot be read, or is not JSON.
    """
    with reading(path):
        return json.loads(read_regular(path))


def checked_json(path: Path, content: Any) -> dict[str, Any]:
    """What `load_json` gave, without its checksum.

    Raises:
        StoreError: it is not what `write_json` wrote.
    """
    with reading(path):
        if isinstance(content, dict):
            rest = {key: value for key, value in content.items() if key != _CHECKSUM}
            if content.get(_CHECKSUM) == digest(rest):
                return rest
    raise StoreError(f"{path}: is damaged: its checksum does not fit its content")


def read_records(folder: Path, build: Callable[[str, dict[str, Any]], Record]) -> list[Record]:
    """What `build` makes of the name and the content of every JSON file of a folder; damaged ones are left out.

    Raises:
        StoreError: the folder cannot be read. A damaged file is reported in the log.
    """
    records = []
    for name in names_in(folder, ".json"):
        path = folder / f"{name}.json"
        try:
            content = read_json(path)
            with reading(path):
                records.append(build(name, content))
        except MissingFileError:  # removed since the folder was listed
            continue
        except StoreError as error:
            _log.warning("%s; not used", error)
    return records


def names_in(folder: Path, ending: str) -> list[str]:
    """The names, without `ending`, of a folder's visible files that have it, sorted; none if there is no folder.

    Raises:
        StoreError: the folder cannot be read.
    """
    with reading(folder):
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            if folder.is_symlink():
                raise SpecialFileError(f"{folder}: is a dangling link; mount or make what it points to") from None
            return []
    return sorted(name.removesuffix(ending) for name in names if name.endswith(ending) and not name.startswith("."))


def abandoned(folder: Path) -> list[Path]:
    """Temporaries in `folder` whose writer is dead, or, if it was on another machine, has not touched it for an hour.

    Raises:
        StoreError: the folder cannot be read.
    """
    found = []
    with reading(folder):
        entries = [path for path in folder.glob(".*~*~*") if path.is_file()]
    for path in entries:
        _, host, pid = path.name.rsplit("~", 2)
        here = host == machine_name() and pid.isdigit()
        with suppress(FileNotFoundError):  # renamed since the folder was listed
            idle = time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
            if idle or (here and not ProcessMark.exists(int(pid))):
                found.append(path)
    return sorted(found)


def quarantine(root: Path, path: Path) -> Path:
    """Move a file of the sweep directory `root` to the same place under `root/aside`, and say where it is now.

    Raises:
        StoreError: it cannot be moved.
    """
    target = root / "aside" / path.relative_to(root)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while os.path.lexists(target):
            number += 1
            target = target.with_name(f"{path.name}.{number}")
        path.replace(target)
    return target


def local_path(path: str | Path) -> Path:
    """`path` as an absolute path.

    Raises:
        StoreError: it is empty, a URI or not valid UTF-8, or relative while the working directory is gone.
    """
    if not str(path) or "://" in str(path):
        raise StoreError(f"{str(path)!r} is no directory on this machine's file systems; give a path")
    try:
        absolute = Path(path).absolute()
    except OSError as error:
        raise StoreError(f"{safe_repr(str(path))}: the working directory is not there: {single_line(error)}") from error
    if not is_text(absolute):
        raise StoreError(f"{safe_repr(str(absolute))} is not valid UTF-8, which Ray and Parquet need; rename it")
    return absolute


def is_text(path: Path) -> bool:
    """Whether a path is valid UTF-8 without null characters: names of files may be any bytes, Ray takes only text."""
    try:
        return b"\0" not in str(path).encode()
    except UnicodeEncodeError:
        return False


def writable_folder(path: str | Path) -> Path:
    """Make a folder, if need be, and see that it can be written to.

    Raises:
        StoreError: it cannot.
    """
    folder = local_path(path)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    check_writable(folder)
    return folder


def check_writable(folder: Path) -> None:
    """See that a folder is there and takes a file with content in it; a full disk takes only empty ones.

    Raises:
        StoreError: it does not.
    """
    probe = temporary_beside(folder / "probe")
    with writing(folder):
        try:
            with probe.open("wb") as file:
                file.write(bytes(2**16))
                file.flush()
                _sync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)


def fault_point(name: str) -> None:
    """End here, as from a `kill -9`, or freeze, if a test has left a ticket of this name; see `FAULTS`."""
    folder = os.environ.get(FAULTS)
    if folder is None:
        return
    ticket = Path(folder, name)
    try:
        what = ticket.read_text()
        ticket.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGSTOP if what == "freeze" else signal.SIGKILL)


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return ""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "no regular file")


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems without it
            raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)
