"""Callbacks from Ray Tune: count progress, report failures and workers' notes, and stop when asked to."""

from __future__ import annotations

import logging
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from tqdm import tqdm

from lop_sweep.errors import StoreError
from lop_sweep.pack import Pack
from lop_sweep.storage import Store, check_writable, names_in
from lop_sweep.tune.progress import Progress
from lop_sweep.tune.shutdown import Stop

_log = logging.getLogger(__name__)

MAX_REASON_CHARACTERS = 240
"""Characters of a failure's reason that are shown."""
_FAILURE_HEADER = re.compile(r"^Failure # \d+ \(occurred at .*\)$", re.MULTILINE)
"""The line with which Tune begins the record of each failure of a trial."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Interrupt): ")
_OUT_OF_MEMORY = "killed due to the node running low on memory"
"""Part of Ray's message about workers that its memory monitor killed."""
_LOST = re.compile(r"^The actor (died|\w+ is unavailable)", re.MULTILINE)
"""Ray's message about a worker that is gone, or whose node is."""


class TuneStopper(tune.Stopper):
    """Ends Tune's loop once a stop is requested. Tune then asks its trials to stop, and they save.

    Args:
        stop: the request.
        announce: called once, when Tune first asks after the request.
    """

    def __init__(self, stop: Stop, announce: Callable[[], None]) -> None:
        self._stop, self._announce, self._announced = stop, announce, False

    def __reduce__(self) -> tuple[Any, ...]:  # Tune pickles its stoppers, but we never load that
        return (TuneStopper, (None, None))

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: no single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Return whether to stop everything."""
        if self._stop and not self._announced:
            self._announced = True
            self._announce()
        return bool(self._stop)


class TrialWatch(tune.Callback):
    """Watches the trials of one round: counts progress, reports errors at once, and records packs that failed.

    An exception in a callback would end Tune's loop, so an unusable sweep directory becomes a request to stop.

    Args:
        packs: the packs of the round.
        store: the sweep directory.
        progress: the sweep's.
        stop: where a stop is requested.
        max_failures: number of times that a trial is retried.

    Attributes:
        failed: why packs failed after their last retry, by pack id.
        interrupted: why a pack has to be tried again in another round, else empty: Ray's memory monitor kept killing
            its workers, or Tune gave it up too early.
    """

    def __init__(self, packs: Sequence[Pack], store: Store, progress: Progress, stop: Stop, max_failures: int) -> None:
        self._packs = {pack.id: pack for pack in packs}
        self._store, self._progress, self._stop, self._max_failures = store, progress, stop, max_failures
        self.failed: dict[str, str] = {}
        self.interrupted = ""

    def expect(self, pack: Pack) -> None:
        """Add a pack to those of the round."""
        self._packs[pack.id] = pack

    def __reduce__(self) -> tuple[Any, ...]:  # Tune pickles its callbacks, but we never load that
        return (tune.Callback, ())

    def setup(self, stop: Any = None, num_samples: Any = None, total_num_samples: Any = None, **info: Any) -> None:
        """Show the empty bar: its clock starts here."""
        self._progress.refresh()

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Count the tasks that a pack has done, and show its note if it has one."""
        self._progress.update(self._packs[trial.custom_dirname], result["tasks_done"])
        if "note" in result:
            self._warn("pack %s: %s", trial.custom_dirname, result["note"])

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Note that a pack is finished, unless Tune ended the trial because of a stop."""
        if trial.last_result.get("done") and not self._stop:
            self._progress.finish(trial.custom_dirname)

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Report that a pack is retried, and why."""
        reason = failure_reason(_traceback(trial))
        self._warn(
            "pack %s: %s; retrying from its checkpoint (%d of %d)",
            trial.custom_dirname, reason, trial.num_failures, self._max_failures,
        )  # fmt: skip
        self._check_directory()

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Report and record that a pack has failed, and why; a lack of memory is not counted as its failure.

        Neither is a lost worker while there are retries left. Ray may report two errors of the same worker, and Tune
        retries the trial after the first, but gives it up if the second arrives before the trial runs again.
        """
        if self._stop.abandoned:  # Ray is lost, and the directory may have another driver by now
            return
        pack, traceback = trial.custom_dirname, _traceback(trial)
        newest = newest_failure(traceback)
        too_early = _LOST.search(newest) is not None and trial.num_failures <= self._max_failures
        if _OUT_OF_MEMORY in newest or too_early:
            self.interrupted = failure_reason(traceback)
            return
        self.failed[pack] = failure_reason(traceback)
        self._warn("pack %s failed: %s", pack, self.failed[pack])
        if self._check_directory():
            try:
                self._store.failures.record(self._packs[pack], self.failed[pack], traceback, trial.num_failures)
            except StoreError as error:
                self._warn("the failure cannot be recorded: %s", error)

    def _check_directory(self) -> bool:
        """Return whether the sweep directory can be read and written; if not, request a stop: every pack would fail."""
        try:
            names_in(self._store.driver, ".json")  # every worker reads it first
            check_writable(self._store.cells)
        except StoreError as error:
            self._stop.because(error)
            return False
        return True

    @staticmethod
    def _warn(message: str, *values: object) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            _log.warning(message, *values)


def _traceback(trial: Any) -> str:
    """Return the tracebacks that Tune recorded of a trial's failures, newest last."""
    path = trial.error_file
    if path is None or not Path(path).is_file():
        return "no traceback was recorded"
    return _COLOUR.sub("", Path(path).read_text(errors="replace")).strip() or "no traceback was recorded"


def newest_failure(traceback: str) -> str:
    """Return the newest of the failures that Tune recorded of a trial."""
    return _FAILURE_HEADER.split(traceback)[-1].strip()


def failure_reason(traceback: str) -> str:
    """Return the newest failure in one line: the exception, or the first line of Ray's message about a crash."""
    lines = newest_failure(traceback).splitlines()
    raised = [line for line in lines if _EXCEPTION.match(line)]
    return textwrap.shorten(raised[-1] if raised else lines[0], MAX_REASON_CHARACTERS, placeholder=" ...")
