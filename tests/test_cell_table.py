"""Cells as columns: the same cells as one by one, in the same order, and refused for the same reasons."""

from __future__ import annotations

import itertools
import json
import pickle
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_sweep.cell_table import MAX_CELLS, Column, from_columns, from_rows, grid_cells, to_columns
from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError, SpaceError

AXES: dict[str, Any] = {
    "lr": [0.1, 1, 0.25],
    "depth": [3, 1, 3.0],
    "steps": [40, 7],
    "seed": [5, 6, 7],
    "metrics": ["srank", "", "srank,srank"],
    "test_samples": [500, 8],
}


def by_hand(common: dict[str, Any], axes: dict[str, Any]) -> tuple[CellConfig, ...]:
    """The distinct cells of a grid, each made by itself; the first axis varies fastest."""
    rows = itertools.product(*reversed(axes.values()))
    return tuple(dict.fromkeys(CellConfig(**common, **dict(zip(axes, row[::-1], strict=True))) for row in rows))


axes = st.lists(st.sampled_from(list(AXES)), unique=True, max_size=4).flatmap(
    lambda names: st.fixed_dictionaries(
        {name: st.lists(st.sampled_from(AXES[name]), min_size=1, max_size=4) for name in names}
    )
)


@given(axes)
def test_a_grid_has_the_cells_that_are_made_one_by_one(axes: dict[str, Any]) -> None:
    common = {"tasks": 9, "fresh_steps": None}
    cells, expected = grid_cells(common, axes), by_hand(common, axes)
    assert cells == expected
    assert [cell.id for cell in cells] == [cell.id for cell in expected]
    assert [cell.to_json() for cell in cells] == [cell.to_json() for cell in expected]
    assert len({hash(cell) for cell in cells}) == len(cells)


@given(axes, st.randoms(use_true_random=False))
def test_columns_describe_any_cells(axes: dict[str, Any], random: Any) -> None:
    cells = list(grid_cells({}, axes))
    if random.random() < 0.5:  # no longer a grid
        random.shuffle(cells)
        cells = cells[: random.randint(1, len(cells))]
    common, columns = to_columns(cells)
    read = [Column.from_json(json.loads(json.dumps(column.to_json())), len(cells)) for column in columns]
    assert from_columns(common, read, len(cells)) == tuple(cells)
    fields = [column.field for column in columns]
    rows = [[getattr(cell, field) for field in fields] for cell in cells]
    assert from_rows(common, fields, json.loads(json.dumps(rows))) == tuple(cells)


def test_rows_are_checked_value_by_value() -> None:
    """Numbers of different types are different, so that each is validated as it was written."""
    with pytest.raises(ConfigError, match="depth = True: must be a number"):
        from_rows({}, ["depth"], [[1], [True]])
    with pytest.raises(ConfigError, match=r"depth = \[1\]: must be a number"):
        from_rows({}, ["depth"], [[1], [[1]]])
    with pytest.raises(ValueError, match="a row does not have 2 entries"):
        from_rows({}, ["depth", "lr"], [[1, 0.1], [2]])
    with pytest.raises(SpaceError, match="0 cells: must be 1 to"):
        from_rows({}, ["depth"], [])


def test_a_grid_is_described_by_strides_alone() -> None:
    _, columns = to_columns(grid_cells({}, {"lr": [0.1, 0.2, 0.3], "seed": list(range(50)), "delta": [1.0, 0.0]}))
    assert {column.field: column.stride for column in columns} == {"lr": 1, "seed": 3, "delta": 150}
    assert [column.index for column in columns] == [()] * 3


@pytest.mark.parametrize(
    "content",
    [
        {"field": "lr", "values": [0.1], "index": [0, 1]},
        {"field": "lr", "values": [0.1], "index": [0, -1]},
        {"field": "lr", "values": [0.1], "index": [0]},
        {"field": "lr", "values": [], "stride": 1},
        {"field": "lr", "values": [0.1], "stride": -1},
        {"field": "lr", "values": 3, "stride": 1},
        {"values": [0.1], "stride": 1},
    ],
)
def test_damaged_columns_are_refused(content: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Column.from_json(content, 2)


def test_bad_values_and_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="lr = -1: must be greater than 0"):
        grid_cells({}, {"lr": [0.1, -1], "depth": [1, 2]})
    with pytest.raises(ConfigError, match="depth = 0: must be"):
        from_columns({}, [Column("depth", [1, 0], stride=1)], 10)
    with pytest.raises(SpaceError, match=rf"must be 1 to {MAX_CELLS:,}; divide them among several sweeps"):
        grid_cells({}, {"seed": list(range(3000)), "delta": list(range(3000))})
    with pytest.raises(SpaceError, match="0 cells: must be"):
        from_columns({}, [], 0)


def test_time_per_cell_does_not_grow_with_the_grid() -> None:
    """Ten times the cells in less than thirty times the time, and far less than making each by itself."""

    def seconds(seeds: int) -> float:
        start = time.process_time()
        grid_cells({}, {"seed": list(range(seeds)), "lr": [0.01 * k for k in range(1, 101)]})
        return time.process_time() - start

    small, large = (min(seconds(count) for _ in range(3)) for count in (20, 200))
    assert large < 30 * small
    start = time.process_time()
    for seed in range(2000):
        CellConfig(seed=seed, lr=0.3)
    assert large / 20_000 < (time.process_time() - start) / 2000


def test_cells_of_a_grid_are_like_any_other() -> None:
    """Although they are copies of one whose values are exchanged."""
    for cell in grid_cells({"depth": 2}, {"seed": [1, 2], "lr": [0.1, 0.3]}):
        made = CellConfig(**cell.model_dump())
        assert cell == made
        assert (cell.id, cell.trajectory, hash(cell)) == (made.id, made.trajectory, hash(made))
        assert cell.replace(lr=0.7).id == made.replace(lr=0.7).id
        assert pickle.loads(pickle.dumps(cell)) == made


def test_a_copy_has_its_own_id() -> None:
    cell = CellConfig()
    before = cell.id
    assert cell.with_valid({"lr": 0.3}).id == CellConfig(lr=0.3).id != before
