"""A compaction loses no row and doubles none, at whatever moment it is interrupted or read."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from sweeping import assert_same_results, compute_here, faults, run_cli

from analysis import load_cells, load_tasks
from lop_sweep.config import CellConfig
from lop_sweep.errors import StoreError, SweepError
from lop_sweep.pack import Pack
from lop_sweep.planning.space_file import load_space
from lop_sweep.storage import store as store_module
from lop_sweep.storage.filesystem import names_in
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.maintenance import audit_segments
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.store import Store
from lop_sweep.tune.driver import run_sweep
from lop_sweep.tune.worker import PackRun


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Twelve finished cells, in twelve pairs of files."""
    base = CellConfig(width=6, depth=2, samples=8, steps=3, tasks=5, fresh_baseline=2)
    cells = [base.replace(seed=seed, lr=lr) for seed in range(4) for lr in (0.1, 0.4, 1.7e308)]
    return compute_here(cells, tmp_path_factory.mktemp("whole") / "out", pack=())


def files(store: Store) -> tuple[int, int]:
    return len(list(store.tasks.iterdir())), len(list(store.cells.iterdir()))


def test_merged_files_hold_the_same_rows(copy: Store, whole: Store) -> None:
    done = compact(copy)
    assert (done.before, done.after, done.packs) == (12, 1, 12)
    assert files(copy) == (1, 1)
    assert_same_results(copy.root, whole.root)
    assert copy.committed() == whole.committed()
    assert audit(copy).findings == []
    again = compact(copy)
    assert (again.before, again.after) == (1, 1)


def test_large_files_are_left_alone_and_small_ones_are_grouped(copy: Store, whole: Store) -> None:
    """Each pack has 5 rows. At 20 rows per file, four packs are merged, and the result is large enough."""
    assert compact(copy, rows=20).after == 3
    names = {path.name for path in copy.tasks.iterdir()}
    assert compact(copy, rows=20).after == 3
    assert {path.name for path in copy.tasks.iterdir()} == names
    assert compact(copy).after == 1  # merged files can be merged again
    assert_same_results(copy.root, whole.root)


def test_a_sweep_goes_on_after_a_compaction(copy: Store) -> None:
    compact(copy)
    cells = [CellConfig(**row) for row in copy.read_cells(list(CellConfig.model_fields)).to_pylist()]
    compute_here([*cells, cells[0].replace(seed=77)], copy.root, pack=())
    assert files(copy) == (2, 2)
    assert len(copy.read_cells()) == 13
    assert audit(copy).findings == []


COMPACT = "import sys; from lop_sweep.cli import main; sys.exit(main(['compact', sys.argv[1]]))"
POINTS = [*(f"{place}.{moment}" for place in ("tasks", "cells") for moment in ("half", "written", "renamed")),
          "compact.merged"]  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_a_crashed_compaction_loses_nothing_and_is_completed(
    copy: Store, whole: Store, tmp_path: Path, point: str
) -> None:
    environment = faults(tmp_path / "tickets", [point])
    crashed = subprocess.run([sys.executable, "-c", COMPACT, str(copy.root)], env=environment, capture_output=True)
    assert crashed.returncode == -signal.SIGKILL
    assert len(load_cells(copy.root)) == 12
    assert len(load_tasks(copy.root)) == 60
    assert len(copy.read_tasks()) == 60
    assert audit(copy).findings != []
    compact(copy)
    assert_same_results(copy.root, whole.root)
    assert files(copy) == (1, 1)
    assert audit(copy).findings == []


@pytest.mark.parametrize("point", POINTS)
def test_the_next_sweep_cleans_up_after_a_crashed_compaction(
    copy: Store, whole: Store, tmp_path: Path, point: str
) -> None:
    environment = faults(tmp_path / "tickets", [point])
    subprocess.run([sys.executable, "-c", COMPACT, str(copy.root)], env=environment, capture_output=True)
    copy.collect_garbage()
    assert_same_results(copy.root, whole.root)
    assert files(copy) in ((12, 12), (1, 1))


