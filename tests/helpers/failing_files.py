"""A file system over a folder that passes everything on to it, and answers EIO while it is told to.

python failing_files.py FOLDER

It is mounted on the folder itself, so whoever is outside its mount namespace sees the folder as it is. While there is a
file `fail-reads` or `fail-writes` in the folder, what reads or what writes fails. The kernel says so, to whatever
program and library.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

import mfusepy

ATTRIBUTES = ("st_gid", "st_uid", "st_mode", "st_nlink", "st_size")
TIMES = ("st_atime", "st_ctime", "st_mtime")
SPACE = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files", "f_frsize", "f_namemax")


FOLDER = os.open(sys.argv[1], os.O_PATH)
"""What is there before something is mounted on it."""


def at(path: str) -> str:
    return f"/proc/self/fd/{FOLDER}{path}"


def reads() -> None:
    fail_if("/fail-reads")


def writes() -> None:
    fail_if("/fail-writes")


def fail_if(ticket: str) -> None:
    if os.path.exists(at(ticket)):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def passed_on(check: Callable[[], None], function: Callable[..., Any]) -> Callable[..., Any]:
    """An operation that calls `function` with its path, as it is in the folder, and its other arguments."""

    def operation(self: object, path: str, *others: Any) -> Any:
        check()
        return function(at(path), *others)

    return operation


class Folder(mfusepy.Operations):
    """What is in `FOLDER`."""

    use_ns = True

    mkdir = passed_on(writes, os.mkdir)
    rmdir = passed_on(writes, os.rmdir)
    unlink = passed_on(writes, os.unlink)
    chmod = passed_on(writes, os.chmod)
    truncate = passed_on(writes, lambda path, length, fh=None: os.truncate(path, length))
    utimens = passed_on(writes, lambda path, times=None: os.utime(path, ns=times))
    readdir = passed_on(reads, lambda path, fh: [".", "..", *os.listdir(path)])
    readlink = passed_on(reads, os.readlink)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        status = os.lstat(at(path))
        times = {name: getattr(status, f"{name}_ns") for name in TIMES}
        return {**times, **{name: getattr(status, name) for name in ATTRIBUTES}}

    def statfs(self, path: str) -> dict[str, int]:
        status = os.statvfs(at(path))
        return {name: getattr(status, name) for name in SPACE}

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        writes()
        return os.open(at(path), os.O_RDWR | os.O_CREAT, mode)

    def open(self, path: str, flags: int) -> int:
        (reads if flags & os.O_ACCMODE == os.O_RDONLY else writes)()
        return os.open(at(path), flags)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        reads()
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        writes()
        return os.pwrite(fh, data, offset)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        writes()
        os.fsync(fh)
        return 0

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0

    def rename(self, old: str, new: str) -> int:
        writes()
        os.rename(at(old), at(new))
        return 0

    def link(self, target: str, source: str) -> int:
        writes()
        os.link(at(source), at(target))
        return 0


if __name__ == "__main__":
    mfusepy.FUSE(
        Folder(), sys.argv[1], foreground=True, max_threads=8,
        direct_io=True, attr_timeout=0, entry_timeout=0, negative_timeout=0,  # the kernel keeps nothing
    )  # fmt: skip
