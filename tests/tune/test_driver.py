"""Whole sweeps on a real Ray, through the command: bit identity, resuming, failures, clusters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray
from ray.cluster_utils import Cluster
from sweeping import assert_same_results, compute_here, sweep, sweep_here, write_space

from lop_sweep.cli import main
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.metrics import LAYERED, measured_with
from lop_sweep.pack import Pack
from lop_sweep.planning.space_file import load_space
from lop_sweep.storage.pack_state import PackState
from lop_sweep.storage.store import Store

BASE = {"width": 8, "depth": 2, "samples": 12, "steps": 5, "tasks": 4, "fresh_baseline": 2}


def status(out: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    capsys.readouterr()
    assert main(["status", str(out), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def rows_of(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "tasks").sort_values(["cell", "task"], ignore_index=True)


def assert_rows_identical(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Assert that two tables are equal to the last bit in every column; NaN equals NaN."""
    assert len(a) == len(b)
    assert list(a.columns) == list(b.columns)
    assert {"cell", "task", "lr", "reset_optimizer", *measured_with()} <= set(a.columns)
    for name in a.columns:
        left, right = (np.stack(f[name]) if name in LAYERED else f[name].to_numpy() for f in (a, b))
        np.testing.assert_array_equal(left, right, err_msg=name)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the space and directory of a finished sweep of 12 cells, two of which diverge."""
    folder = tmp_path_factory.mktemp("sweep")
    space = write_space(
        folder / "space.py", ["seed", "lr"],
        **BASE, lr="tune.grid_search([0.1, 0.5, 1.7e308])", sigma="tune.grid_search([0.1, 0.4])",
        seed="tune.grid_search([1, 5])",
    )  # fmt: skip
    result = sweep(space, folder / "out")
    assert result.returncode == 0, result.stderr
    assert "space: 12 cells: 0 finished, 12 new\n12 to compute in 2 packs: " in result.stderr
    assert "packs of 6 cells (by the search space), a report every 4 tasks (by cost)" in result.stderr
    assert "12.0/12 cells" in result.stderr
    assert result.stdout.count("\n") == 1
    assert "8 of 12 cells finished, 4 diverged, 0 missing; 12 computed now" in result.stdout
    return space, folder / "out"


def test_a_sweep_ends_with_a_complete_store(swept: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    space, out = swept
    folders = {"tasks", "cells", "running", "states", "driver", "maintenance", "tune"}
    assert {path.name for path in out.iterdir()} == {"sweep.json", *folders}
    cells = Store(out).read_cells().to_pandas()
    assert set(cells["cell"]) == {cell.id for cell in load_space(space).cells}
    assert set(cells.loc[cells["lr"] > 1, "status"]) == {"diverged"}
    assert set(cells.loc[cells["lr"] < 1, "status"]) == {"finished"}
    assert len(rows_of(out)) == 12 * 4
    expected = {"cells": 12, "finished": 8, "diverged": 4, "running": 0, "failed": 0, "missing": 0, "others": 0}
    found = status(out, capsys)
    assert {name: found[name] for name in expected} == expected
    described = json.loads((out / "sweep.json").read_text())
    assert described["axes"] == {"seed": [1, 5], "lr": [0.1, 0.5, 1.7e308], "sigma": [0.1, 0.4]}
    assert described["driver"]["numpy_version"] == np.__version__
    sizes = described["sizes"]
    assert (sizes["packs"], sizes["cells_a_pack"], sizes["packs_by"]) == (2, [6, 6], "the search space")
    assert (sizes["tasks_per_report"], sizes["reports_by"]) == ([4, 4], "cost")


def test_workers_use_the_kernels_that_run_uses(swept: tuple[Path, Path]) -> None:
    from lop_sweep.runtime import describe_numerics

    cells = Store(swept[1]).read_cells().to_pandas()
    assert set(cells["blas"]) == {describe_numerics()["blas"]}


@pytest.mark.usefixtures("own_ray")
def test_rows_do_not_depend_on_the_packing(swept: tuple[Path, Path], tmp_path: Path) -> None:
    space, out = swept
    text = space.read_text().replace("pack = ['seed', 'lr']", "pack = []")
    (tmp_path / "unpacked.py").write_text(text)
    result = sweep_here(tmp_path / "unpacked.py", tmp_path / "out", "--tasks-per-report", "3", "--no-progress")
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "out" / "tasks").glob("*.parquet"))) == 12
    assert_rows_identical(rows_of(tmp_path / "out"), rows_of(out))
    logs = Path(ray._private.worker.global_worker.node.get_logs_dir_path())
    jobs = {path.stem.split("-")[2] for path in logs.glob("worker-*.err")}
    assert jobs == {ray.get_runtime_context().get_job_id()}  # and no workers in advance, which have no job


def test_rows_do_not_depend_on_ray(swept: tuple[Path, Path], tmp_path: Path) -> None:
    """Nor do rows and files of packs on whether a driver and its workers compute them, or this process alone."""
    space, out = swept
    alone = compute_here(load_space(space).cells, tmp_path / "out", pack=("seed", "lr"))
    assert_same_results(alone.root, out)


def test_run_and_sweep_give_the_same_bits(
    swept: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(swept[1])
    config = CellConfig(**BASE, lr=0.5, sigma=0.4, seed=5)
    values = {f: getattr(config, f) for f in FIELDS}
    flags = [part for f in FIELDS for part in (f"--{FIELDS[f].flag}", str(values[f]))]
    assert main(["run", *flags, "--out", str(tmp_path), "--no-progress"]) == 0
    ours = pd.read_csv(tmp_path / "lop_fixed_regime_results.csv", dtype=str).astype(float)
    swept_rows = rows[rows["cell"] == config.id]
    for name, script in (
        ("min_ce", "min_CE"),
        ("final_ce", "final_CE"),
        ("saturation", "sat"),
        ("grad_norm", "grad_norm"),
    ):
        np.testing.assert_array_equal(ours[script], swept_rows[name])
    for name, script in (("effective_rank", "eff_rank"), ("duplicate_fraction", "dup_frac")):
        np.testing.assert_array_equal(ours[[f"{script}_L0", f"{script}_L1"]], np.stack(swept_rows[name]))
    fresh = Store(swept[1]).read_cells().to_pandas().set_index("cell").loc[config.id, "fresh_mean_ce"]
    assert json.loads(capsys.readouterr().out)["fresh_mean_final_CE_on_late"] == fresh


@pytest.mark.long  # tests/storage/test_old_directories.py extends a sweep every day
def test_extending_a_sweep_computes_only_the_difference(
    swept: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A complete sweep computes nothing, and starts no Ray."""
    space, out = swept
    files = {path: path.stat().st_mtime_ns for path in (out / "tasks").iterdir()}
    again = sweep(space, out)
    assert again.returncode == 0
    assert "8 of 12 cells finished, 4 diverged, 0 missing; 0 computed now" in again.stdout
    assert "0 to compute\n" in again.stderr

    wider = tmp_path / "wider.py"
    wider.write_text(space.read_text().replace("[1, 5]", "[1, 2, 5]").replace(", 1.7e308", ""))
    result = sweep(wider, out)
    assert result.returncode == 0, result.stderr
    assert "wider: 12 cells: 8 finished, 4 new\n4 to compute in 2 packs: " in result.stderr
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert len(rows_of(out)) == 16 * 4
    after = status(out, capsys)
    assert (after["cells"], after["finished"], after["others"]) == (12, 12, 4)
    assert sweep(space, out).returncode == 0  # restores the fixture's request


