"""Tidy frames from a sweep directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from analysis.data.load import load_cells, load_layers, load_tasks, parse_where, select
from analysis.data.sequences import split
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import AnalysisError, StoreError
from lop_sweep.storage.schema import CELLS, TASKS, is_optional


def test_cells_and_tasks_are_complete(store_dir: Path) -> None:
    cells, tasks = load_cells(store_dir), load_tasks(store_dir)
    assert len(cells) == 24
    assert len(tasks) == 24 * 8
    assert list(cells.columns) == CELLS.names
    assert list(tasks.columns) == [name for name in TASKS.names if not is_optional(name)]
    assert set(tasks["cell"]) == set(cells["cell"])
    assert (cells["status"] == "diverged").sum() == 8


def test_layers_in_long_form_are_the_lists(store_dir: Path) -> None:
    layers, tasks = load_layers(store_dir), load_tasks(store_dir)
    assert len(layers) == tasks["depth"].sum()
    for row in tasks.sample(10, random_state=0).itertuples():
        mine = layers[(layers["cell"] == row.cell) & (layers["task"] == row.task)].sort_values("layer")
        assert list(mine["layer"]) == list(range(row.depth))
        np.testing.assert_array_equal(mine["effective_rank"], row.effective_rank)
        np.testing.assert_array_equal(mine["duplicate_fraction"], row.duplicate_fraction)


def test_only_committed_packs_count(store_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(store_dir, copy)
    victim = sorted((copy / "cells").glob("*.parquet"))[0]
    gone = set(pd.read_parquet(victim)["cell"])
    victim.unlink()
    (copy / "tasks" / ".half.parquet.host.1").write_bytes(b"PAR1")
    assert not gone & set(load_cells(copy)["cell"])
    assert not gone & set(load_tasks(copy)["cell"])
    assert len(load_tasks(copy)) == (24 - len(gone)) * 8


def test_a_cell_stored_twice_counts_once(store_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(store_dir, copy)
    for folder in ("tasks", "cells"):
        first = sorted((copy / folder).glob("*.parquet"))[0]
        shutil.copy(first, first.with_name("another.parquet"))
    assert len(load_cells(copy)) == 24
    assert len(load_tasks(copy)) == 24 * 8
    assert len(load_layers(copy)) == load_tasks(copy)["depth"].sum()


def test_rows_and_layers_of_chosen_cells_only(store_dir: Path) -> None:
    everything, where = load_tasks(store_dir), {"depth": [2.0], "lr": [0.2]}
    chosen = load_tasks(store_dir, where=where)
    expected = everything[(everything["depth"] == 2) & (everything["lr"] == 0.2)].reset_index(drop=True)
    pd.testing.assert_frame_equal(chosen, expected)
    layers = load_layers(store_dir, where)
    assert set(layers["cell"]) == set(chosen["cell"])
    assert len(layers) == 2 * len(chosen)


def test_columns_can_be_chosen_and_wrong_ones_are_refused(store_dir: Path) -> None:
    assert list(load_tasks(store_dir, ["final_ce", "cell"]).columns) == ["final_ce", "cell"]
    with pytest.raises(AnalysisError, match="unknown column of tasks loss; choose from: cell, task"):
        load_tasks(store_dir, ["loss"])


def test_an_empty_sweep_gives_empty_frames(store_dir: Path, tmp_path: Path) -> None:
    shutil.copy(store_dir / "sweep.json", tmp_path)
    assert load_cells(tmp_path).empty
    assert load_layers(tmp_path).empty
    assert {name for name in FIELDS if not is_optional(name)} <= set(load_tasks(tmp_path).columns)


def test_other_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no sweep\.json"):
        load_cells(tmp_path)


def test_select_matches_floats_as_people_write_them(store_dir: Path) -> None:
    cells = load_cells(store_dir)
    assert len(select(cells, {"lr": [0.2], "depth": [2]})) == 4
    assert len(select(cells, {"lr": [0.05, 0.2]})) == 16
    assert len(select(cells.assign(lr=cells["lr"] * (1 + 1e-8)), {"lr": [0.2]})) == 8
    seeds = cells.assign(seed=1_700_000_000 + cells["seed"])
    assert set(select(seeds, {"seed": [1_700_000_001]})["seed"]) == {1_700_000_001}
    with pytest.raises(AnalysisError, match=r"no cell has depth = 7; available: depth = 1, 2"):
        select(cells, {"depth": [7]})
    with pytest.raises(AnalysisError, match="unknown configuration field 'dept'"):
        select(cells, {"dept": [7]})


def test_conditions_are_parsed() -> None:
    assert parse_where(["depth=5", "lr=0.1,0.2", "lr=0.3"]) == {"depth": [5.0], "lr": [0.1, 0.2, 0.3]}
    for bad, said in (
        ("depth", "must be FIELD=VALUE"),
        ("depth=", "must be a number, got ''"),
        ("depth=3,five", "must be a number, got 'five'"),
        ("dept=3", "unknown configuration field 'dept'"),
    ):
        with pytest.raises(AnalysisError, match=said):
            parse_where([bad])


def test_conditions_on_large_seeds_are_exact() -> None:
    frame = pd.DataFrame({name: [1, 1] for name in FIELDS}).assign(seed=[2**62 + 1, 2**62 + 2])
    assert list(select(frame, parse_where([f"seed={2**62 + 1}"]))["seed"]) == [2**62 + 1]


def test_frames_say_where_they_come_from(store_dir: Path) -> None:
    cells = load_cells(store_dir)
    assert cells.attrs == {"directory": str(store_dir)}
    chosen = select(select(cells, {"depth": [np.int64(2)]}), {"lr": [0.2]})
    assert chosen.attrs == {"directory": str(store_dir), "where": {"depth": [2], "lr": [0.2]}}
    assert cells.attrs == {"directory": str(store_dir)}
    json.dumps(chosen.attrs)  # as Parquet files store them


def test_metrics_that_were_not_measured_are_nan() -> None:
    """In the tasks of one cell the metrics have values, in those of the other they are null."""
    config = {**CellConfig(tasks=2, depth=3).model_dump(), "status": "finished"}
    cells = pd.DataFrame([{**config, "cell": "a"}, {**config, "cell": "b"}])
    tasks = pa.table(
        {
            "cell": ["a", "a", "b", "b"],
            "task": [1, 2, 1, 2],
            "saturation": [0.1, 0.2, None, None],
            "effective_rank": pa.array([[1.0, 2, 3], [4, 5, 6], None, None], pa.list_(pa.float64())),
        }
    )
    (block,) = split(cells, tasks)
    np.testing.assert_array_equal(block.metrics["saturation"], [[0.1, 0.2], [np.nan, np.nan]])
    np.testing.assert_array_equal(block.metrics["effective_rank"][0], [[1, 2, 3], [4, 5, 6]])
    assert np.isnan(block.metrics["effective_rank"][1]).all()
