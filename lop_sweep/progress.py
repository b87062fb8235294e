"""A sweep's progress bar: cells done, rate and time left, fed by Ray Tune's callbacks."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ray import tune
from tqdm import tqdm

from lop_sweep.pack import Pack

_log = logging.getLogger(__name__)

_FORMAT = "{desc}{percentage:3.0f}%|{bar}| {n:.1f}/{total:.0f} cells [{elapsed}<{remaining}, {rate_fmt}]"
_QUIET_SECONDS = 15.0
"""How often a line appears where standard error is no terminal."""


class SweepProgress(tune.Callback):
    """Shows how many cells are done; those that are under way count by their share of tasks.

    Tune may pickle its callbacks, so the bar itself is made when the first result arrives and is never pickled.

    Args:
        packs: what the sweep has to compute.
        show: False for no bar at all.
    """

    def __init__(self, packs: Sequence[Pack], show: bool) -> None:
        self._tasks = {pack.id: pack.cells[0].tasks for pack in packs}
        self._sizes = {pack.id: len(pack.cells) for pack in packs}
        self._show = show
        self._done: dict[str, float] = {}
        self._bar: tqdm[NoReturn] | None = None
        self.failed: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bar": None}

    def setup(self, stop: Any = None, num_samples: Any = None, total_num_samples: Any = None, **info: Any) -> None:
        """Show the empty bar: from now on, time counts."""
        self._refresh()

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Count the tasks that a pack has done."""
        pack = trial.custom_dirname
        self._done[pack] = self._sizes[pack] * result["tasks_done"] / self._tasks[pack]
        self._refresh()

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Say at once that a pack has failed, and why."""
        pack = trial.custom_dirname
        reason = _last_line(trial.error_file)
        self.failed[pack] = reason
        with tqdm.external_write_mode(file=sys.stderr):
            _log.error("pack %s failed: %s (traceback: %s)", pack, reason, trial.error_file)

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def _refresh(self) -> None:
        if not self._show:
            return
        if self._bar is None:
            self._bar = tqdm(
                total=sum(self._sizes.values()),
                unit=" cells",
                bar_format=_FORMAT,
                mininterval=0.1 if sys.stderr.isatty() else _QUIET_SECONDS,
                file=sys.stderr,
            )
        self._bar.update(sum(self._done.values()) - self._bar.n)


def _last_line(path: str | None) -> str:
    if path is None or not Path(path).is_file():
        return "no traceback was kept"
    lines = Path(path).read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "no traceback was kept"
