"""A sweep on a cluster that grows when it begins, loses nodes while it runs, and shrinks when it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray
from autoscaling import autoscaling_cluster
from sweeping import Start, assert_same_results, at_work, sweep, wait_until, write_space

from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.store import Store

OPTIONS = ("--checkpoint-every", "0.2", "--no-progress", "--max-failures", "20")


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[str]:
    """Provide the address of a cluster without a CPU that may grow to two nodes; this process is connected to it."""
    with autoscaling_cluster(tmp_path, max_workers=2) as address:
        ray.init(address=address, log_to_driver=False)
        try:
            yield address
        finally:
            ray.shutdown()


def workers() -> set[str]:
    """Return the ids of the nodes that have a CPU."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}


def raylet_of(pid: int) -> int:
    return next(parent.pid for parent in psutil.Process(pid).parents() if "raylet" in parent.name())


@pytest.mark.long
def test_a_cluster_grows_for_a_sweep_and_shrinks_after_it(started: Start, growing: str, tmp_path: Path) -> None:
    """The sweep takes longer than a node that is lost takes to be replaced, also on a fast machine."""
    space, expected = write_space(
        tmp_path / "space.py", ["seed"],
        width=12, depth=2, samples=16, steps=40, tasks=1000, fresh_baseline=8,
        lr="tune.grid_search([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.7e308])", seed="tune.grid_search([1, 5])",
    ), tmp_path / "undisturbed"  # fmt: skip
    assert sweep(space, expected, "--no-progress").returncode == 0
    store = Store(tmp_path / "out")
    refused = sweep(space, store.root, *OPTIONS, "--address", growing)
    assert refused.returncode == 2
    assert "the cluster has no node with a CPU" in refused.stderr
    assert "--cpus-expected N" in refused.stderr
    assert workers() == set()
    process = started(space, store.root, *OPTIONS, "--address", growing, "--cpus-expected", "2")
    wait_until(lambda: len(workers()) == 2 and len(at_work(store.root)) == 2, process)
    first = workers()
    assert len(first) == 2
    os.kill(raylet_of(at_work(store.root)[0]), signal.SIGKILL)
    wait_until(lambda: workers() != first, process)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert "on 2 CPUs" in stderr
    assert_same_results(store.root, expected)
    assert [str(finding) for finding in audit(store).findings] == []
    wait_until(lambda: not workers())
