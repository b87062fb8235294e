"""Optional metrics: in the files of the cells that measured them, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sweeping import compute_here

from analysis import load_layers, load_tasks, map_table, score
from analysis.data import parse_where
from lop_sweep.components.batch_size import batch_bytes
from lop_sweep.config import CellConfig
from lop_sweep.errors import AnalysisError
from lop_sweep.experiment import Experiment
from lop_sweep.metrics import measured_with
from lop_sweep.planning.cost import task_seconds
from lop_sweep.script.results import results_frame
from lop_sweep.storage import Store
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.parquet import file_info, packs_of, read_tables, write_table
from lop_sweep.storage.schema import TASKS

PLAIN = CellConfig(seed=0, width=6, samples=10, depth=2, steps=3, tasks=8, fresh_baseline=4)
MORE = PLAIN.replace(metrics=["srank", "logit_scale", "test_accuracy"], test_samples=20)
NAMES = ["srank", "logit_scale", "test_accuracy"]


@pytest.fixture
def mixed(tmp_path: Path) -> Store:
    return compute_here([PLAIN, PLAIN.replace(seed=1), MORE], tmp_path / "mixed")


def test_files_have_the_columns_that_their_cells_measured(mixed: Store) -> None:
    columns = [set(file_info(mixed.file("tasks", name)).columns) for name in mixed.committed()]
    assert sorted(len(found & set(NAMES)) for found in columns) == [0, 3]
    assert not any("test_ce" in found for found in columns)


def test_shared_metrics_are_the_same_to_the_bit(mixed: Store) -> None:
    tasks = load_tasks(mixed.root)
    both = [tasks[tasks["cell"] == cell.id].reset_index(drop=True) for cell in (PLAIN, MORE)]
    for name in measured_with():
        assert [str(value) for value in both[0][name]] == [str(value) for value in both[1][name]], name
    assert both[0][["logit_scale", "test_accuracy"]].isna().all(axis=None)
    assert both[1][["logit_scale", "test_accuracy"]].notna().all(axis=None)
    assert all(np.isnan(ranks).all() and len(ranks) == 2 for ranks in both[0]["srank"])
    assert all((ranks >= 1).all() and len(ranks) == 2 for ranks in both[1]["srank"])
    assert "srank" in load_layers(mixed.root)
    assert "srank" not in load_layers(mixed.root, where={"metrics": [""]})
    assert "srank" not in load_tasks(mixed.root, where={"metrics": [""]})


def test_conditions_take_all_names_as_one_value(mixed: Store) -> None:
    both = ",".join(reversed(NAMES))
    assert set(load_tasks(mixed.root, where=parse_where([f"metrics={both}"]))["cell"]) == {MORE.id}
    plain = set(load_tasks(mixed.root, where=parse_where(["metrics=none"]))["cell"])
    assert plain == {PLAIN.id, PLAIN.replace(seed=1).id}


def test_a_cell_diverges_when_it_would_without_them() -> None:
    """At this learning rate held-out losses overflow one task before training does."""
    config = CellConfig(seed=2, width=20, samples=10, depth=1, steps=3, tasks=4, lr=1e37, fresh_baseline=0)
    metrics = ["test_ce", "test_accuracy"]
    plain, more = (Experiment([one], dtype="float32") for one in (config, config.replace(metrics=metrics)))
    rows = [(plain.run_task(), more.run_task()) for _ in range(4)]
    assert plain.diverged_at[0] == more.diverged_at[0] == 3
    for shared, all_of_it in rows:
        assert all(np.array_equal(shared[name], all_of_it[name], equal_nan=True) for name in shared)
        assert np.isnan(all_of_it["test_ce"]).tolist() == np.isnan(all_of_it["test_accuracy"]).tolist()
    assert np.isnan(rows[1][1]["test_ce"]).all()


def test_the_scripts_table_has_them_last() -> None:
    frame = results_frame([Experiment([MORE]).run_task()])
    assert list(frame)[-4:] == ["srank_L0", "srank_L1", "logit_scale", "test_accuracy"]


def test_packs_are_sized_by_what_they_measure() -> None:
    tested = PLAIN.replace(metrics=["test_ce"], test_samples=100_000)
    assert task_seconds(tested, "float64") > 20 * task_seconds(PLAIN, "float64")
    assert batch_bytes(tested, "float64") > 20 * batch_bytes(PLAIN, "float64")
    assert task_seconds(PLAIN.replace(metrics=["srank"]), "float64") > task_seconds(PLAIN, "float64")


def test_merged_files_keep_them(mixed: Store) -> None:
    before = load_tasks(mixed.root).sort_values(["cell", "task"], ignore_index=True)
    assert audit(mixed).findings == []
    assert compact(mixed).after == 1
    assert audit(mixed).findings == []
    pd.testing.assert_frame_equal(load_tasks(mixed.root).sort_values(["cell", "task"], ignore_index=True), before)
    assert "test_ce" not in file_info(mixed.file("tasks", mixed.segments()[0].name)).columns


def test_merging_adds_no_column(tmp_path: Path) -> None:
    store = compute_here([PLAIN, PLAIN.replace(seed=1, depth=3)], tmp_path / "plain")
    assert compact(store).after == 1
    assert not set(NAMES) & set(file_info(store.file("tasks", store.segments()[0].name)).columns)


def test_the_audit_misses_them_where_they_belong(mixed: Store) -> None:
    (name,) = [name for name in mixed.committed() if "srank" in file_info(mixed.file("tasks", name)).columns]
    path = mixed.file("tasks", name)
    write_table(path, read_tables([path], TASKS).drop_columns(["srank"]), packs_of(path))
    assert any("srank is undefined" in str(finding) for finding in audit(mixed).findings)


def test_the_audit_finds_them_where_they_do_not_belong(mixed: Store) -> None:
    name = next(name for name in mixed.committed() if "srank" not in file_info(mixed.file("tasks", name)).columns)
    path = mixed.file("tasks", name)
    table = read_tables([path], TASKS)
    values = pa.array(np.full(len(table), 0.5))
    write_table(path, table.append_column(TASKS.field("logit_scale"), values), packs_of(path))
    assert any("logit_scale is undefined" in str(finding) for finding in audit(mixed).findings)


def test_a_longer_sequence_continues_with_them(tmp_path: Path) -> None:
    longer = MORE.replace(tasks=12)
    extended = compute_here([MORE], tmp_path / "extended")
    compute_here([longer], extended.root)
    whole = load_tasks(compute_here([longer], tmp_path / "whole").root)
    rows = load_tasks(extended.root, where={"tasks": [12]})
    pd.testing.assert_frame_equal(rows.reset_index(drop=True), whole, check_exact=True)


def test_maps_show_them_and_say_where_they_are_missing(mixed: Store, tmp_path: Path) -> None:
    table = map_table(score(mixed.root, where={"metrics": [MORE.metrics]}, last=4), "lr", "depth", "test_accuracy")
    tasks = load_tasks(mixed.root, where={"metrics": [MORE.metrics]})
    assert table["value"].iloc[0] == pytest.approx(tasks["test_accuracy"].tail(4).mean())
    plain = score(compute_here([PLAIN], tmp_path / "plain").root, last=4)
    with pytest.raises(AnalysisError, match=r"no cell measured srank; run the sweep with metrics = \['srank'\]"):
        map_table(plain, "lr", "depth", "srank")
