"""What the two commands share: one-line complaints, exit statuses, and field=value conditions."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from lop_sweep.console import signals
from lop_sweep.console.stdio import ensure_standard_streams
from lop_sweep.console.terminal import flush_output, remark, settle_output, write_output
from lop_sweep.errors import CommandError, LopSweepError, printable, single_line

BAD_INPUT = 2
INTERRUPTED = signals.exit_status(signal.SIGINT)


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that complains in one line and guesses no abbreviations."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(BAD_INPUT, printable(f"{self.prog}: {message} (see {self.prog} --help)") + "\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help or a complaint; argparse itself would lose help that cannot be written without a word."""
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
        prog: the command's name, for complaints.
        command: does everything; imports of large libraries belong in it, too. They fail in obscure ways where the
            working directory is gone, which is found out first.
    """
    ensure_standard_streams()
    try:
        check_working_directory()
        status = _flushed(command)
    except LopSweepError as error:
        remark(f"{prog}: {single_line(error)}")
        status = BAD_INPUT
    except KeyboardInterrupt:
        remark(f"{prog}: interrupted; what is finished is kept, the same command goes on")
        status = INTERRUPTED
    except BrokenPipeError:  # the reader of our output, `head` say, has gone
        status = 0
    finally:
        settle_output()
    return status


def check_working_directory() -> None:
    """See that there is a working directory.

    Raises:
        CommandError: it has been removed, or cannot be reached.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise CommandError(
            f"the working directory is not there any more: {single_line(error)}; change to one that is"
        ) from error


def _flushed(command: Callable[[], int]) -> int:
    """Call a command and see that its output is written: an interpreter that fails to at exit is too late to say so."""
    try:
        status = command()
    except SystemExit:  # of --help, for example
        flush_output()
        raise
    flush_output()
    return status
