"""Track and show the progress of a sweep."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from tqdm import tqdm

from lop_sweep.pack import Pack

_FORMAT = "{desc}{percentage:3.0f}%|{bar}| {n:.1f}/{total:.0f} cells [{elapsed}<{remaining}, {rate_fmt}]"
_MIN_LOG_SECONDS = 15.0
"""Minimum time between two lines if standard error is not a terminal."""


class Progress:
    """Counts the cells done over all rounds of a sweep; unfinished cells count by their share of tasks.

    Args:
        show: whether to show a bar on standard error.
        on_pack: called with the id of each pack that is finished; it must return at once.

    Attributes:
        cells: number of cells to compute.
        done: number of cells done.
    """

    def __init__(self, show: bool, on_pack: Callable[[str], None] | None = None) -> None:
        self.cells, self.done = 0, 0.0
        self._show, self._on_pack = show, on_pack
        self._shares: dict[str, float] = {}
        self._bar: tqdm[NoReturn] | None = None
        self._note = ""

    def choose(self, expected: int, note: str) -> None:
        """Set how many cells there will be, as far as it is known, and what the bar says of them."""
        self.cells, self._note = expected, note
        if self._bar is not None:
            self._bar.total = expected
            self._bar.set_description(note, refresh=False)

    def expect(self, packs: Sequence[Pack]) -> None:
        """Set the packs to compute."""
        self.cells = sum(len(pack.cells) for pack in packs)

    def update(self, pack: Pack, tasks_done: int) -> None:
        """Set the number of tasks that each cell of a pack has done."""
        share = tasks_done / pack.cells[0].tasks
        before = sum(self._shares.get(cell.id, 0.0) for cell in pack.cells)
        self._shares.update((cell.id, share) for cell in pack.cells)
        self.done += share * len(pack.cells) - before  # a sum over all cells would take longer than Tune does
        self.refresh()

    def finish(self, pack: str) -> None:
        """Note that a pack's results are in the sweep directory."""
        if self._on_pack is not None:
            self._on_pack(pack)

    def refresh(self) -> None:
        """Update the bar."""
        if not self._show:
            return
        if self._bar is None:
            self._bar = tqdm(
                desc=self._note or None,
                total=self.cells,
                unit=" cells",
                bar_format=_FORMAT,
                mininterval=0.1 if sys.stderr.isatty() else _MIN_LOG_SECONDS,
                file=sys.stderr,
            )
        self._bar.update(min(self.done, self.cells) - self._bar.n)  # rounding may take the sum beyond all cells

    def close(self) -> None:
        """Close the bar, which stays on the screen."""
        if self._bar is not None:
            self._bar.close()
