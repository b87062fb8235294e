"""Sweeps that choose their cells: what decides which cells come next, and when there are enough.

`analysis.refinement.Refiner` is the one that `lop-sweep refine` uses. The command joins it to the sweep, or the caller
does, since nothing here knows `analysis`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from lop_sweep.config import CellConfig

MIN_SECONDS = 2.0
"""What a chosen pack takes at least, if its shape has enough cells that are worth it: starting a trial takes 50 ms."""
MAX_SHARE = 10
"""A pack has at most one cell per this many outcomes: more would be chosen without knowing enough."""


class Chooser(Protocol):
    """Decides which cells of a search space come next."""

    @property
    def cells(self) -> Sequence[CellConfig]:
        """The cells to choose from."""

    @property
    def seconds(self) -> Sequence[float]:
        """What each of them costs, by the cost model."""

    @property
    def told(self) -> int:
        """How many of them have been computed."""

    @property
    def expected(self) -> int:
        """How many cells there will be in the end, as far as it is known."""

    @property
    def note(self) -> str:
        """What is known so far, in a few words for the progress bar."""

    def ask(self, pending: Collection[str] = (), *, seconds: float = 0.0, most: int = 1) -> list[CellConfig]:
        """Return cells of one shape to compute next; none if there are enough, or no more.

        Args:
            pending: ids of the cells that are being computed.
            seconds: what they should take together, if enough of one shape are worth it.
            most: maximum number of cells.
        """

    def tell(self, pack: str) -> None:
        """Take in the results of a pack that is finished, which are in the sweep directory.

        Raises:
            StoreError: they cannot be read.
        """

    def drop(self, cells: Collection[str]) -> None:
        """Never ask for these cells again, by id: they keep failing."""


def next_cells(chooser: Chooser, pending: Collection[str], cells: int | None) -> list[CellConfig]:
    """Ask for the cells of one pack.

    Args:
        chooser: decides.
        pending: ids of the cells that are being computed.
        cells: maximum number of cells per pack, if the user sets it.
    """
    most = max(chooser.told // MAX_SHARE, 1)
    return chooser.ask(pending, seconds=MIN_SECONDS, most=most if cells is None else min(cells, most))
