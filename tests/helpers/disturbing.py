"""Kill drivers, workers and nodes of a sweep, in a directory or a bucket, and compare what is left in the end."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from ray.cluster_utils import Cluster
from sweeping import assert_same_results, at_work, running_sweep, sweep, wait_until

from lop_sweep.storage.filesystem import filesystem_of
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.store import Store

OPTIONS = ("--checkpoint-every", "0.2", "--max-failures", "40", "--no-progress")

MOMENTS = ("half", "written", "renamed")
WRITES = tuple(f"{place}.{moment}" for place in ("running", "states", "tasks", "cells") for moment in MOMENTS)
"""The fault points of all files that a worker writes."""


def disturb_and_finish(
    space: Path, out: Path, rng: random.Random, kills: list[str], env: dict[str, str] | None = None
) -> None:
    """Run the command once per kill of the driver or a worker at a random moment, then let it finish."""
    for kill in kills:
        disturb(space, out, rng, kill, env)
    result = sweep(space, out, *OPTIONS, env=env)
    assert result.returncode == 0, result.stderr


def disturb(space: Path, out: Path, rng: random.Random, kill: str, env: dict[str, str] | None) -> None:
    with running_sweep(space, out, *OPTIONS, env=env) as process:
        # A worker may be killed while a pack is loaded, trained, saved or committed; a driver at any time.
        wait_until(lambda: process.poll() is not None or at_work(out))
        time.sleep(rng.uniform(0, 4))
        workers = at_work(out)
        if kill == "driver":
            end_process(process.pid)
            process.communicate(timeout=60)
        else:
            if workers:  # between two packs there is none for a moment
                end_process(rng.choice(workers))
            _, stderr = process.communicate(timeout=200)
            assert process.returncode == 0, stderr


def end_process(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has just ended by itself
        return


def assert_undisturbed(out: Path, undisturbed: Path) -> None:
    assert_same_results(out, undisturbed)
    assert [str(finding) for finding in audit(Store(out)).findings] == []
    assert leftovers(out) == []


def leftovers(out: Path) -> list[str]:
    """Return the names of checkpoints and heartbeats that are still there."""
    return filesystem_of(out).list_names(out / "running")


def lose_a_node(cluster: Cluster, space: Path, out: Path, delay: float) -> None:
    """Run the sweep on two nodes and kill one of them while it runs."""
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    try:
        with running_sweep(space, out, *OPTIONS, "--address", cluster.address) as process:
            wait_until(lambda: process.poll() is not None or len(at_work(out)) == 2)
            time.sleep(delay)
            end_process(nodes[1].all_processes["raylet"][0].process.pid)
            _, stderr = process.communicate(timeout=200)
            assert process.returncode == 0, stderr
    finally:
        for node in nodes:
            cluster.remove_node(node, allow_graceful=False)
