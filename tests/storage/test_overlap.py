"""A suspended driver or worker that continues after a takeover leaves no row twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeping import COMMAND, assert_same_results, compute_here, faults, raw, sweep, wait_until

from lop_sweep.config import CellConfig
from lop_sweep.errors import StoreError, SweepError
from lop_sweep.pack import Pack
from lop_sweep.planning.packing import Sizing
from lop_sweep.planning.plan import make_plan
from lop_sweep.planning.space import SearchSpace
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.maintenance import housekeeping
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.maintenance.overlap import redundant_files
from lop_sweep.storage.records import read_json, write_json
from lop_sweep.storage.store import Store
from lop_sweep.tune.driver import run_sweep
from lop_sweep.tune.worker import PackRun


@pytest.fixture
def cells(small: CellConfig) -> tuple[CellConfig, ...]:
    return tuple(small.replace(seed=seed) for seed in range(6))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "out")
    store.create()
    return store


class Frozen:
    """A worker on another machine that was suspended between its check of the lock and its write.

    Args:
        store: the sweep directory.
        cells: of its pack.
        taken_over: whether another driver holds the directory by the time it wakes up.
    """

    def __init__(self, store: Store, cells: tuple[CellConfig, ...], taken_over: bool = True) -> None:
        self._checks = 0
        self._taken_over = taken_over
        self.run = PackRun(Pack(cells), store=store, check_lock=self._check)
        self.run.run_tasks(1000)
        heartbeat = store.checkpoints.running / f"{self.run.pack.id}.json"
        content = read_json(heartbeat)
        content["process"].update(machine="another", host="elsewhere")
        write_json(heartbeat, {**content, "time": 0.0})  # stale for decades, by the clocks

    def _check(self) -> None:
        self._checks += 1
        if self._taken_over and self._checks > 1:
            raise StoreError("another driver")


def compute(store: Store, cells: tuple[CellConfig, ...], most: int) -> list[Pack]:
    """Compute missing cells as a new driver does, with packs of another size."""
    done = set(store.read_cells(["cell"])["cell"].to_pylist())
    items = make_plan(SearchSpace(cells=cells), done, store, Sizing(cells=most)).items
    for item in items:
        run = PackRun(item.pack, store=store, resume_from=item.resume_from)
        run.run_tasks(1000)
        run.finish()
    return [item.pack for item in items]


def rows_per_task(store: Store) -> set[int]:
    """Return how many times each row is in the folder, as pandas reads it."""
    return set(Counter(raw(store.root, "tasks")[["cell", "task"]].itertuples(index=False, name=None)).values())


def test_a_pack_that_may_still_be_written_is_not_cut_anew(store: Store, cells: tuple[CellConfig, ...]) -> None:
    late = Frozen(store, cells[1:3])
    packs = compute(store, cells, most=5)
    assert late.run.pack.id in {pack.id for pack in packs}
    assert {cell.id for pack in packs for cell in pack.cells} == {cell.id for cell in cells}
    late.run.finish()
    assert rows_per_task(store) == {1}
    assert len(raw(store.root, "cells")) == 6
    assert list(store.checkpoints.running.glob("*.json")) == []


def test_a_late_pack_is_kept_where_nothing_else_holds_its_cells(store: Store, cells: tuple[CellConfig, ...]) -> None:
    late = Frozen(store, cells[1:3])
    assert late.run.finish()
    assert store.committed() == [late.run.pack.id]


@pytest.mark.parametrize("merged", [False, True])
def test_a_late_pack_is_withdrawn_where_its_cells_are_elsewhere(
    store: Store, cells: tuple[CellConfig, ...], merged: bool
) -> None:
    """The new request has only some of the pack's cells, so it is cut anew; or all files have been merged meanwhile."""
    late = Frozen(store, cells[1:4])
    for chosen in (cells[:2], cells[2:]):
        packs = compute(store, chosen, most=5)
        assert late.run.pack.id not in {pack.id for pack in packs}
    if merged:
        store.write_sweep({"space": "s", "dtype": "float64", "created": "now", "common": {}, "fields": [], "rows": []})
        compact(store)
    with pytest.raises(StoreError, match="another driver"):
        late.run.finish()
    assert rows_per_task(store) == {1}
    assert len(raw(store.root, "cells")) == 6