@pytest.mark.long  # tests/storage/test_old_directories.py compares the same every day
def test_a_sweep_with_more_tasks_equals_one_longer_sweep(swept: tuple[Path, Path], tmp_path: Path) -> None:
    """It resumes from the kept states."""
    space, out = swept
    shutil.copytree(out, tmp_path / "out")
    longer = tmp_path / "longer.py"
    longer.write_text(space.read_text().replace("'tasks': 4", "'tasks': 9"))
    result = sweep(longer, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "longer: 12 cells: 0 finished, 12 continue from task 4, 0 new\n12 to compute in 2 packs: " in result.stderr
    store = Store(tmp_path / "out")
    ids = {cell.id for cell in load_space(longer).cells}
    rows = rows_of(store.root)
    at_once = compute_here(load_space(longer).cells, tmp_path / "at_once", pack=("seed", "lr"))
    assert_rows_identical(rows[rows["cell"].isin(ids)].reset_index(drop=True), rows_of(at_once.root))
    cells, expected = (s.read_cells().to_pandas().set_index("cell") for s in (store, at_once))
    ours, theirs = (np.stack(list(frame.loc[expected.index, "fresh_ce"])) for frame in (cells, expected))
    np.testing.assert_array_equal(ours, theirs)
    assert {s.tasks_done for s in map(PackState.load, store.checkpoints.states.iterdir())} == {4, 9}


def test_a_damaged_sweep_json_is_rewritten_without_loss(
    swept: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    space, out = swept
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    for damage in ("", '{"schema_version": 1}', '{"schema_version": 1, "rows": 3'):
        (copy / "sweep.json").write_text(damage)
        assert main(["status", str(copy)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        (copy / "tasks" / "0123456789abcdef.parquet").write_bytes(b"left by a worker that crashed")
        caplog.clear()
        assert main(["sweep", str(space), "--out", str(copy)]) == 0
        assert "0 computed now" in capsys.readouterr().out
        assert "and written anew" in caplog.text
        assert "left by a worker that is gone" in caplog.text
        assert status(copy, capsys)["finished"] == 8
        assert_rows_identical(rows_of(copy), rows_of(out))
    (copy / "sweep.json").unlink()
    refused = sweep_here(space, copy, "--dtype", "float32")
    assert refused.returncode == 2
    assert "holds a sweep in float64" in refused.stderr


def test_another_dtype_in_the_same_directory_is_refused(swept: tuple[Path, Path]) -> None:
    result = sweep_here(*swept, "--dtype", "float32")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "holds a sweep in float64, and float32 was asked for; use another directory" in result.stderr


@pytest.mark.usefixtures("own_ray")
def test_failing_packs_are_recorded_and_retried_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One cell is impossible, one cannot be saved, one is valid; failures do not stop the others."""
    impossible = 2**31 - 1  # units: the weights of one layer would take 16 exabytes
    space = write_space(tmp_path / "space.py", [], **{**BASE, "width": f"tune.grid_search([{impossible}, 8, 9])"})
    store = Store(tmp_path / "out")
    packs = {cell.width: Pack((cell,)).id for cell in load_space(space).cells}
    blocked = store.checkpoints.states / f"{packs[8]}.state"
    blocked.mkdir(parents=True)
    result = sweep_here(space, store.root, "--no-progress", "--max-failures", "1", "--keep-state")
    assert result.returncode == 1
    assert result.stderr.count("retrying from its checkpoint (1 of 1)") == 2
    assert "1 of 3 cells finished, 0 diverged, 2 failed, 0 missing" in result.stdout
    assert result.stderr.count(" failed: ") == 2
    assert "Traceback" not in result.stderr
    assert "run the same command again to compute what is missing or failed" in result.stderr
    assert status(store.root, capsys)["failed"] == 2
    failures = {failure.pack: failure for failure in store.failures.read()}
    assert set(failures) == {packs[impossible], packs[8]}
    assert "is a directory" in failures[packs[8]].reason
    assert failures[packs[8]].traceback.count("Failure # ") == 2
    assert "in setup" in failures[packs[8]].traceback
    assert "\x1b" not in failures[packs[8]].traceback
    assert failures[packs[8]].attempts == 2

    blocked.rmdir()
    for folder in ("tasks", "cells"):
        store.file(folder, packs[9]).unlink()
    again = sweep_here(space, store.root, "--no-progress", "--max-failures", "0", "--retry-failed")
    assert again.returncode == 1
    assert "3 cells: 0 finished, 2 new, 1 left out\n2 to compute in 2 packs: " in again.stderr
    after = status(store.root, capsys)
    assert (after["finished"], after["failed"], after["missing"]) == (1, 1, 1)
    assert [failure.pack for failure in store.failures.read()] == [packs[impossible]]


@pytest.mark.long  # tests/faults/test_survival.py runs one every day
def test_a_sweep_runs_on_an_existing_cluster(swept: tuple[Path, Path], tmp_path: Path) -> None:
    space, out = swept
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.add_node(num_cpus=1)
        result = sweep(space, tmp_path / "out", "--address", cluster.address)
        assert result.returncode == 0, result.stderr
    finally:
        cluster.shutdown()
    theirs = rows_of(out)
    assert_rows_identical(rows_of(tmp_path / "out"), theirs[theirs["cell"].isin(rows_of(tmp_path / "out")["cell"])])
