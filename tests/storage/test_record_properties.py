"""Records and headers with any values and checksums that fit are refused on one line, left out, or used.

Reading them may log a warning, but never ends in a traceback.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import examples, finite_json, outcome, spoilt
from sweeping import compute_here

from analysis import load_cells, load_requested, load_tasks
from analysis.cli import main as analyse
from lop_sweep.config import CellConfig
from lop_sweep.errors import LopSweepError, SchemaVersionError, StateError, SweepError
from lop_sweep.pack import Pack
from lop_sweep.planning.packing import Sizing
from lop_sweep.planning.plan import make_plan
from lop_sweep.planning.space import SearchSpace
from lop_sweep.planning.status import Driver, sweep_status
from lop_sweep.planning.status_text import status_json, status_lines
from lop_sweep.storage import lock
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.lock_file import read_lock
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.pack_state import PackState, start_points
from lop_sweep.storage.parquet import packs_of, read_table, write_table
from lop_sweep.storage.process import ProcessMark
from lop_sweep.storage.records import read_json, timestamp, write_json
from lop_sweep.storage.schema import CELLS, TASKS
from lop_sweep.storage.serialization import load_state, save_state
from lop_sweep.storage.store import Store
from lop_sweep.tune.driver import run_sweep
from lop_sweep.tune.worker import PackRun

BASE = CellConfig(width=4, depth=2, samples=4, steps=1, tasks=3, fresh_baseline=1)
GRID = (BASE, BASE.replace(seed=8))
SPACE = SearchSpace(cells=GRID, name="here", pack=("seed",))
OTHER = BASE.replace(seed=9)

HUGE = [10**400, -(10**400), 2**63, 2**31, -1, 0, 1e300, -1e300, 1.7e308, 5e-324, 1e18, 253402300800, "nan", True]
values = st.sampled_from(HUGE) | finite_json


def odd(record: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Generate a record with up to two of its values, or of those of its process, replaced."""
    changed = spoilt(st.just(record), st.sampled_from(sorted(record)), values)
    process = record.get("process")
    if process is None:
        return changed
    marks = spoilt(st.just(process), st.sampled_from(sorted(process)), values)
    return changed | st.builds(lambda mark: {**record, "process": mark}, marks)


