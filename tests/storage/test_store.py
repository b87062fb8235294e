"""The sweep directory: schema, atomic commits, refusals, and that the tasks folder is a complete result."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lop_sweep.components import hyperparameters_of
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import SchemaVersionError, StoreError
from lop_sweep.metrics import METRICS, measured_with
from lop_sweep.pack import Pack
from lop_sweep.planning.space import SearchSpace
from lop_sweep.storage import store as store_module
from lop_sweep.storage.manifest import describe_space, requested_cells
from lop_sweep.storage.process import machine_name
from lop_sweep.storage.schema import (
    CELLS,
    NUMERICS,
    TASKS,
    VERSION_KEY,
    PackResult,
    cells_table,
    is_optional,
    tasks_table,
)
from lop_sweep.storage.store import Store


def result_of(cells: list[CellConfig], pack: str = "p", diverged_at: int = 0) -> PackResult:
    """Return a made-up result in which every number shows its cell, task and layer."""
    tasks, depth, count = cells[0].tasks, cells[0].depth, len(cells)
    base = np.arange(tasks)[:, None] * 1.0 + np.arange(count)[None, :] * 1000.0
    layers = base[:, :, None] + np.arange(depth) / 10
    history = {name: layers if METRICS[name].per_layer else base for name in measured_with()}
    return PackResult(
        pack=pack,
        cells=cells,
        history=history,
        fresh_ce=np.arange(count * cells[0].fresh_baseline, dtype=float).reshape(count, -1),
        diverged_at=np.array([diverged_at] + [0] * (count - 1)),
        seconds=np.arange(count) + 0.5,
        numerics=dict.fromkeys(NUMERICS, "x"),
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "sweep")
    store.create()
    return store


def test_tables_have_their_schema_and_numbers_in_place(small: CellConfig) -> None:
    cells = [small.replace(seed=1), small.replace(seed=2)]
    tasks = tasks_table(result_of(cells))
    there = {*measured_with(), *hyperparameters_of(cells[0])}
    fields = [field for field in TASKS if field.name in there or not is_optional(field.name)]
    assert tasks.schema.equals(pa.schema(fields, TASKS.metadata), check_metadata=True)
    frame = tasks.to_pandas()
    assert list(frame["task"]) == [1, 2, 3, 4] * 2
    assert list(frame["cell"]) == [cells[0].id] * 4 + [cells[1].id] * 4
    assert list(frame["final_ce"]) == [0, 1, 2, 3, 1000, 1001, 1002, 1003]
    assert list(frame["effective_rank"].iloc[5]) == [1001.0, 1001.1]
    assert list(frame["seed"]) == [1] * 4 + [2] * 4
    done = cells_table(result_of(cells, diverged_at=3))
    assert done.schema.equals(CELLS, check_metadata=True)
    frame = done.to_pandas()
    assert list(frame["status"]) == ["diverged", "finished"]
    assert frame["diverged_at"].iloc[0] == 3
    assert frame["diverged_at"].isna().iloc[1]
    assert list(frame["fresh_ce"].iloc[1]) == [2.0, 3.0]
    assert list(frame["fresh_mean_ce"]) == [0.5, 2.5]
    assert [tuple(row) for row in frame[list(FIELDS)].itertuples(index=False)] == [
        tuple(cell.model_dump().values()) for cell in cells
    ]


def test_no_baseline_is_undefined_not_zero(small: CellConfig) -> None:
    frame = cells_table(result_of([small.replace(fresh_baseline=0)])).to_pandas()
    assert np.isnan(frame["fresh_mean_ce"].iloc[0])
    assert len(frame["fresh_ce"].iloc[0]) == 0


def test_a_baseline_with_a_diverged_network_is_undefined(small: CellConfig) -> None:
    result = result_of([small])
    result.fresh_ce[0, 1] = np.nan
    frame = cells_table(result).to_pandas()
    assert np.isnan(frame["fresh_mean_ce"].iloc[0])
    assert np.isnan(frame["fresh_median_ce"].iloc[0])


def test_the_tasks_folder_stands_alone(store: Store, small: CellConfig) -> None:
    store.commit(result_of([small.replace(seed=1)], "p"))
    store.commit(result_of([small.replace(seed=2, depth=3)], "q"))
    frame = pd.read_parquet(store.root / "tasks")
    assert {name for name in FIELDS if not is_optional(name)} | hyperparameters_of(small) <= set(frame.columns)
    assert frame.groupby("cell").size().tolist() == [4, 4]
    assert pq.read_schema(store.tasks / "p.parquet").metadata[VERSION_KEY] == b"1"


def test_cells_are_the_commit(store: Store, small: CellConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker killed between the two files leaves nothing that counts. Its successor's commit counts once."""
    write = store_module.write_table

    def killed(path: Path, table: pa.Table, packs: tuple[str, ...]) -> None:
        if path.parent.name == "cells":
            raise KeyboardInterrupt
        write(path, table, packs)

    monkeypatch.setattr(store_module, "write_table", killed)
    with pytest.raises(KeyboardInterrupt):
        store.commit(result_of([small]))
    assert (store.tasks / "p.parquet").exists()
    assert store.committed() == []
    monkeypatch.undo()
    store.commit(result_of([small]))
    assert store.committed() == ["p"]
    assert len(pd.read_parquet(store.tasks)) == 4


