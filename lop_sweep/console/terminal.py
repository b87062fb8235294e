"""Print to standard output and standard error, with control characters escaped.

File names, records in a sweep directory and arguments may hold escape sequences, which would retitle or repaint a
terminal. They may also hold line breaks, which would look like lines of our own.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lop_sweep.console.stdio import discard_output
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
    """Write text to standard output unchanged: JSON, or help.

    Raises:
        CommandError: it cannot be written.
        BrokenPipeError: the reader of a pipe has exited.
    """
    with _writing():
        sys.stdout.write(text)


def flush_output() -> None:
    """Flush standard output.

    Raises:
        CommandError: it cannot be written.
        BrokenPipeError: the reader of a pipe has exited.
    """
    with _writing():
        sys.stdout.flush()


def settle_output() -> None:
    """Flush standard output, or drop what it holds; otherwise the interpreter would report it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        discard_output()


def check_output() -> None:
    """Check that standard output is open, before long work whose result goes there.

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
    """Send log messages of at least this level, and Python's warnings, to standard error, with controls escaped."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    logging.captureWarnings(True)


class PrintableFormatter(logging.Formatter):
    """Escapes control characters in messages and tracebacks. Our own messages are one line each."""

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
