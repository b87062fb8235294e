"""What `lop-sweep` does with trackers: the options, `lop-sweep log`, and logging during a sweep.

Like `cli_refine` it imports `analysis`, and only when a tracker is wanted. Trackers log scores and verdicts, which
`analysis` computes from the sweep directory. The sweep itself only says when a pack is finished.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from lop_sweep.console import signals
from lop_sweep.console.options import check_options, option, options_from
from lop_sweep.console.own_analysis import check_own_analysis
from lop_sweep.console.terminal import remark, say
from lop_sweep.errors import TrackerError, single_line

LOG_HELP = "log the finished cells to trackers"


@dataclass(frozen=True)
class TrackerOptions:
    """Where to log cells.

    Raises:
        TrackerError: a value is empty.
    """

    tensorboard: str | None = option(
        None, "write event files for TensorBoard (to DIR/tensorboard if no folder is given)", metavar="FOLDER", bare=""
    )
    mlflow: str | None = option(None, "log to an MLflow tracking server", metavar="URI")
    wandb: str | None = option(None, "log to a project of Weights & Biases", metavar="PROJECT")

    def __post_init__(self) -> None:
        check_options(self, TrackerError)
        if self.mlflow == "" or self.wandb == "":
            name, value = ("mlflow", "a tracking URI") if self.mlflow == "" else ("wandb", "a project")
            raise TrackerError(f"{name} = '': give {value}, or omit it to log nothing there")


class Tracking(Protocol):
    """Logs a sweep while it runs, see `analysis.trackers.BackgroundTracking`."""

    def notify(self, pack: str) -> None:
        """Note that a pack is finished."""

    def finish(self, hurry: bool = False) -> None:
        """Let the trackers catch up, for a bounded time."""


class _NoTracking:
    def notify(self, pack: str) -> None:
        """Do nothing."""

    def finish(self, hurry: bool = False) -> None:
        """Do nothing."""


@contextlib.contextmanager
def tracked(arguments: argparse.Namespace) -> Iterator[Tracking]:
    """Provide what logs a sweep to the trackers that the arguments name.

    Raises:
        TrackerError: a value is wrong, or a package is missing. Nothing has been computed then.
    """
    options = options_from(TrackerOptions, arguments)
    if options == TrackerOptions():
        yield _NoTracking()
        return
    if arguments.shard is not None:
        raise TrackerError(
            f"shard = {arguments.shard!r}: parts of a sweep do not log to trackers, each would log the others' cells; "
            "run lop-sweep log, at any time"
        )
    check_own_analysis("trackers need", TrackerError)
    from analysis.trackers import BackgroundTracking, make_trackers

    _silence_retries()
    tracking = BackgroundTracking(arguments.out, make_trackers(arguments.out, **vars(options)))
    try:
        yield _Interruptible(tracking)
    finally:
        tracking.abandon()


class _Interruptible:
    """Lets Ctrl-C end the time in which trackers catch up. The sweep is complete by then, and so is its status."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking
        self.notify = tracking.notify

    def finish(self, hurry: bool = False) -> None:
        try:
            with signals.interruptible():
                self._tracking.finish(hurry)
        except KeyboardInterrupt:
            remark("interrupted; lop-sweep log catches up with what is not logged")


def log_sweep(arguments: argparse.Namespace) -> int:
    """Log the finished cells of a sweep directory to trackers; exit status 1 if a tracker lacks some.

    Run it again, also during a sweep: cells that are logged already are skipped, and scores that have changed are
    replaced.
    """
    options = options_from(TrackerOptions, arguments)
    if options == TrackerOptions():
        raise TrackerError("nothing to log to: give --tensorboard, --mlflow URI or --wandb PROJECT")
    check_own_analysis("trackers need", TrackerError)
    from analysis.trackers import Logbook, make_trackers

    _silence_retries()
    status = 0
    for tracker in make_trackers(arguments.dir, **vars(options)):
        book = Logbook(arguments.dir, tracker)
        try:
            book.catch_up()
            book.close()
        except TrackerError as error:
            remark(f"lop-sweep: {single_line(error)}; run the same command again to log the rest")
            status = 1
        if book.count is not None:
            say(f"{tracker.name}: {book.count}")
    return status


def _silence_retries() -> None:
    """Keep each retry of a request from being a line of its own: a tracker that is down gets one line."""
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