def test_a_commit_survives_garbage_collection(store: Store, small: CellConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks file of a live worker is garbage-collected between its two writes."""
    write = store_module.write_table

    def slow(path: Path, table: pa.Table, packs: tuple[str, ...]) -> None:
        if path.parent.name == "cells":
            assert store.collect_garbage() == ["tasks/p.parquet"]
        write(path, table, packs)

    monkeypatch.setattr(store_module, "write_table", slow)
    store.commit(result_of([small]))
    assert store.committed() == ["p"]
    assert len(store.read_tasks()) == 4


def test_garbage_is_what_crashed_writers_have_left(store: Store, small: CellConfig) -> None:
    store.commit(result_of([small], "done"))
    alive = Pack((small.replace(seed=8),))
    for pack in ("crashed", alive.id):
        (store.tasks / f"{pack}.parquet").write_bytes(b"")
    store.checkpoints.beat(alive, 1)
    for name, age in ((f".a~{machine_name()}~{ended_process()}", 0), (".b~elsewhere~1", 9999), (".c~elsewhere~1", 0)):
        (store.cells / name).touch()
        os.utime(store.cells / name, (time.time() - age,) * 2)
    (store.cells / f".d~{machine_name()}~{os.getpid()}").touch()
    removed = store.collect_garbage()
    assert [name.rpartition("/")[2][:2] for name in removed] == [".a", ".b", "cr"]
    assert sorted(path.stem for path in store.tasks.iterdir()) == sorted(["done", alive.id])
    assert len(store.read_cells()) == 1
    assert store.collect_garbage() == []


def ended_process() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


@pytest.mark.parametrize("root", ["", "ftp://bucket/sweep"])
def test_what_is_not_a_path_is_refused(root: str) -> None:
    with pytest.raises(StoreError, match="give a path"):
        Store(root)


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(store: Store) -> None:
    store.cells.rmdir()
    assert store.committed() == []
    store.cells.write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cells: cannot be read"):
        store.committed()


def test_a_failed_write_leaves_neither_file_nor_debris(
    store: Store, small: CellConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"cannot be written: \[Errno 28\] No space left"):
        store.commit(result_of([small]))
    assert list(store.tasks.iterdir()) == []


def test_a_file_system_without_fsync_will_do(store: Store, small: CellConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", without)
    store.commit(result_of([small]))
    assert store.committed() == ["p"]


def test_another_schema_version_is_refused(store: Store, small: CellConfig) -> None:
    store.commit(result_of([small]))
    path = store.cells / "p.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({VERSION_KEY: b"99"}), path)
    with pytest.raises(StoreError, match=r"p\.parquet: has schema version 99, this lop-sweep reads version 1"):
        store.read_cells()


@pytest.mark.parametrize("content", [b"", b"garbage", b"PAR1"])
def test_damaged_files_are_named(store: Store, small: CellConfig, content: bytes) -> None:
    store.commit(result_of([small]))
    (store.cells / "p.parquet").write_bytes(content)
    with pytest.raises(StoreError, match=r"p\.parquet: cannot be read"):
        store.read_cells()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": 0}', '{"schema_version": 1}', "{"])
def test_a_damaged_sweep_json_is_refused(store: Store, content: str) -> None:
    (store.root / "sweep.json").write_text(content)
    with pytest.raises(StoreError, match=r"sweep\.json"):
        store.read_sweep()


def test_sweep_json_survives(store: Store) -> None:
    assert store.read_sweep() is None
    content = {"space": "x", "dtype": "float64", "created": "now", "common": {"lr": 0.1}, "fields": [], "rows": [[]]}
    store.write_sweep(content)
    assert (store.read_sweep() or {}).items() >= {"schema_version": 1, **content}.items()
    assert json.loads((store.root / "sweep.json").read_text())["common"] == {"lr": 0.1}


@pytest.fixture
def columns(store: Store, small: CellConfig) -> SearchSpace:
    """A search space that is described in columns in the store's `sweep.json`."""
    space = SearchSpace(cells=[small.replace(lr=lr, seed=seed) for lr in (0.1, 0.3) for seed in range(5)], name="many")
    store.write_sweep({"dtype": "float64", "created": "now", **describe_space(space, max_rows=9)})
    return space


def test_many_cells_are_described_in_columns(store: Store, columns: SearchSpace) -> None:
    content = store.read_sweep() or {}
    assert requested_cells(content) == columns.cells
    assert content["columns"] == [
        {"field": "seed", "values": [0, 1, 2, 3, 4], "stride": 1},
        {"field": "lr", "values": [0.1, 0.3], "stride": 5},
    ]
    assert content["axes"] == columns.axes
    store.write_sweep({"dtype": "float64", "created": "now", **describe_space(columns)})  # rows again
    assert (store.read_sweep() or {})["origin"] == content["origin"]
    assert requested_cells(store.read_sweep() or {}) == columns.cells


@pytest.mark.usefixtures("columns")
def test_builds_without_columns_refuse_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lop_sweep.storage.manifest._TABLES", {1: ("fields", "rows")})
    for read in (store.read_sweep, store.check_schema, store.origin):
        with pytest.raises(
            SchemaVersionError, match=r"sweep\.json: has schema version 2, this lop-sweep reads version 1"
        ):
            read()


@pytest.mark.usefixtures("columns")
@pytest.mark.parametrize(
    "damage",
    [
        {"cells": 0}, {"cells": 10**9}, {"cells": "10"}, {"cells": None}, {"columns": 3}, {"columns": [{}]},
        {"columns": [{"field": "lr", "values": [-1], "stride": 1}]},
        {"columns": [{"field": "nothing", "values": [1], "stride": 1}]},
        {"columns": [{"field": "lr", "values": [0.1], "index": [0]}]},
        {"common": {"nothing": 3}}, {"common": 3},
    ],
    ids=str,
)  # fmt: skip
def test_damaged_columns_are_refused(store: Store, damage: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match=r"sweep\.json is damaged: "):
        requested_cells({**(store.read_sweep() or {}), **damage})


def test_unwritable_places_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/sweep: cannot be written"):
        Store(tmp_path / "file" / "sweep").create()


def test_directories_that_are_not_sweeps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no sweep\.json; give the --out directory of a sweep"):
        Store(tmp_path).check()
    with pytest.raises(StoreError, match="is not a directory"):
        Store(tmp_path / "nowhere").check()
