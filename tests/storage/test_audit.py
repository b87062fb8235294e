"""An audit finds every kind of damage, and a repair leads back to the same results."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sweeping import assert_same_results, compute_here, run_cli

from analysis import load_cells, load_tasks
from lop_sweep.config import CellConfig
from lop_sweep.errors import LopSweepError, SchemaVersionError, StoreError, SweepError
from lop_sweep.metrics import LAYERED
from lop_sweep.pack import Pack
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.maintenance.audit import audit, repair
from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.manifest import requested_cells
from lop_sweep.storage.parquet import packs_of, read_table, write_table
from lop_sweep.storage.schema import CELLS, TASKS
from lop_sweep.storage.store import Store
from lop_sweep.tune.worker import PackRun


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Nine finished cells in three packs, of which three diverge."""
    base = CellConfig(width=6, depth=2, samples=8, steps=3, tasks=5, fresh_baseline=2)
    cells = [base.replace(seed=seed, lr=lr) for lr in (0.1, 0.4, 1.7e308) for seed in range(3)]
    return compute_here(cells, tmp_path_factory.mktemp("whole") / "out")


def findings(store: Store) -> list[str]:
    return [str(finding) for finding in audit(store).findings]


def redo(store: Store) -> None:
    """Compute the same cells again, as the next sweep does."""
    store.collect_garbage()
    cells = requested_cells(store.read_sweep() or {})
    compute_here(cells, store.root)


def first_pack(store: Store) -> str:
    return store.committed()[0]


