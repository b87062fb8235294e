"""The standard streams of a process, made safe before anything else is opened. Imports only the standard library.

A command may be started without some of them, as by `2>&-`. The next file that it opened would then get the number of
the stream that is missing, and whatever a library writes to standard error would end up in a results file.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


def ensure_standard_streams() -> None:
    """Open missing standard streams on the null device, and make standard error safe to write to.

    To be called first, before a file can have taken the place of a stream. A second call does nothing.

    - Reading from a missing standard input finds its end.
    - Writing to a missing standard output fails, as without this: what was asked for must not be lost in silence.
    - Writing to standard error never fails. A message that cannot be written, on a full disk or to a terminal that has
      gone, is dropped: it must not end a sweep.
    """
    # Standard output is opened for reading so that writing to it fails.
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
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the encoding does not have
    if sys.stderr is None:
        sys.stderr = _writer(_DroppingFile(_descriptor(2, missing, os.O_WRONLY), "w", closefd=False))
    elif sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _writer(_DroppingFile(sys.stderr.fileno(), "w", closefd=False), sys.stderr.encoding)


def discard_output() -> None:
    """Send what standard output still holds to the null device, so that the interpreter does not fail on it at exit."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # not a file: a notebook's, or a test's
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


class _DroppingFile(io.FileIO):
    """A file that drops what cannot be written to it."""

    def write(self, data: Any) -> int:
        """Write and return the number of bytes written; all of them if they had to be dropped."""
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
    """A stream's own descriptor if it was missing; where a file has taken it, another one on the null device."""
    return number if number in missing else os.open(os.devnull, flags)