def test_readers_see_every_row_once_while_files_are_merged(copy: Store, whole: Store) -> None:
    """Merged in many small steps, and read as fast as possible meanwhile."""
    expected = whole.read_tasks().to_pandas().sort_values(["cell", "task"])[["cell", "task", "final_ce"]]
    errors: list[BaseException] = []
    done = threading.Event()
    reads = 0

    def read() -> None:
        nonlocal reads
        try:
            while not done.is_set():
                frame = copy.read_tasks(["cell", "task", "final_ce"]).to_pandas().sort_values(["cell", "task"])
                pd.testing.assert_frame_equal(
                    frame.reset_index(drop=True), expected.reset_index(drop=True), check_exact=True
                )
                assert len(copy.read_cells(["cell"])) == 12
                reads += 1
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for rows in (10, 12, 20, 30, 50, 1000):
        compact(copy, rows=rows)
    done.set()
    thread.join()
    assert errors == []
    assert reads > 0
    assert files(copy) == (1, 1)


def test_damaged_files_are_not_merged_with_sound_ones(copy: Store) -> None:
    victim = sorted(copy.tasks.iterdir())[3]
    content = bytearray(victim.read_bytes())
    content[100] ^= 1
    victim.write_bytes(content)
    with pytest.raises(StoreError, match=rf"{victim.name}: cannot be read: it is damaged"):
        compact(copy)
    assert files(copy) == (12, 12)


def test_one_compaction_at_a_time(copy: Store) -> None:
    with hold_lock(copy.maintenance, lambda: {"maintenance": "compact"}), pytest.raises(SweepError, match="compact"):
        compact(copy)


def test_the_command_says_what_it_did(copy: Store) -> None:
    result = run_cli("compact", copy.root)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"12 packs: 12 pairs of files before, 1 now -> {copy.root}\n"
    refused = run_cli("compact", copy.root / "tasks")
    assert refused.returncode == 2
    assert "holds no sweep.json" in refused.stderr


def test_a_sweep_collects_no_garbage_during_a_compaction(
    copy: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two renames, its merged tasks file looks like one that a crashed worker has left."""
    lines = ["from ray import tune", "param_space = {'width': 6, 'depth': 2, 'samples': 8, 'steps': 3, 'tasks': 5,",
             "'fresh_baseline': 2, 'lr': 0.1, 'seed': tune.grid_search([0, 1, 2, 3])}"]  # fmt: skip
    (tmp_path / "space.py").write_text("\n".join(lines))
    write, merging = store_module.write_table, []

    def slow(path: Path, table: pa.Table, packs: tuple[str, ...]) -> None:
        if path.parent.name == "cells":
            assert run_sweep(load_space(tmp_path / "space.py"), copy.root).status.complete
            merging.append(path)
        write(path, table, packs)

    monkeypatch.setattr(store_module, "write_table", slow)
    with caplog.at_level("INFO"):
        compact(copy)
    assert len(merging) == 1
    assert "not cleaning up" in caplog.text
    assert len(copy.committed()) == 12
    assert files(copy) == (1, 1)


def test_files_that_share_cells_are_not_merged_into_one(copy: Store) -> None:
    """One of them can then still be quarantined. Only a sweep may decide which cells are computed again."""
    cell = CellConfig(**copy.read_cells(list(CellConfig.model_fields)).to_pylist()[0])
    for other in (98, 99):
        run = PackRun(Pack((cell.replace(seed=97), cell.replace(seed=other))), store=copy)
        run.run_tasks(5)
        run.finish()
    compact(copy)
    assert files(copy) == (2, 2)
    assert len(audit(copy).findings) == 1
    assert len(load_cells(copy.root)) == 15


def test_an_audit_is_retried_when_files_are_merged(copy: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compaction runs after the audit has listed the folder and before it reads the files."""
    listed: list[Path] = []

    def slow(folder: Path, ending: str) -> list[str]:
        names = names_in(folder, ending)
        listed.append(folder)
        if listed == [copy.tasks]:
            compact(copy)
        return names

    monkeypatch.setattr(audit_segments, "names_in", slow)
    assert audit(copy).findings == []
    assert listed == [copy.tasks, copy.cells] * 2
    assert files(copy) == (1, 1)