def rewrite(store: Store, folder: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change rows of the first pack as a program with a mistake would: with a checksum that fits."""
    path = store.file(folder, first_pack(store))
    table = read_table(path, TASKS if folder == "tasks" else CELLS)
    write_table(path, change(table).cast(table.schema), packs_of(path))


def put(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    values = table[column].to_pylist()
    values[row] = value
    index = table.schema.get_field_index(column)
    return table.set_column(index, table.schema.field(column), pa.array(values, table.schema.field(column).type))


def test_a_sound_sweep_has_no_findings(whole: Store) -> None:
    report = audit(whole)
    assert report.findings == []
    assert report.notes == []
    assert (report.cells, report.rows) == (9, 45)
    result = run_cli("audit", whole.root)
    assert result.returncode == 0
    assert result.stdout == "10 files, 9 cells, 45 rows of tasks: no problem\n"


WRONG_ROWS: list[tuple[str, Callable[[pa.Table], pa.Table], str]] = [
    ("tasks", lambda t: t.slice(1), "does not have each of its tasks once"),
    ("tasks", lambda t: pa.concat_tables([t, t.slice(3, 1)]), "does not have each of its tasks once"),
    ("tasks", lambda t: put(t, "task", 2, 9), "does not have each of its tasks once"),
    ("tasks", lambda t: put(t, "task", 2, 0), "does not have each of its tasks once"),
    ("tasks", lambda t: put(t, "cell", 2, "0" * 16), "which its cells file does not name"),
    ("tasks", lambda t: put(t, "lr", 2, 0.7), "lr differs from the cells file"),
    ("tasks", lambda t: put(t, "final_ce", 2, -0.1), "final_ce is out of range"),
    ("tasks", lambda t: put(t, "min_ce", 2, 99.0), "min_ce is larger than final_ce"),
    ("tasks", lambda t: put(t, "saturation", 2, 1.5), "saturation is out of range"),
    ("tasks", lambda t: put(t, "grad_norm", 2, float("nan")), "grad_norm is undefined where"),
    ("tasks", lambda t: put(t, "grad_norm", 2, float("inf")), "grad_norm is undefined where"),
    ("tasks", lambda t: put(t, "effective_rank", 2, [1.0]), "effective_rank does not have one value per layer"),
    ("tasks", lambda t: put(t, "effective_rank", 2, [1.0, 7.5]), "effective_rank is out of range"),
    ("tasks", lambda t: put(t, "effective_rank", 2, [0.5, 1.5]), "effective_rank is out of range"),
    ("tasks", lambda t: put(t, "duplicate_fraction", 2, [0.0, 1.1]), "duplicate_fraction is out of range"),
    ("cells", lambda t: put(t, "lr", 0, 0.7), "the id of cell"),
    ("cells", lambda t: put(t, "samples", 0, 7), "impossible configuration"),
    ("cells", lambda t: put(t, "cell", 0, t["cell"][1].as_py()), "is there more than once"),
    ("cells", lambda t: put(t, "pack", 0, "0" * 16), "are not those that its id stands for"),
    ("cells", lambda t: put(t, "status", 0, "unheard-of"), "status of cell"),
    ("cells", lambda t: put(t, "diverged_at", 0, 77), "diverged_at of cell"),
    ("cells", lambda t: put(t, "tasks_done", 0, 4), "tasks_done of cell"),
    ("cells", lambda t: put(t, "fresh_ce", 0, [0.1]), "fresh_ce of cell"),
    ("cells", lambda t: put(t, "fresh_mean_ce", 0, 0.123), "fresh_mean_ce of cell"),
    ("cells", lambda t: put(t, "fresh_median_ce", 0, 0.123), "fresh_median_ce of cell"),
    ("cells", lambda t: put(t, "seconds", 0, -1.0), "seconds of cell"),
    ("cells", lambda t: t.slice(1), "which its cells file does not name"),
]  # fmt: skip


@pytest.mark.parametrize(("folder", "change", "what"), WRONG_ROWS, ids=[f"{w[0]}-{w[2]}" for w in WRONG_ROWS])
def test_wrong_rows_are_found_and_redone(
    copy: Store, whole: Store, folder: str, change: Callable[[pa.Table], pa.Table], what: str
) -> None:
    rewrite(copy, folder, change)
    found = findings(copy)
    assert any(what in finding for finding in found), found
    pack = first_pack(copy)
    report, moved = repair(copy)
    assert [str(finding) for finding in report.findings] == found
    assert {path.parent.name for path in moved} == {"tasks", "cells"}
    assert all(pack in path.name for path in moved)
    assert any("3 of 9 cells are not there" in finding for finding in findings(copy))
    redo(copy)
    assert findings(copy) == []
    assert_same_results(copy.root, whole.root)


def test_a_pack_with_several_dtypes_is_found(copy: Store) -> None:
    rewrite(copy, "cells", lambda table: put(table, "dtype", 0, "float32"))
    assert any("several dtypes: float32, float64" in finding for finding in findings(copy))


def test_orphans_are_found_and_set_aside(copy: Store, whole: Store) -> None:
    packs = copy.committed()
    copy.file("cells", packs[0]).unlink()
    copy.file("tasks", packs[1]).unlink()
    (copy.tasks / "notes.txt").write_text("mine")
    (copy.cells / ".x~elsewhere~1").touch()
    os.utime(copy.cells / ".x~elsewhere~1", (0, 0))
    found = findings(copy)
    assert sum("belongs to no finished pack" in finding for finding in found) == 2
    assert sum("readers of the folder would fail on it" in finding for finding in found) == 1
    assert sum("left by a writer that is gone" in finding for finding in found) == 1
    assert sum("6 of 9 cells are not there" in finding for finding in found) == 1
    assert len(load_cells(copy.root)) == 3
    assert len(load_tasks(copy.root)) == 15
    _, moved = repair(copy)
    assert len(moved) == 4
    redo(copy)
    assert findings(copy) == []
    assert "aside/ holds 4 files" in audit(copy).notes[0]
    assert_same_results(copy.root, whole.root)


def test_a_cell_in_two_files_is_found_and_one_of_them_set_aside(copy: Store, whole: Store) -> None:
    """As after two sweeps that packed the same cell differently."""
    cell = requested_cells(copy.read_sweep() or {})[0]
    run = PackRun(Pack((cell,)), store=copy)
    run.run_tasks(cell.tasks)
    run.finish()
    found = findings(copy)
    assert len(found) == 1
    assert "1 of its cells are in another file, too: rows are there twice" in found[0]
    repair(copy)
    redo(copy)
    assert findings(copy) == []
    assert len(load_tasks(copy.root)) == 45


def test_missing_cells_are_no_finding_while_a_sweep_is_at_work(copy: Store) -> None:
    for folder in ("tasks", "cells"):
        copy.file(folder, sorted(p.stem for p in (copy.root / folder).iterdir())[0]).unlink()
    assert ".: 3 of 9 cells are not there; the same lop-sweep sweep command computes them" in findings(copy)
    with hold_lock(copy.driver, dict):
        report = audit(copy)
        assert report.findings == []
        assert report.notes == ["3 of 9 cells are not there yet; a sweep is at work"]
        with pytest.raises(SweepError, match="has been at work here"):
            repair(copy)


def test_the_command_repairs(copy: Store) -> None:
    path = copy.file("tasks", first_pack(copy))
    path.write_bytes(path.read_bytes()[:-20])
    found = run_cli("audit", copy.root)
    assert found.returncode == 1
    assert f"tasks/{path.name}: cannot be read" in found.stdout
    assert found.stderr == ""
    repaired = run_cli("audit", copy.root, "--repair")
    assert repaired.returncode == 1
    assert f"2 files set aside in {copy.root}/aside" in repaired.stdout
    assert run_cli("audit", copy.root / "nowhere").returncode == 2


def test_what_is_not_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no sweep\.json"):
        audit(Store(tmp_path))


def every_kind_of_file(store: Store) -> list[Path]:
    """Return one file of each kind, among them a merged pair, a checkpoint, a heartbeat and a failure record."""
    cells = requested_cells(store.read_sweep() or {})
    compact(store)
    compute_here([*cells, cells[0].replace(seed=50)], store.root)
    started = Pack((cells[0].replace(seed=51),))
    run = PackRun(started, store=store)
    run.run_tasks(2)
    run.checkpoint()
    store.failures.record(Pack((cells[0].replace(seed=52),)), "ValueError: no", "Traceback:\nValueError: no", 4)
    found: dict[tuple[str, str, bool], Path] = {}
    for path in sorted(path for path in store.root.rglob("*") if path.is_file()):
        found.setdefault((path.parent.name, path.suffix, path.name.startswith("merged-")), path)
    return list(found.values())


def what_is_read(store: Store) -> tuple[object, ...]:
    """Return all results as users read them, or the error of reading them."""
    try:
        tasks = load_tasks(store.root).sort_values(["cell", "task"], ignore_index=True)
        cells = load_cells(store.root).sort_values("cell", ignore_index=True)
        layers = [list(map(bytes, map(memoryview, tasks[name]))) for name in LAYERED]
        flat = (tasks.drop(columns=[*LAYERED]), cells.drop(columns="fresh_ce"))
        return tuple(frame.to_csv() for frame in flat), layers, store.read_sweep()
    except LopSweepError as error:
        return ("refused", type(error))


@pytest.mark.parametrize("flips", [1, pytest.param(25, marks=pytest.mark.long)])
def test_no_damaged_byte_changes_results_silently(copy: Store, flips: int) -> None:
    """The audit finds every flipped bit and every cut in every kind of file, and no other results are read."""
    files = every_kind_of_file(copy)
    kinds = {(path.parent.name, path.suffix) for path in files}
    assert kinds == {
        ("out", ".json"), ("tasks", ".parquet"), ("cells", ".parquet"), ("running", ".state"), ("running", ".json"),
        ("states", ".state"), ("failed", ".json"), ("driver", ".json"), ("maintenance", ".json"),
    }  # fmt: skip
    assert len(files) == 11
    before = findings(copy)
    assert before == []
    sound = what_is_read(copy)
    rng = random.Random(5)
    for path in files:
        whole = path.read_bytes()
        places = {0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(flips))}
        damages = [whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :] for at in places]
        damages += [whole[: rng.randrange(len(whole))] for _ in range(min(flips, 4))] + [b"", whole + b"\0"]
        for damage in damages:
            path.write_bytes(damage)
            try:
                found = findings(copy)
            except SchemaVersionError as error:  # the version in sweep.json itself
                found = [str(error)]
            read = what_is_read(copy)
            where = str(path.relative_to(copy.root))
            if not any(where in finding for finding in found):
                # White space in JSON is all that may change unseen.
                assert path.suffix == ".json", where
                assert read == sound
            assert read in (sound, ("refused", StoreError)) or any(where in finding for finding in found)
        path.write_bytes(whole)
    assert findings(copy) == []
    assert what_is_read(copy) == sound


def test_counting_rows_needs_no_audit(whole: Store) -> None:
    """A plain reader counts the rows that were asked for."""
    table = whole.read_tasks(["cell", "task"])
    assert table.group_by("cell").aggregate([("task", "count")])["task_count"].to_pylist() == [5] * 9
    assert pc.count_distinct(table["cell"]).as_py() == 9


def test_inaccessible_files_are_reported_but_not_set_aside(copy: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(path: Path, *flags: int) -> int:
        if Path(path).parent.name in ("tasks", "states"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *flags)

    monkeypatch.setattr(os, "open", refuse)
    report, moved = repair(copy)
    assert sum("Permission denied" in finding.what for finding in report.findings) == 6
    assert moved == []
