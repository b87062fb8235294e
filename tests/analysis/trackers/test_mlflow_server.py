"""A real MLflow server on a SQLite database, from an environment of its own: `.ci/mlflow` makes it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow_checks import check_runs, log, runs_of
from sweeping import run_cli
from tracked_sweeps import grid, tracked_sweep

pytestmark = pytest.mark.long  # test_mlflow.py does the same without a server every day

ROOT = Path(__file__).parents[3]
MLFLOW = Path(os.environ.get("LOP_MLFLOW", ROOT / ".venv-mlflow" / "bin" / "mlflow"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Run a server until the test ends; its log is `server.log`."""
    assert MLFLOW.exists(), f"{MLFLOW} does not exist; run .ci/mlflow, or set LOP_MLFLOW to another mlflow"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(MLFLOW), "server", "--backend-store-uri", f"sqlite:///{tmp_path}/runs.db", "--artifacts-destination",
        str(tmp_path / "artifacts"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (tmp_path / "server.log").open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=tmp_path, start_new_session=True,
            env={**environment, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(address)


def requests(folder: Path) -> list[str]:
    """Return the requests that the server has logged, such as "runs/log-batch"."""
    return re.findall(r'"POST /api/2.0/mlflow/([\w/-]+)', (folder / "server.log").read_text())


def test_each_cell_is_one_run_in_few_requests(tmp_path: Path, server: str) -> None:
    directory = tracked_sweep(tmp_path / "sweep")
    log(directory, server)
    assert len([name for name in requests(tmp_path) if name != "experiments/create"]) == 2 + 3 * 4
    check_runs(MlflowClient(server), directory)
    before = len(requests(tmp_path))
    log(directory, server)
    assert requests(tmp_path)[before:].count("runs/create") == requests(tmp_path)[before:].count("runs/log-batch") == 0
    check_runs(MlflowClient(server), directory)
    tracked_sweep(directory, seeds=3)
    log(directory, server)
    check_runs(MlflowClient(server), directory, versions=2)


def test_a_run_that_was_not_completed_gets_no_point_twice(tmp_path: Path, server: str) -> None:
    directory, client = tracked_sweep(tmp_path / "sweep"), MlflowClient(server)
    log(directory, server)
    client.delete_tag(runs_of(client, directory)[0].info.run_id, "lop_sweep.state")
    log(directory, server)
    check_runs(client, directory)


def test_the_command_logs_and_hides_credentials(tmp_path: Path, server: str) -> None:
    directory = tracked_sweep(tmp_path / "sweep")
    uri = server.replace("://", "://someone:hidden@")
    for _ in range(2):
        result = run_cli("log", directory, "--mlflow", uri)
        assert result.returncode == 0, result.stderr
        assert result.stdout == "MLflow: 4 of 4 finished cells logged\n"
        assert "hidden" not in result.stdout + result.stderr
    check_runs(MlflowClient(server), directory)
    assert len(grid(2)) == len(runs_of(MlflowClient(server), directory))
