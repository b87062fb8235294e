"""What the driver sees of its trials through Ray Tune: progress, failures, notes of workers, and when to stop."""

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

REASON_LENGTH = 240
"""Characters of a failure's reason that are shown."""
_FAILURE_HEADER = re.compile(r"^Failure # \d+ \(occurred at .*\)$", re.MULTILINE)
"""How Tune begins the record of each failure of a trial."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Interrupt): ")
_OUT_OF_MEMORY = "killed due to the node running low on memory"
"""In what Ray says of workers that its memory monitor has killed."""


class TuneStopper(tune.Stopper):
    """Ends Tune's loop once a stop is requested; its trials are asked to stop, and save.

    Args:
        stop: the request.
        announce: called once, when Tune first asks.
    """

    def __init__(self, stop: Stop, announce: Callable[[], None]) -> None:
        self._stop, self._announce, self._announced = stop, announce, False

    def __reduce__(self) -> tuple[Any, ...]:  # Tune pickles its stoppers; nothing of ours reads that back
        return (TuneStopper, (None, None))

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single trial."""
        return False

    def stop_all(self) -> bool:
        """Return whether to stop everything."""
        if self._stop and not self._announced:
            self._announced = True
            self._announce()
        return bool(self._stop)


class TrialWatch(tune.Callback):
    """Follows the trials of one round: counts, shows what goes wrong at once, and writes down what fails for good.

    An exception in a callback would end Tune's loop; trouble with the sweep directory becomes a request to stop.

    Args:
        packs: what the round has to compute.
        store: the sweep directory.
        progress: of the sweep.
        stop: where a stop is requested.
        max_failures: how often a trial is tried again.

    Attributes:
        failed: why packs failed for good, by pack id.
        out_of_memory: what Ray's memory monitor said when it kept killing a pack's workers; empty if it did not.
    """

    def __init__(self, packs: Sequence[Pack], store: Store, progress: Progress, stop: Stop, max_failures: int) -> None:
        self._packs = {pack.id: pack for pack in packs}
        self._store, self._progress, self._stop, self._max_failures = store, progress, stop, max_failures
        self.failed: dict[str, str] = {}
        self.out_of_memory = ""

    def __reduce__(self) -> tuple[Any, ...]:  # Tune pickles its callbacks; nothing of ours reads that back
        return (tune.Callback, ())

    def setup(self, stop: Any = None, num_samples: Any = None, total_num_samples: Any = None, **info: Any) -> None:
        """Show the empty bar: from now on, time counts."""
        self._progress.refresh()

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Count the tasks that a pack has done."""
        self._progress.update(self._packs[trial.custom_dirname], result["tasks_done"])
        if "note" in result:
            self._say("pack %s: %s", trial.custom_dirname, result["note"])

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Say that a pack is tried again, and why."""
        reason = _reason(_traceback(trial))
        self._say(
            "pack %s: %s; tried again from its checkpoint (%d of %d)",
            trial.custom_dirname, reason, trial.num_failures, self._max_failures,
        )  # fmt: skip
        self._check_directory()

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Say at once that a pack has failed, and why, and write it down; a lack of memory is not the pack's fault."""
        if self._stop.abandoned:  # Ray is gone, and the directory may have another driver by now
            return
        pack, traceback = trial.custom_dirname, _traceback(trial)
        if _OUT_OF_MEMORY in _newest(traceback):
            self.out_of_memory = _reason(traceback)
            return
        self.failed[pack] = _reason(traceback)
        self._say("pack %s failed: %s", pack, self.failed[pack])
        if self._check_directory():
            try:
                self._store.failures.record(self._packs[pack], self.failed[pack], traceback, trial.num_failures)
            except StoreError as error:
                self._say("the failure cannot be recorded: %s", error)

    def _check_directory(self) -> bool:
        """Whether the sweep directory can be read and written; if not, everything else would fail too."""
        try:
            names_in(self._store.driver, ".json")  # what every worker reads first
            check_writable(self._store.cells)
        except StoreError as error:
            self._stop.because(error)
            return False
        return True

    @staticmethod
    def _say(message: str, *values: object) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            _log.warning(message, *values)


def _traceback(trial: Any) -> str:
    """Return what Tune has kept of a trial's failures, most recent last."""
    path = trial.error_file
    if path is None or not Path(path).is_file():
        return "no traceback was kept"
    return _COLOUR.sub("", Path(path).read_text(errors="replace")).strip() or "no traceback was kept"


def _newest(traceback: str) -> str:
    return _FAILURE_HEADER.split(traceback)[-1].strip()


def _reason(traceback: str) -> str:
    """What went wrong the last time, in one line: the exception, or what Ray says first of a worker that died."""
    lines = _newest(traceback).splitlines()
    raised = [line for line in lines if _EXCEPTION.match(line)]
    return textwrap.shorten(raised[-1] if raised else lines[0], REASON_LENGTH, placeholder=" ...")
