"""The parts of a sweep: all cells, none twice, of about the same cost, and the same whoever asks."""

from __future__ import annotations

from collections import Counter

import pytest
from four_cells import BASE

from lop_sweep.errors import SpaceError, SweepError
from lop_sweep.planning.cost import seconds_left
from lop_sweep.planning.shards import Shard, part_of
from lop_sweep.planning.space import SearchSpace
from lop_sweep.tune.options import SweepOptions

SPACE = SearchSpace(
    cells=[
        BASE.replace(depth=depth, lr=lr, seed=seed)
        for depth in (1, 2, 3)
        for lr in (0.1, 0.2, 0.4, 0.8, 1.6)
        for seed in (0, 1, 2)
    ],
    name="shards",
)


@pytest.mark.parametrize("count", [1, 2, 4, 7, 45])
def test_the_parts_are_a_partition_of_equal_cost(count: int) -> None:
    parts = [part_of(SPACE, Shard(number, count)) for number in range(1, count + 1)]
    assert Counter(cell for part in parts for cell in part.cells) == Counter(SPACE.cells)
    costs = [sum(seconds_left(cell, "float64") for cell in part.cells) for part in parts]
    largest = max(seconds_left(cell, "float64") for cell in SPACE.cells)
    assert max(costs) - min(costs) <= largest * 1.001
    assert {part.name for part in parts} == {"shards"}
    if count <= 7:
        assert all({cell.depth for cell in part.cells} == {1, 2, 3} for part in parts)


def test_a_part_does_not_depend_on_who_asks() -> None:
    assert part_of(SPACE, Shard(2, 4)).cells == part_of(SearchSpace(cells=SPACE.cells), Shard(2, 4)).cells


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "-1/4", "1/0", "1/4/2", "one/two", "1.0/4", " 1/4", "1/4\n"])
def test_what_names_no_part_is_refused(text: str) -> None:
    with pytest.raises(SweepError, match=r"shard = .*: must be I/N with I from 1 to N, for example 2/8"):
        SweepOptions(shard=text)


def test_a_part_has_a_name_and_cells() -> None:
    shard = Shard.parse("2/8")
    assert (str(shard), shard.name, shard) == ("2/8", "2-of-8", SweepOptions(shard="2/8").part)
    with pytest.raises(SpaceError, match="has only 45 cells; use at most as many parts"):
        part_of(SPACE, Shard(1, 46))
