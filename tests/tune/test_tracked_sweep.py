"""`lop-sweep sweep` and `lop-sweep log` with trackers: results and exit status are those of a sweep without."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from sweeping import assert_same_results, compute_here, run_cli, sweep, write_space

from lop_sweep import load_space
from lop_sweep.storage import Store

FIELDS = {"width": 6, "depth": 1, "samples": 8, "steps": 4, "tasks": 8, "fresh_baseline": 2,
          "lr": "tune.grid_search([0.1, 0.4])", "seed": "tune.grid_search([0, 1])"}  # fmt: skip


def test_a_tracker_that_is_down_does_not_change_a_sweep(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    space = write_space(tmp_path / "space.py", ["seed"], **FIELDS)
    down = f"http://someone:hidden@127.0.0.1:{port}"
    environment = {**os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    tracked = sweep(
        space, tmp_path / "tracked", "--cpus", "1", "--no-progress", "--tensorboard", "--mlflow", down, env=environment
    )
    assert tracked.returncode == 0, tracked.stderr
    plain = compute_here(load_space(space).cells, tmp_path / "plain")
    assert_same_results(tmp_path / "tracked", plain.root)
    lines = [line for line in tracked.stderr.splitlines() if "MLflow" in line]
    assert len(lines) == 2
    assert "the sweep goes on" in lines[0]
    assert lines[1] == (
        f"MLflow: 4 of 4 finished cells are not logged; "
        f"lop-sweep log {tmp_path}/tracked --mlflow http://127.0.0.1:{port} catches up"
    )
    assert "TensorBoard: 4 of 4 finished cells logged" in tracked.stderr
    assert len(list((tmp_path / "tracked" / "tensorboard").iterdir())) == 4
    assert run_cli("audit", tmp_path / "tracked").returncode == 0

    files = [path for path in (tmp_path / "tracked").rglob("*") if path.is_file()]
    assert not [path for path in files if b"hidden" in path.read_bytes()]
    assert "hidden" not in tracked.stdout + tracked.stderr

    late = run_cli("log", tmp_path / "tracked", "--mlflow", down, "--tensorboard", env=environment)
    assert late.returncode == 1
    assert late.stdout.splitlines() == [
        "TensorBoard: 4 of 4 finished cells logged", "MLflow: 0 of 4 finished cells logged"
    ]  # fmt: skip
    assert "run the same command again to log the rest" in late.stderr
    assert "hidden" not in late.stdout + late.stderr


def test_a_missing_package_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    space = write_space(tmp_path / "space.py", [], **FIELDS)
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'wandb' else find(name, *rest)\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    result = sweep(space, tmp_path / "out", "--wandb", "project", env={**os.environ, "PYTHONPATH": path})
    assert result.returncode == 2
    assert result.stderr == ("lop-sweep: --wandb needs wandb, which is not installed: pip install 'lop-sweep[wandb]'\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to log to: give --tensorboard, --mlflow URI or --wandb PROJECT"),
        (["--mlflow", ""], "mlflow = '': give a tracking URI"),
        (["--wandb", ""], "wandb = '': give a project"),
        (["--tensorboard"], "is not a directory; give the --out directory of a sweep"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = run_cli("log", tmp_path / "none", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert Store(tmp_path / "none").root.exists() is False


def test_parts_of_a_sweep_do_not_log(tmp_path: Path) -> None:
    space = write_space(tmp_path / "space.py", [], **FIELDS)
    result = sweep(space, tmp_path / "out", "--shard", "1/2", "--tensorboard")
    assert result.returncode == 2
    assert "shard = '1/2': parts of a sweep do not log to trackers" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
