"""How far a sweep is: the progress bar on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from tqdm import tqdm

from lop_sweep.pack import Pack

_FORMAT = "{desc}{percentage:3.0f}%|{bar}| {n:.1f}/{total:.0f} cells [{elapsed}<{remaining}, {rate_fmt}]"
_QUIET_SECONDS = 15.0
"""Seconds between two lines where standard error is not a terminal."""


class Progress:
    """How many cells are done, over all rounds of a sweep; those under way count by their share of tasks.

    Args:
        show: whether to show a bar on standard error.

    Attributes:
        cells: how many there are to compute.
    """

    def __init__(self, show: bool) -> None:
        self.cells = 0
        self._show = show
        self._done: dict[str, float] = {}
        self._bar: tqdm[NoReturn] | None = None

    @property
    def done(self) -> float:
        """Cells done."""
        return sum(self._done.values())

    def expect(self, packs: Sequence[Pack]) -> None:
        """Set what there is to compute."""
        self.cells = sum(len(pack.cells) for pack in packs)

    def update(self, pack: Pack, tasks_done: int) -> None:
        """Take note that each cell of a pack has so many tasks behind it."""
        for cell in pack.cells:
            self._done[cell.id] = tasks_done / cell.tasks
        self.refresh()

    def refresh(self) -> None:
        """Show the bar as it should be now."""
        if not self._show:
            return
        if self._bar is None:
            self._bar = tqdm(
                total=self.cells,
                unit=" cells",
                bar_format=_FORMAT,
                mininterval=0.1 if sys.stderr.isatty() else _QUIET_SECONDS,
                file=sys.stderr,
            )
        self._bar.update(self.done - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