def test_a_late_pack_with_cells_found_nowhere_else_is_withdrawn(store: Store, cells: tuple[CellConfig, ...]) -> None:
    """The new request has only some of the pack's cells, and asks for no others."""
    late = Frozen(store, cells[:4])
    compute(store, cells[:2], most=5)
    with pytest.raises(StoreError, match="another driver"):
        late.run.finish()
    assert rows_per_task(store) == {1}
    assert set(raw(store.root, "cells")["cell"]) == {cell.id for cell in cells[:2]}


def doubled(store: Store, cells: tuple[CellConfig, ...]) -> None:
    """Leave the files of a worker that was killed between its write and its second check."""
    late = Frozen(store, cells[1:4], taken_over=False)
    for chosen in (cells[:2], cells[2:]):
        compute(store, chosen, most=5)
    late.run.finish()
    assert rows_per_task(store) == {1, 2}


def test_the_next_command_removes_doubled_rows_first(
    store: Store, cells: tuple[CellConfig, ...], caplog: pytest.LogCaptureFixture
) -> None:
    doubled(store, cells)
    outcome = run_sweep(SearchSpace(cells=cells), store.root, progress=False)
    assert outcome.status.finished == 6
    assert outcome.computed == 0
    assert rows_per_task(store) == {1}
    assert "left by a worker that is gone, removed" in caplog.text
    assert audit(store).findings == []
    assert len(list((store.root / "aside").rglob("*.parquet"))) == 2


def test_a_compaction_removes_doubled_rows_too(store: Store, cells: tuple[CellConfig, ...]) -> None:
    compute_here(cells[4:], store.root)
    doubled(store, cells)
    compact(store)
    assert rows_per_task(store) == {1}


def test_a_half_committed_pack_of_a_frozen_worker_is_removed(store: Store, cells: tuple[CellConfig, ...]) -> None:
    """A tasks file without a cells file, whose worker may be alive, while its cells are finished in other packs."""
    late = Frozen(store, cells[1:4])
    for chosen in (cells[:2], cells[2:]):
        compute(store, chosen, most=5)
    orphan = store.file("tasks", late.run.pack.id)
    orphan.write_bytes(next(store.tasks.glob("*.parquet")).read_bytes())
    run_sweep(SearchSpace(cells=cells), store.root, progress=False)
    assert not orphan.exists()
    assert rows_per_task(store) == {1}


files = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.frozensets(st.integers(0, 9), min_size=1))


@settings(max_examples=300, deadline=None)
@given(files)
def test_only_files_with_doubled_cells_are_removed(found: dict[str, frozenset[int]]) -> None:
    cells = {name: [str(cell) for cell in ids] for name, ids in found.items()}
    removed = redundant_files(cells)
    left = {name: ids for name, ids in cells.items() if name not in removed}
    counts = Counter(cell for ids in left.values() for cell in ids)
    assert max(counts.values(), default=0) <= 1
    for name in removed:
        assert set(cells[name]) & {cell for other, ids in cells.items() if other != name for cell in ids}
    assert redundant_files(left) == []


def test_a_file_whose_cells_are_all_elsewhere_goes_first() -> None:
    assert redundant_files({"a": ["1", "2"], "b": ["2", "3"], "c": ["1"], "d": ["3"]}) == ["a", "d"]
    assert redundant_files({"a": ["1", "2"], "b": ["2", "3"], "c": ["1"]}, partial=False) == ["a"]
    assert redundant_files({"a": ["1", "2"], "b": ["2", "3"]}, partial=False) == []
    assert redundant_files({"a": ["1", "2"], "b": ["2", "3"]}) == ["a"]
    assert redundant_files({"own": ["1", "2"], "x": ["1", "2"]}, foreign=["x"]) == ["x"]
    assert redundant_files({"own": ["1"], "x": ["1", "2"]}, foreign=["x"]) == ["own"]
    assert redundant_files({"own": ["1"], "x": ["1"], "y": ["1"]}, foreign=["own"]) == ["own", "x"]
    assert redundant_files({"merged": ["1", "2", "3"], "late": ["2", "3"]}) == ["late"]


