"""Nodes of a cluster are preempted every few seconds while others join: the sweep finishes, with little done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from sweeping import Start, assert_same_results, at_work, sweep, write_space

from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.store import Store

NODES = 3
PAUSE_SECONDS = 6.0
"""Between two preemptions; a node that joins needs some seconds before it computes anything."""
TASKS = 600
MAX_SECONDS = 900.0
MIN_KILLED = 5
MAX_SHARE_TWICE = 0.5


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    """Return a space, the directory of an undisturbed sweep that takes minutes, and its number of tasks."""
    folder = tmp_path_factory.mktemp("slow")
    space = write_space(
        folder / "space.py", ["seed"],
        width=12, depth=2, samples=16, steps=40, tasks=TASKS, fresh_baseline=8,
        lr="tune.grid_search([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])", seed="tune.grid_search([1, 2])",
    )  # fmt: skip
    result = sweep(space, folder / "out", "--no-progress")
    assert result.returncode == 0, result.stderr
    return space, folder / "out", 16 * TASKS


def storm(cluster: Cluster, store: Store, process: subprocess.Popen[str]) -> int:
    """Kill a node every few seconds until the process ends, the oldest first, and add another; return how many.

    On a slow machine it waits longer, until a trial runs: else no node would live long enough to compute anything.
    """
    killed = 0
    nodes = [cluster.add_node(num_cpus=1, wait=False) for _ in range(NODES)]
    deadline = time.monotonic() + MAX_SECONDS
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError("the sweep does not end")
        pause = time.monotonic() + PAUSE_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if time.monotonic() > pause and at_work(store.root):
                break
            time.sleep(0.1)
        nodes.append(cluster.add_node(num_cpus=1, wait=False))
        os.kill(nodes[0].all_processes["raylet"][0].process.pid, signal.SIGKILL)
        cluster.remove_node(nodes.pop(0), allow_graceful=False)
        killed += 1
    for node in nodes:
        cluster.remove_node(node, allow_graceful=False)
    return killed


@pytest.mark.long
def test_a_storm_of_preemptions_changes_nothing(
    started: Start, slow: tuple[Path, Path, int], tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, expected, tasks = slow
    counter, store = tmp_path / "counter", Store(tmp_path / "out")
    store.create()
    counting = str(Path(__file__).parents[1] / "helpers" / "counting_tasks")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([counting, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TASKS_COUNTED", str(counter))
    begin = time.monotonic()
    process = started(
        space, store.root, "--address", cluster.address, "--cpus-expected", str(NODES), "--no-progress",
        "--checkpoint-every", "1", "--max-failures", "1000",
    )  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        messages = pool.submit(process.communicate)  # Ray prints much about each lost node: no pipe must fill up
        killed = storm(cluster, store, process)
        _, stderr = messages.result()
    assert process.returncode == 0, stderr
    seconds, done = time.monotonic() - begin, counter.stat().st_size
    print(f"{killed} nodes lost in {seconds:.0f} s; {done} tasks computed for {tasks}: {done / tasks - 1:.1%} twice")
    assert killed >= MIN_KILLED
    assert "retrying from its checkpoint" in stderr
    assert_same_results(store.root, expected)
    assert [str(finding) for finding in audit(store).findings] == []
    assert tasks <= done < (1 + MAX_SHARE_TWICE) * tasks
