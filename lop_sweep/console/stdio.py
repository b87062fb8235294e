"""Make a process's standard streams safe before any file is opened. Imports only the standard library.

A command may be started without some of them, for example with `2>&-`. The next file that it opens would then get the
missing stream's descriptor, and whatever a library writes to standard error would end up in a results file.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


def ensure_standard_streams() -> None:
    """Open missing standard streams on the null device, and make standard error safe to write to.

    The console entry point calls it first, before a file can take the descriptor of a missing stream.

    - Reading from a missing standard input returns end of file.
    - Writing to a missing standard output fails, as before: requested output must not be lost silently.
    - Writing to standard error never fails. A message that cannot be written, to a full disk or a closed terminal, is
      dropped: it must not end a sweep.
    """
    # Standard output is opened read-only so that writing to it fails.
    missing = [
        _open_null(descriptor, flags)
        for descriptor, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY))
        if _is_closed(descriptor)
    ]
    if sys.stdin is None:
        sys.stdin = open(_descriptor(0, missing, os.O_RDONLY), encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = _writer(io.FileIO(_descriptor(1, missing, os.O_RDONLY), "w", closefd=False))
    elif sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for characters that the encoding lacks
    if sys.stderr is None:
        sys.stderr = _writer(_DroppingFile(_descriptor(2, missing, os.O_WRONLY), "w", closefd=False))
    elif sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _writer(_DroppingFile(sys.stderr.fileno(), "w", closefd=False), sys.stderr.encoding)


def discard_output() -> None:
    """Redirect standard output to the null device, so that buffered output does not fail at exit."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # not a file: a notebook's, or a test's
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


class _DroppingFile(io.FileIO):
    """A file that drops data that cannot be written to it."""

    def write(self, data: Any) -> int:
        """Write, and return the number of bytes written; dropped bytes count as written."""
        size = memoryview(data).nbytes
        try:
            return super().write(data) or size
        except OSError:
            return size


def _writer(file: io.FileIO, encoding: str = "utf-8") -> TextIO:
    return io.TextIOWrapper(io.BufferedWriter(file), encoding=encoding, errors="backslashreplace", line_buffering=True)


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


def _open_null(descriptor: int, flags: int) -> int:
    """Open the null device as this descriptor, for child processes too."""
    opened = os.open(os.devnull, flags)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    os.set_inheritable(descriptor, True)
    return descriptor


def _descriptor(number: int, missing: list[int], flags: int) -> int:
    """Return a stream's own descriptor if it was missing, else a new one on the null device: a file has taken it."""
    return number if number in missing else os.open(os.devnull, flags)
