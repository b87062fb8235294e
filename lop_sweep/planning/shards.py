"""Divide a sweep into parts that separate machines compute, without anything between them but the sweep directory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lop_sweep.config import PACKABLE, CellConfig
from lop_sweep.errors import SpaceError, SweepError, safe_repr
from lop_sweep.pack import make_packs
from lop_sweep.planning.cost import seconds_left


@dataclass(frozen=True)
class Shard:
    """One of several parts of a sweep.

    Attributes:
        number: which one, from 1.
        count: number of parts.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the part that "2/8" means, the second of eight.

        Raises:
            SweepError: `text` means none.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        number, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= count:
            raise SweepError(f"shard = {safe_repr(text)}: must be I/N with I from 1 to N, for example 2/8")
        return cls(number, count)

    @property
    def name(self) -> str:
        """What its lock's folder is called: "2-of-8"."""
        return f"{self.number}-of-{self.count}"

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def divide(cells: Sequence[CellConfig], count: int) -> list[list[CellConfig]]:
    """Divide cells into parts of about the same cost.

    It depends on which cells these are and on the cost model, not on their order. Those of one network shape are spread
    evenly over all parts, and what is left over goes to the parts with least to do.

    Raises:
        SpaceError: there are more parts than cells.
    """
    if count > len(cells):
        raise SpaceError(f"{count:,} shards: the search space has only {len(cells):,} cells; use at most as many")
    groups = [group.cells for group in make_packs(sorted(cells, key=lambda cell: cell.id), PACKABLE)]
    costs = [seconds_left(group[0], "float64", 0, 0) for group in groups]
    parts: list[list[CellConfig]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for cost, group in sorted(zip(costs, groups, strict=True), key=lambda item: -item[0]):
        each, left = divmod(len(group), count)
        favoured = set(sorted(range(count), key=lambda index: loads[index])[:left])
        start = 0
        for index, part in enumerate(parts):
            taken = each + (index in favoured)
            part += group[start : start + taken]
            loads[index] += cost * taken
            start += taken
    return parts
