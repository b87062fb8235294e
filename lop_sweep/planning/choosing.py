"""Sweeps that choose their cells: what decides which cells come next, and when there are enough.

`analysis.refinement.Refiner` is the one that `lop-sweep refine` uses. The command joins it to the sweep, or the caller
does, since nothing here knows `analysis`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from lop_sweep.config import CellConfig
from lop_sweep.errors import StoreError

MIN_SECONDS = 2.0
"""What a chosen pack takes at least, if its shape has enough cells that are worth it: starting a trial takes 50 ms."""
MAX_SHARE = 10
"""A pack has at most one cell per this many outcomes: more would be chosen without knowing enough."""


REFINEMENT = "refinement"
"""The key of `sweep.json` under which a `Refinement` is."""


@dataclass(frozen=True)
class Refinement:
    """What a refinement looks for, when it ends and what it knows, as `sweep.json` holds it.

    Attributes:
        target: the verdict or rate that has the boundary.
        level: of the rate.
        choice: number of cells to choose from.
        cells, seconds, until: the limits: a number of cells, core-seconds and a width of the band; None if not limited.
        width: the band's width, the share of the points whose side is unknown; None if not known.
    """

    target: str
    level: float
    choice: int
    cells: int | None = None
    seconds: float | None = None
    until: float | None = None
    width: float | None = None

    def lacks_cells(self, finished: int) -> bool:
        """Return whether there is a limit of cells, and it is not reached."""
        return self.cells is not None and finished < min(self.cells, self.choice)


def refinement_in(description: Mapping[str, Any]) -> Refinement | None:
    """Return the refinement that a `sweep.json` describes; None if it is a sweep.

    Raises:
        StoreError: the description is damaged.
    """
    content = description.get(REFINEMENT)
    if content is None:
        return None
    found: dict[str, Any] = (
        {field.name: content.get(field.name) for field in fields(Refinement)} if isinstance(content, dict) else {}
    )
    numbers = [found.get("level"), found.get("choice"), *filter(None, list(found.values())[3:])]
    if not isinstance(found.get("target"), str) or not all(isinstance(number, (int, float)) for number in numbers):
        raise StoreError(
            f"sweep.json is damaged: its {REFINEMENT} is not one; run the refinement again, which writes it anew"
        )
    return Refinement(**found)


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

    def describe(self) -> dict[str, Any]:
        """Return the fields of a `Refinement`, for `sweep.json`."""

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
