"""The schema is additive: files without a newer field or metric are read, merged, audited, resumed and extended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from four_cells import BASE, GRID
from sweeping import assert_same_results, compute_here

from analysis import load_cells, load_layers, load_requested, load_tasks
from lop_sweep.components import hyperparameters_of
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import SchemaVersionError, StateError, StoreError
from lop_sweep.metrics import METRICS, measured_with
from lop_sweep.pack import Pack
from lop_sweep.storage.maintenance.audit import audit, repair
from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.manifest import requested_cells
from lop_sweep.storage.pack_state import PackState
from lop_sweep.storage.parquet import file_info, packs_of, read_table, with_origin, write_table
from lop_sweep.storage.reader import iter_tasks
from lop_sweep.storage.records import read_json, write_json
from lop_sweep.storage.schema import CELLS, TASKS, is_optional
from lop_sweep.storage.serialization import load_header, load_state, save_state
from lop_sweep.storage.store import Store
from lop_sweep.tune.worker import PackRun

NEW_METRICS = ("saturation", "effective_rank")
"""One per task, and one per layer."""


@pytest.fixture
def newer_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two metrics are newer than the first release, so older results do not have them."""
    for name in NEW_METRICS:
        monkeypatch.setattr(METRICS[name], "since", "0.2")


@pytest.fixture
def newer_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field is newer than the first release, and does not count towards ids where it has its default."""
    monkeypatch.setitem(FIELDS, "relabel", replace(FIELDS["relabel"], since="0.2", of=""))  # type: ignore[arg-type]


def rewrite(path: Path, table: pa.Table) -> None:
    write_table(path, with_origin(table, file_info(path).origin), packs_of(path))


def drop(store: Store, folder: str, name: str, columns: Collection[str]) -> None:
    """Write a file as a lop-sweep that does not know these columns."""
    path, schema = store.file(folder, name), TASKS if folder == "tasks" else CELLS
    present = file_info(path).columns
    rewrite(path, read_table(path, schema, [name for name in present if name not in columns]))


def with_column(store: Store, folder: str, name: str, column: str) -> None:
    """Write a file as a lop-sweep that has one more field."""
    path = store.file(folder, name)
    table = read_table(path, TASKS if folder == "tasks" else CELLS)
    rewrite(path, table.append_column(column, pa.array(["other"] * len(table))))


def sorted_rows(store: Store, columns: list[str]) -> pd.DataFrame:
    return store.read_tasks(["cell", "task", *columns]).to_pandas().sort_values(["cell", "task"], ignore_index=True)


def assert_unmeasured(frame: pd.DataFrame, depth: int = 2) -> None:
    assert frame["saturation"].isna().all()
    assert all(len(values) == depth and np.isnan(values).all() for values in frame["effective_rank"])


def test_a_metric_that_was_not_measured_is_nan(copy: Store, whole: Store) -> None:
    """In every reader, with one NaN per layer, beside files that have the metric."""
    first, second = copy.committed()
    drop(copy, "tasks", first, NEW_METRICS)
    ids = set(read_table(copy.file("cells", first), CELLS, ["cell"])["cell"].to_pylist())
    table = copy.read_tasks()
    used = hyperparameters_of(CellConfig())
    assert list(table.schema.names) == [name for name in TASKS.names if name in used or not is_optional(name)]
    for frame in (
        table.to_pandas(),
        pa.concat_tables(iter_tasks(copy, TASKS.names, copy.committed())).to_pandas(),
        load_tasks(copy.root),
        load_tasks(copy.root, ["cell", *NEW_METRICS]),
    ):
        assert len(frame) == 20
        assert_unmeasured(frame[frame["cell"].isin(ids)])
        assert frame[~frame["cell"].isin(ids)]["saturation"].notna().all()
    layers = load_layers(copy.root)
    assert len(layers) == 40
    assert layers["effective_rank"].isna().sum() == 20
    others = [name for name in measured_with() if name not in NEW_METRICS]
    np.testing.assert_array_equal(sorted_rows(copy, others)["grad_norm"], sorted_rows(whole, others)["grad_norm"])
    assert second in copy.committed()


def test_only_missing_columns_can_be_asked_for(copy: Store) -> None:
    path = copy.file("tasks", copy.committed()[0])
    drop(copy, "tasks", path.stem, NEW_METRICS)
    for name in NEW_METRICS:
        table = read_table(path, TASKS, [name])
        assert table.column_names == [name]
        assert len(table) == 10


@pytest.mark.usefixtures("newer_field")
def test_a_field_that_a_file_lacks_has_its_default(tmp_path: Path) -> None:
    cells = [cell.replace() for cell in GRID]  # those of other tests may know their ids already
    store = compute_here(cells, tmp_path / "out")
    expected = load_tasks(store.root), load_cells(store.root)
    for folder in ("tasks", "cells"):
        drop(store, folder, store.committed()[0], ["relabel"])
    pd.testing.assert_frame_equal(load_cells(store.root), expected[1])
    assert (load_tasks(store.root)["relabel"] == 0).all()
    assert audit(store).findings == []


def test_a_text_that_a_file_lacks_has_its_default(copy: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    field = replace(FIELDS["relabel"], name="made_up", type=str, default="first", since="0.2")
    monkeypatch.setitem(FIELDS, "made_up", field)  # type: ignore[arg-type]
    schema = CELLS.append(pa.field("made_up", pa.string(), nullable=False))
    table = read_table(copy.file("cells", copy.committed()[0]), schema, ["cell", "made_up"])
    assert table["made_up"].to_pylist() == ["first", "first"]


def test_a_field_of_the_first_release_must_be_there(copy: Store) -> None:
    name = copy.committed()[0]
    drop(copy, "cells", name, ["relabel"])
    with pytest.raises(StoreError, match="it does not have one column relabel"):
        copy.read_cells()
    assert [finding.where for finding in audit(copy).findings if finding.remove] == [f"cells/{name}.parquet"]


@pytest.mark.usefixtures("newer_metrics")
def test_files_with_and_without_a_metric_are_merged(copy: Store, whole: Store) -> None:
    drop(copy, "tasks", copy.committed()[0], NEW_METRICS)
    before = sorted_rows(copy, [*measured_with()])
    assert compact(copy).after == 1
    pd.testing.assert_frame_equal(sorted_rows(copy, [*measured_with()]), before)
    assert audit(copy).findings == []
    assert copy.committed() == whole.committed()
    compute_here([*GRID, BASE.replace(seed=9)], copy.root)
    assert len(load_cells(copy.root)) == 5
    assert audit(copy).findings == []


def test_a_metric_of_the_first_release_must_be_measured(copy: Store) -> None:
    drop(copy, "tasks", copy.committed()[0], ["saturation"])
    (found,) = [finding for finding in audit(copy).findings if finding.remove]
    assert "saturation is undefined where the cell has not diverged" in found.what


@pytest.mark.usefixtures("newer_metrics")
@pytest.mark.parametrize(("row", "sound"), [(0, True), (2, False), (4, False)])
def test_a_gap_between_measured_tasks_is_found(copy: Store, row: int, sound: bool) -> None:
    """Only the first tasks of a cell may have been computed by a lop-sweep without the metric."""
    path = copy.file("tasks", copy.committed()[0])
    table = read_table(path, TASKS)
    for name in NEW_METRICS:
        values = table[name].to_pylist()
        values[row] = float("nan") if name == "saturation" else [float("nan")] * 2
        field = TASKS.field(name)
        rewrite(path, table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type)))
        found = [finding.what for finding in audit(copy).findings if finding.remove]
        what = f"{name} is undefined where the cell has not diverged, or defined where it has"
        assert found == ([] if sound else [what])


@pytest.mark.usefixtures("newer_metrics")
def test_values_of_a_newer_metric_are_checked(copy: Store) -> None:
    path = copy.file("tasks", copy.committed()[0])
    table = read_table(path, TASKS)
    values = [*table["saturation"].to_pylist()[:-1], 1.5]
    index = TASKS.get_field_index("saturation")
    rewrite(path, table.set_column(index, TASKS.field(index), pa.array(values)))
    assert [finding.what for finding in audit(copy).findings if finding.remove] == ["saturation is out of range"]


def without_metrics(path: Path) -> None:
    """Write a saved state as a lop-sweep that does not measure these metrics."""
    content = load_state(path)
    content["history"] = {name: rows for name, rows in content["history"].items() if name not in NEW_METRICS}
    save_state(path, content, load_header(path))


@pytest.mark.usefixtures("newer_metrics")
def test_a_checkpoint_without_a_metric_is_resumed(tmp_path: Path, small: CellConfig) -> None:
    whole = compute_here([small], tmp_path / "whole")
    store, pack = Store(tmp_path / "out"), Pack((small,))
    store.create()
    run = PackRun(pack, store=store)
    run.run_tasks(2)
    run.checkpoint()
    without_metrics(store.checkpoints.running / f"{pack.id}.state")
    (state,) = store.checkpoints.so_far()
    assert state.history["effective_rank"].shape == (2, 1, small.depth)
    store.write_sweep(whole.read_sweep() or {})
    assert_unmeasured(load_tasks(store.root, unfinished=True))
    again = PackRun(pack, store=store)
    assert (again.note, again.tasks_left) == ("", small.tasks - 2)
    again.run_tasks(small.tasks)
    again.finish()
    rows, expected = sorted_rows(store, [*measured_with()]), sorted_rows(whole, [*measured_with()])
    assert_unmeasured(rows[:2])
    np.testing.assert_array_equal(rows["saturation"][2:], expected["saturation"][2:])
    np.testing.assert_array_equal(np.stack(rows["effective_rank"][2:]), np.stack(expected["effective_rank"][2:]))
    np.testing.assert_array_equal(rows["final_ce"], expected["final_ce"])
    assert audit(store).findings == []


@pytest.mark.usefixtures("newer_metrics")
def test_a_kept_state_without_a_metric_is_extended(copy: Store, tmp_path: Path) -> None:
    for path in copy.checkpoints.states.iterdir():
        without_metrics(path)
    longer = [cell.replace(tasks=8) for cell in GRID]
    compute_here(longer, copy.root)
    cells = {cell.id for cell in longer}
    rows = sorted_rows(copy, [*measured_with()])
    rows = rows[rows["cell"].isin(cells)]
    assert_unmeasured(rows[rows["task"] <= 5])
    assert rows[rows["task"] > 5]["saturation"].notna().all()
    expected = sorted_rows(compute_here(longer, tmp_path / "at once"), [*measured_with()])
    np.testing.assert_array_equal(rows["final_ce"], expected["final_ce"])
    assert audit(copy).findings == []


def forget_field(store: Store, name: str) -> None:
    """Write every file of a sweep directory as a lop-sweep that does not know a field."""
    for folder in ("tasks", "cells"):
        for pack in store.committed():
            drop(store, folder, pack, [name])
    for path in store.checkpoints.states.iterdir():
        content = load_state(path)
        content["pack"] = {key: value for key, value in content["pack"].items() if key != name}
        save_state(path, content, load_header(path))
    sweep = store.root / "sweep.json"
    content = read_json(sweep)
    del content["common"][name]
    write_json(sweep, content)


@pytest.mark.usefixtures("newer_field")
def test_a_directory_without_a_newer_field_is_extended(tmp_path: Path) -> None:
    """By tasks, by seeds, and by cells in which the new field differs; the result equals one computed at once."""
    grid = [cell.replace() for cell in GRID]  # those of other tests may know their ids already
    asked = [*grid, *(cell.replace(tasks=7) for cell in grid), BASE.replace(seed=5), BASE.replace(seed=5, relabel=0.2)]
    store = compute_here(grid, tmp_path / "out")
    forget_field(store, "relabel")
    assert "relabel" not in file_info(store.file("cells", store.committed()[0])).columns
    assert list(load_requested(store.root)["relabel"]) == [0.0] * 4
    assert audit(store).findings == []
    compute_here(asked, store.root)
    assert audit(store).findings == []
    assert compact(store).after == 1
    assert_same_results(store.root, compute_here(asked, tmp_path / "at once").root)
    assert audit(store).findings == []


def test_columns_that_are_not_known_are_ignored_but_kept(copy: Store, caplog: pytest.LogCaptureFixture) -> None:
    """A compaction would drop them, so it leaves such files alone."""
    name = copy.committed()[0]
    expected = load_cells(copy.root)
    for folder in ("tasks", "cells"):
        with_column(copy, folder, name, "made_up")
    pd.testing.assert_frame_equal(load_cells(copy.root), expected)
    assert len(load_tasks(copy.root)) == 20
    contents = {folder: copy.file(folder, name).read_bytes() for folder in ("tasks", "cells")}
    compute_here([*GRID, BASE.replace(seed=9)], copy.root)
    assert compact(copy).after == 2
    assert "has columns that this lop-sweep does not know: made_up" in caplog.text
    assert {folder: copy.file(folder, name).read_bytes() for folder in contents} == contents
    report = audit(copy)
    assert report.findings == []
    assert [note for note in report.notes if "made_up" in note] == [
        f"tasks/{name}.parquet: has columns that this lop-sweep does not know: made_up; "
        "the version that wrote it can check it in full"
    ]


def test_a_sound_newer_file_is_not_set_aside(copy: Store) -> None:
    """Its ids may depend on the unknown field."""
    name = copy.committed()[0]
    with_column(copy, "cells", name, "made_up")
    path = copy.file("cells", name)
    table = read_table(path, CELLS)
    rewrite(path, table.set_column(0, CELLS.field(0), pa.array(["0" * 16, "1" * 16])).append_column(
        "made_up", pa.array(["other"] * 2)
    ))  # fmt: skip
    tasks = copy.file("tasks", name)
    rows = read_table(tasks, TASKS)
    rewrite(tasks, rows.set_column(0, TASKS.field(0), pa.array(["0" * 16] * 5 + ["1" * 16] * 5)))
    report = audit(copy)
    assert any("does not fit its configuration" in finding.what for finding in report.findings)
    assert all(finding.remove == () for finding in report.findings)
    assert repair(copy)[1] == []


@pytest.mark.parametrize("part", ["history", "pack"])
@pytest.mark.parametrize("newer", [True, False])
def test_a_newer_state_is_refused_and_not_touched(copy: Store, part: str, newer: bool) -> None:
    """It names a field or metric that is not known here; without another writer's version it is damaged."""
    path = next(copy.checkpoints.states.iterdir())
    content = load_state(path)
    content[part] = {**content[part], "unheard_of": content["history"]["min_ce"] if part == "history" else 1}
    if newer:
        content["numerics"] = {**content["numerics"], "lop_sweep_version": "9.9"}
    pack = load_header(path)["pack"]
    save_state(path, content, load_header(path))
    if not newer:
        with pytest.raises(StateError):
            PackState.load(path)
        return
    with pytest.raises(SchemaVersionError, match=r"does not know: 'unheard_of'; use lop-sweep '9\.9'"):
        PackState.load(path)
    assert repair(copy)[1] == []
    assert path.stem == pack


