"""Sweeps that choose their cells: what decides which cells come next, and when there are enough.

`analysis.refinement.Refiner` is the one that `lop-sweep refine` uses. The command joins it to the sweep, or the caller
does, since nothing here knows `analysis`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from lop_sweep.config import CellConfig
from lop_sweep.errors import StoreError, safe_repr

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
        ended: whether it has enough cells, or no more to choose from.
    """

    target: str
    level: float
    choice: int
    cells: int | None = None
    seconds: float | None = None
    until: float | None = None
    width: float | None = None
    ended: bool = False


def refinement_in(description: Mapping[str, Any]) -> Refinement | None:
    """Return the refinement that a `sweep.json` describes; None if it is a sweep.

    Raises:
        StoreError: the description is damaged.
    """
    content = description.get(REFINEMENT)
    if content is None:
        return None
    if not isinstance(content, dict):
        raise _damaged("", "an object", content)
    found = {field.name: content[field.name] for field in fields(Refinement) if field.name in content}
    for name, rule, is_valid in _RULES:
        if not is_valid(found.get(name, False if name == "ended" else None)):
            raise _damaged(f".{name}", rule, found.get(name))
    return Refinement(**found)


def _damaged(name: str, rule: str, value: object) -> StoreError:
    return StoreError(
        f"sweep.json is damaged: `{REFINEMENT}{name}` must be {rule}, got {safe_repr(value)}; "
        "run the refinement again, which writes it anew"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_limit(value: object) -> bool:
    return value is None or _is_number(value)


_RULES: tuple[tuple[str, str, Callable[[object], bool]], ...] = (
    ("target", "text", lambda value: isinstance(value, str)),
    ("level", "a number", _is_number),
    ("choice", "a number", _is_number),
    *((name, "a number or null", _is_limit) for name in ("cells", "seconds", "until", "width")),
    ("ended", "true or false", lambda value: isinstance(value, bool)),
)


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
        """Return what it looks for, when it ends and what it knows: the fields of a `Refinement`."""

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