def test_doubled_rows_of_another_sweep_are_those_that_go(store: Store, cells: tuple[CellConfig, ...]) -> None:
    """Valid pairs of another sweep were copied in; by name, ours would come first."""
    description = {"space": "s", "dtype": "float64", "created": "now", "common": {}, "fields": [], "rows": []}
    store.write_sweep(description)
    compute(store, cells[:2], most=2)
    other = Store(store.root.with_name("other"))
    other.create()
    other.write_sweep(description)
    compute(other, cells[:1], most=1)
    (name,) = other.committed()
    for folder in ("tasks", "cells"):
        shutil.copy(other.file(folder, name), store.file(folder, name))
    own = set(store.committed()) - {name}
    run_sweep(SearchSpace(cells=cells[:2]), store.root, progress=False)
    assert set(store.committed()) == own
    assert rows_per_task(store) == {1}


def test_doubled_cells_wait_for_a_compaction(
    store: Store, cells: tuple[CellConfig, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    doubled(store, cells)
    monkeypatch.setattr(housekeeping, "BUSY_SECONDS", 0.2)
    with (
        hold_lock(store.maintenance, lambda: {"maintenance": "compact"}),
        pytest.raises(SweepError, match="maintenance: compact"),
    ):
        run_sweep(SearchSpace(cells=cells), store.root, progress=False)


def everyone(process: subprocess.Popen[str], tell: Callable[[psutil.Process], None]) -> None:
    """Do something to a process and all of its descendants."""
    one = psutil.Process(process.pid)
    for each in [one, *one.children(recursive=True)]:
        try:
            tell(each)
        except psutil.NoSuchProcess:
            continue


@pytest.mark.long
def test_a_driver_that_wakes_up_doubles_no_row(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    """As after a suspended machine: in a process namespace of its own, the first driver cannot be seen by the second.

    One of its workers is frozen between its check of the lock and its write, then all else of it.
    """
    space, expected = undisturbed
    text = space.read_text().replace("pack = ['seed']", "")
    (tmp_path / "space.py").write_text(text)
    out, environment = tmp_path / "out", faults(tmp_path / "tickets", ())
    (tmp_path / "tickets" / "commit.checked").write_text("freeze")
    isolated = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    first = subprocess.Popen(
        [*isolated, *COMMAND, "sweep", str(tmp_path / "space.py"), "--out", str(out), "--pack", "2", "--no-progress"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: not (tmp_path / "tickets" / "commit.checked").exists(), first)
        everyone(first, psutil.Process.suspend)
        second = sweep(tmp_path / "space.py", out, "--pack", "5", "--no-progress")
        assert second.returncode == 0, second.stderr
        assert "taking over" in second.stderr
        assert_same_results(out, expected, same_packs=False)
        everyone(first, psutil.Process.resume)
        _, stderr = first.communicate(timeout=120)
        assert first.returncode == 2, stderr
        assert "another lop-sweep has taken over" in stderr
    finally:
        if first.poll() is None:
            everyone(first, psutil.Process.kill)
            first.communicate()
    assert_same_results(out, expected, same_packs=False)
    assert rows_per_task(Store(out)) == {1}
    again = sweep(tmp_path / "space.py", out, "--no-progress")
    assert again.returncode == 0, again.stderr
    assert "0 to compute" in again.stderr
    assert [str(finding) for finding in audit(Store(out)).findings] == []
    assert not (out / "aside").exists()
    assert os.listdir(out / "running") == []
