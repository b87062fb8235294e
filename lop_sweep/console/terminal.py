"""What the commands print, on standard output and standard error: lines in which no control character is left.

Names of files, records in a sweep directory and arguments may hold escape sequences, which would retitle or repaint a
terminal, and line breaks, which would look like lines of our own. Here they are all made visible.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lop_sweep.console.stdio import discard_output, ensure_standard_streams
from lop_sweep.errors import CommandError, printable, single_line

_OUR_LOGGERS = ("lop_sweep", "analysis")


def say(line: str) -> None:
    """Print one line on standard output.

    Raises:
        CommandError: it cannot be written.
    """
    write_output(printable(line) + "\n")


def remark(line: str) -> None:
    """Print one line on standard error."""
    sys.stderr.write(printable(line) + "\n")
    sys.stderr.flush()


def write_output(text: str) -> None:
    """Write to standard output as it is: JSON, or help.

    Raises:
        CommandError: it cannot be written. That a pipe's reader has gone is a `BrokenPipeError` as always.
    """
    with _writing():
        sys.stdout.write(text)


def flush_output() -> None:
    """Write what standard output still holds.

    Raises:
        CommandError: it cannot be written. That a pipe's reader has gone is a `BrokenPipeError` as always.
    """
    with _writing():
        sys.stdout.flush()


def settle_output() -> None:
    """Write what standard output still holds, or drop it; the interpreter would complain about it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        discard_output()


def check_output() -> None:
    """See that standard output is open, before work whose result it is to say.

    Raises:
        CommandError: it is closed.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # not a file: a notebook's, or a test's
        return
    with _writing():
        os.write(descriptor, b"")


def log_to_stderr(level: int) -> None:
    """Send log messages from this level on, and Python's warnings, to standard error, in a printable form."""
    ensure_standard_streams()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    logging.captureWarnings(True)


class PrintableFormatter(logging.Formatter):
    """Makes control characters visible in messages and tracebacks. Our own messages are one line each."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Format a record without its traceback."""
        text = super().formatMessage(record)
        return printable(text) if record.name.partition(".")[0] in _OUR_LOGGERS else text

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return "\n".join(map(printable, super().format(record).split("\n")))


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise CommandError(
            f"standard output cannot be written: {single_line(error)}; send it to a file or to /dev/null"
        ) from error
