"""A lost head node or local Ray is reported within seconds, with what is saved and what to run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from sweeping import Start, assert_same_results, run_cli, sweep, wait_until

from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.store import Store

RAY_GIVES_UP_SECONDS = 60.0
"""Time after which Ray itself ends its processes."""


@pytest.mark.long
def test_a_lost_head_node_is_reported_in_seconds(
    undisturbed: tuple[Path, Path], tmp_path: Path, cluster: Cluster, started: Start
) -> None:
    space, expected = undisturbed
    out = tmp_path / "out"
    cluster.add_node(num_cpus=1)
    process = started(space, out, "--address", cluster.address, "--no-progress")
    wait_until(lambda: Store(out).committed() if out.exists() else [], process)
    for name in ("gcs_server", "raylet"):
        os.kill(cluster.head_node.all_processes[name][0].process.pid, signal.SIGKILL)
    killed = time.monotonic()
    stdout, stderr = process.communicate(timeout=RAY_GIVES_UP_SECONDS)
    took = time.monotonic() - killed
    print(f"reported after {took:.1f} s")
    assert process.returncode == 1, stderr
    assert took < RAY_GIVES_UP_SECONDS / 2
    assert "of 16 cells finished" in stdout
    assert f"gave up: Ray is lost: the Ray cluster at {cluster.address} no longer answers" in stderr
    assert "run the same command again to compute what is missing" in stderr
    assert "Traceback" not in stderr + stdout
    assert "not running: process" in run_cli("status", out).stdout
    again = sweep(space, out, "--no-progress")
    assert again.returncode == 0, again.stderr
    assert_same_results(out, expected)
    assert [str(finding) for finding in audit(Store(out)).findings] == []


@pytest.mark.long
def test_a_lost_local_ray_is_reported(undisturbed: tuple[Path, Path], tmp_path: Path, started: Start) -> None:
    """Its processes are killed one by one, as when memory runs out."""
    import psutil

    space, expected = undisturbed
    out = tmp_path / "out"
    process = started(space, out, "--no-progress")
    wait_until(lambda: Store(out).committed() if out.exists() else [], process)
    for child in psutil.Process(process.pid).children(recursive=True):
        if child.name() in ("gcs_server", "raylet"):
            child.kill()
    stdout, stderr = process.communicate(timeout=RAY_GIVES_UP_SECONDS)
    assert process.returncode == 1, stderr
    assert "of 16 cells finished" in stdout
    assert "gave up: Ray is lost: the local Ray no longer answers" in stderr
    assert "run the same command again" in stderr
    assert "not running: process" in run_cli("status", out).stdout
    again = sweep(space, out, "--no-progress")
    assert again.returncode == 0, again.stderr
    assert_same_results(out, expected)
