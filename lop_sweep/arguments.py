"""What the two commands share: one-line complaints, exit statuses, and field=value conditions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from lop_sweep import signals
from lop_sweep.errors import LopSweepError, one_line

BAD_INPUT = 2
INTERRUPTED = 130


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that complains in one line and guesses no abbreviations."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def run_command(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Parse, then call the chosen command's `run`; a `LopSweepError` becomes one line and status 2."""
    options = parser.parse_args(arguments)
    if getattr(options, "interruptible", True):
        signals.allow_interrupts()
    try:
        return int(options.run(options))
    except LopSweepError as error:
        print(f"{parser.prog}: {one_line(error)}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; what is finished is kept, the same command goes on", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, `head` say, has gone
        sys.stderr.close()
        return 0