PROCESS = ProcessMark.current().to_json()
NOW = time.time()
HEARTBEAT = {"pack": "p", "cells": [OTHER.id], "tasks_done": 1, "tasks": 3, "process": PROCESS, "time": NOW}
FAILURE = {"pack": "p", "cells": [OTHER.id], "reason": "no", "traceback": "no", "attempts": 4, "time": NOW}
LOCK = {
    "number": 9, "token": "0" * 16, "process": PROCESS, "started": NOW - 9, "time": NOW, "beat": 1, "released": False,
    "activity": {"cells": 6, "done": 2.5},
}  # fmt: skip
locks = odd(LOCK) | st.builds(
    lambda activity: {**LOCK, "activity": activity}, spoilt(st.just({}), st.sampled_from(["cells", "done"]), values)
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two finished cells with kept states, and one with a checkpoint."""
    store = compute_here(GRID, tmp_path_factory.mktemp("records") / "out")
    run = PackRun(Pack((OTHER,)), store=store)
    run.run_tasks(2)
    run.checkpoint()
    (store.checkpoints.running / f"{run.pack.id}.json").unlink()
    store.failures.folder.mkdir()
    shutil.rmtree(store.driver)
    store.driver.mkdir()
    return store


@pytest.fixture
def restored(store: Store) -> Iterator[Store]:
    """The directory, whose records are removed afterwards."""
    yield store
    for folder in (store.checkpoints.running, store.failures.folder, store.driver):
        for path in folder.glob("*.json"):
            path.unlink()


def read_all(store: Store) -> None:
    """Call every reader of records: each returns something, or refuses on one line."""
    status = outcome(lambda: sweep_status(store), LopSweepError)
    if status is not None:
        assert list(status_lines(status))
        text = json.dumps(status_json(status))
        assert "NaN" not in text.replace('"NaN', "")
        assert status.cells == status.finished + status.diverged + status.running + status.failed + status.missing
    report = outcome(lambda: audit(store), LopSweepError)
    if report is not None:
        assert all(len(str(finding).splitlines()) == 1 for finding in report.findings)
    for read in (store.checkpoints.heartbeats, store.failures.read, store.checkpoints.so_far):
        assert isinstance(read(), (list, tuple))
    read_lock(store.driver)


def shared(*strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return lambda test: examples(30)(given(*strategies)(test))


@pytest.mark.parametrize("kind", ["heartbeat", "failure", "lock"])
def test_any_record_is_left_out_or_used(restored: Store, kind: str) -> None:
    folder, records = {
        "heartbeat": (restored.checkpoints.running, odd(HEARTBEAT)),
        "failure": (restored.failures.folder, odd(FAILURE)),
        "lock": (restored.driver, locks),
    }[kind]

    @shared(records)
    def check(record: dict[str, Any]) -> None:
        write_json(folder / "000009.json", record)
        read_all(restored)

    check()


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("key", ["time", "started", "beat", "tasks_done", "tasks", "attempts", "pid", "cells", "done"])
def test_numbers_beyond_all_ranges_in_records(restored: Store, key: str, value: Any) -> None:
    """As above, for each number by itself."""
    for folder, record in (
        (restored.checkpoints.running, HEARTBEAT), (restored.failures.folder, FAILURE), (restored.driver, LOCK),
    ):  # fmt: skip
        inner = {name: {**record[name], key: value} for name in ("process", "activity") if key in record.get(name, {})}
        write_json(folder / "000009.json", {**record, **({key: value} if key in record else {}), **inner})
    read_all(restored)


@pytest.mark.parametrize("value", [value for value in HUGE if not isinstance(value, bool)])
def test_a_lock_with_an_impossible_time_or_process_can_be_taken(
    restored: Store, monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    """Unless its holder may be alive, which is then named."""
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.01)
    for record in (
        {**LOCK, "started": value}, {**LOCK, "time": value}, {**LOCK, "process": {**PROCESS, "pid": value}},
        {**LOCK, "beat": value}, {**LOCK, "activity": {"cells": value}},
    ):  # fmt: skip
        write_json(restored.driver / "000009.json", record)

        def take() -> bool:
            with hold_lock(restored.driver, dict):
                return True

        assert outcome(take, SweepError) in (True, None)
        for path in restored.driver.iterdir():
            path.unlink()


def test_any_sweep_json_is_refused_or_read(store: Store) -> None:
    path = store.root / "sweep.json"
    sound = read_json(path)

    @shared(odd(sound) | finite_json.filter(lambda value: isinstance(value, dict)))
    def check(description: dict[str, Any]) -> None:
        write_json(path, description)
        assert outcome(store.check, SchemaVersionError) is None
        read_all(store)
        outcome(lambda: load_requested(store.root), LopSweepError)
        for load in (load_cells, load_tasks):
            outcome(lambda load=load: load(store.root), SchemaVersionError)  # type: ignore[misc]
        outcome(lambda: run_sweep(SPACE, store.root), SchemaVersionError)
        origin = (outcome(store.read_sweep, SchemaVersionError) or {}).get("origin", "0" * 16)
        assert len(origin) == 16

    try:
        check()
    finally:
        write_json(path, sound)
        shutil.rmtree(store.root / "aside", ignore_errors=True)
        shutil.rmtree(store.driver)
        store.driver.mkdir()


def test_a_finding_quotes_a_value_on_one_line(store: Store) -> None:
    path = store.root / "sweep.json"
    sound = read_json(path)
    write_json(path, {**sound, "dtype": "\r\x1b[2J"})
    try:
        (found,) = [str(finding) for finding in audit(store).findings if "float64" in str(finding)]
    finally:
        write_json(path, sound)
    assert found.endswith("the sweep is in \\r\\x1b[2J")


def test_any_header_of_a_state_is_left_out_or_used(store: Store) -> None:
    (path,) = store.checkpoints.running.glob("*.state")
    whole, content = path.read_bytes(), load_state(path)
    header = json.loads(whole.split(b"\n")[1])
    numbers = [*HUGE, float("inf"), float("-inf"), float("nan")]
    wanted = SearchSpace(cells=(*GRID, OTHER), name="more", pack=("seed",))

    @shared(spoilt(st.just(header), st.sampled_from(sorted(header)), values | st.sampled_from(numbers)))
    @example({**header, "tasks_done": float("inf")})
    @example({**header, "fresh_done": 10**400})
    @example({**header, "tasks_done": -(10**400)})
    def check(odd_header: dict[str, Any]) -> None:
        save_state(path, content, odd_header)
        outcome(lambda: start_points(path), StateError)
        assert len(make_plan(wanted, {cell.id for cell in GRID}, store, Sizing()).items) == 1
        store.checkpoints.discard_finished([])
        read_all(store)

    try:
        check()
    finally:
        path.write_bytes(whole)


def test_any_content_of_a_state_is_left_out_or_used(store: Store) -> None:
    (path,) = store.checkpoints.running.glob("*.state")
    whole, content = path.read_bytes(), load_state(path)
    header = json.loads(whole.split(b"\n")[1])
    arrays = st.sampled_from([np.zeros(3), np.zeros((2, 1)), np.zeros((2, 1, 2)), np.array("x"), np.array([10**400])])
    anything = values | arrays.filter(lambda array: array.dtype != object)
    entries = {
        name: spoilt(st.just(content[name]), st.sampled_from(sorted(content[name])), anything)
        for name in ("experiment", "history", "numerics", "pack")
    }
    replaced = st.one_of(
        [st.builds(lambda entry, name=name: {**content, name: entry}, entry) for name, entry in entries.items()]
    )

    @shared(replaced | spoilt(st.just(content), st.sampled_from(sorted(content)), anything))
    @example({**content, "written": 10**400})
    @example({**content, "experiment": {**content["experiment"], "seconds": [10**400]}})
    @example({**content, "experiment": {**content["experiment"], "diverged_at": [2**40]}})
    @example({**content, "numerics": {}})
    def check(odd_content: dict[str, Any]) -> None:
        save_state(path, odd_content, header)
        state = outcome(lambda: PackState.load(path), StateError)
        assert state is None or state.progress[0] <= 3
        read_all(store)
        for load in (load_cells, load_tasks):
            assert outcome(lambda load=load: load(store.root, unfinished=True), LopSweepError) is not None  # type: ignore[misc]

    try:
        check()
    finally:
        path.write_bytes(whole)


def test_times_are_those_that_calendars_know() -> None:
    assert timestamp(NOW) == NOW
    for value in (*HUGE[:4], 1e300, float("nan"), float("inf"), None, "tomorrow"):
        if value != 2**31:
            with pytest.raises((TypeError, ValueError, OverflowError)):
                timestamp(value)


def test_a_rate_too_small_to_divide_by_is_not_known() -> None:
    driver = Driver("p", True, False, 5, 5e-324, 1e9)
    assert np.isnan(driver.seconds_left)


def test_the_report_names_a_cell_id_that_is_invalid(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Store(tmp_path / "copy")
    shutil.copytree(store.root, copy.root)
    (name,) = copy.committed()
    for folder, schema in (("tasks", TASKS), ("cells", CELLS)):
        path = copy.file(folder, name)
        table = read_table(path, schema)
        ids = table["cell"].to_pylist()
        column = [f"not\n{cell[4:]}" if cell == ids[0] else cell for cell in ids]
        index = table.schema.get_field_index("cell")
        write_table(path, table.set_column(index, table.schema.field(index), [column]), packs_of(path))
    assert analyse(["report", str(copy.root), "--out", str(tmp_path / "report.html")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is not a cell's id, which has 16 hexadecimal digits; lop-sweep audit names its file" in said
    assert not (tmp_path / "report.html").exists()