def test_a_newer_request_is_refused_and_not_touched(copy: Store) -> None:
    path = copy.root / "sweep.json"
    content = read_json(path)
    content["common"]["unheard_of"] = 1
    write_json(path, {**content, "lop_sweep_version": "9.9"})
    with pytest.raises(SchemaVersionError, match=r"use lop-sweep '9\.9'"):
        requested_cells(copy.read_sweep() or {})
    assert repair(copy)[1] == []
    write_json(path, content)
    with pytest.raises(StoreError, match="is damaged"):
        requested_cells(copy.read_sweep() or {})


def test_a_depth_that_would_fill_memory_is_refused(copy: Store) -> None:
    """A file of a few kilobytes without a metric per layer could claim any depth."""
    path = copy.file("tasks", copy.committed()[0])
    drop(copy, "tasks", path.stem, ["effective_rank"])
    names = [name for name in TASKS.names if name != "effective_rank"]
    table = read_table(path, TASKS, names)
    index = table.schema.get_field_index("depth")
    for depth, match in ((2**31 - 1, "would take"), (-1, "depth has negative numbers")):
        column = pa.array([depth] * len(table), pa.int64())
        rewrite(path, table.set_column(index, TASKS.field("depth"), column))
        with pytest.raises(StoreError, match=match):
            read_table(path, TASKS)
