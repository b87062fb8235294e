"""Parse arguments, run a command and turn its errors into one line and an exit status."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from lop_sweep.console import signals
from lop_sweep.console.terminal import flush_output, remark, settle_output, write_output
from lop_sweep.errors import CommandError, LopSweepError, printable, single_line

BAD_INPUT = 2
INTERRUPTED = signals.exit_status(signal.SIGINT)


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that reports errors in one line and accepts no abbreviations."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(BAD_INPUT, printable(f"{self.prog}: {message} (see {self.prog} --help)") + "\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help or an error; argparse itself would silently lose help that cannot be written."""
        if file is sys.stdout:
            write_output(message)
        elif message:
            sys.stderr.write(message)


def run_command(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Parse, then call the chosen command's `run`; see `run_to_status`."""

    def run() -> int:
        options = parser.parse_args(arguments)
        with signals.interruptible() if getattr(options, "interruptible", True) else contextlib.nullcontext():
            return int(options.run(options))

    return run_to_status(parser.prog, run)


def run_to_status(prog: str, command: Callable[[], int]) -> int:
    """Call a command and return the status to exit with; a `LopSweepError` becomes one line and status 2.

    Args:
        prog: the command's name, for error messages.
        command: does everything, imports of large libraries included. Those fail in obscure ways where the working
            directory is gone, which is checked first.
    """
    try:
        check_working_directory()
        status = _flushed(command)
    except LopSweepError as error:
        remark(f"{prog}: {single_line(error)}")
        status = BAD_INPUT
    except KeyboardInterrupt:
        remark(f"{prog}: interrupted; what is finished is kept, run the same command again to continue")
        status = INTERRUPTED
    except BrokenPipeError:  # the reader of our output, for example `head`, has exited
        status = 0
    finally:
        settle_output()
    return status


def check_working_directory() -> None:
    """Check that there is a working directory.

    Raises:
        CommandError: it was removed, or cannot be reached.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise CommandError(
            f"the working directory no longer exists: {single_line(error)}; change to one that does"
        ) from error


def _flushed(command: Callable[[], int]) -> int:
    """Call a command and flush its output: at the interpreter's exit it would be too late to report a failure."""
    try:
        status = command()
    except SystemExit:  # of --help, for example
        flush_output()
        raise
    flush_output()
    return status
