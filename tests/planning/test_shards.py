"""The parts of a sweep: all cells, none twice, of about the same cost, and the same whoever asks."""

from __future__ import annotations

from collections import Counter

import pytest
from four_cells import BASE

from lop_sweep.errors import SpaceError, SweepError
from lop_sweep.planning.cost import seconds_left
from lop_sweep.planning.shards import Shard, divide
from lop_sweep.tune.options import SweepOptions

CELLS = [
    BASE.replace(depth=depth, lr=lr, seed=seed)
    for depth in (1, 2, 3)
    for lr in (0.1, 0.2, 0.4, 0.8, 1.6)
    for seed in (0, 1, 2)
]


@pytest.mark.parametrize("count", [1, 2, 4, 7, 45])
def test_the_parts_are_a_partition_of_equal_cost(count: int) -> None:
    parts = divide(CELLS, count)
    assert len(parts) == count
    assert Counter(cell for part in parts for cell in part) == Counter(CELLS)
    costs = [sum(seconds_left(cell, "float64") for cell in part) for part in parts]
    largest = max(seconds_left(cell, "float64") for cell in CELLS)
    assert max(costs) - min(costs) <= largest * 1.001
    if count <= 7:
        assert all({cell.depth for cell in part} == {1, 2, 3} for part in parts)


def test_the_parts_do_not_depend_on_the_order_of_the_cells() -> None:
    assert divide(CELLS, 4) == divide(CELLS[::-1], 4)


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "-1/4", "1/0", "1/4/2", "one/two", "1.0/4", " 1/4", "1/4\n"])
def test_what_names_no_part_is_refused(text: str) -> None:
    with pytest.raises(SweepError, match=r"shard = .*: must be I/N with I from 1 to N, for example 2/8"):
        SweepOptions(shard=text)


def test_a_part_has_a_name_and_cells() -> None:
    shard = Shard.parse("2/8")
    assert (str(shard), shard.name, shard) == ("2/8", "2-of-8", SweepOptions(shard="2/8").part)
    with pytest.raises(SpaceError, match="46 shards: the search space has only 45 cells; use at most as many"):
        divide(CELLS, 46)
