"""After `kill -9` of the driver, a worker or a node, the same command completes the sweep.

The results equal those of an undisturbed sweep to the last bit. Moments are random, from the seed in the test's name,
or in the middle of every kind of write.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from disturbing import OPTIONS, WRITES, assert_undisturbed, disturb_and_finish, end_process, lose_a_node
from ray.cluster_utils import Cluster
from sweeping import assert_same_results, faults, start_sweep, sweep, wait_until

from analysis import load_tasks
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.store import Store


@pytest.mark.long
def test_packs_may_be_cut_anew_after_a_kill(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    """By the user, by another number of CPUs, or because fewer cells are missing: old checkpoints are still used."""
    space, expected = undisturbed
    out = tmp_path / "out"
    process = start_sweep(space, out, *OPTIONS, "--pack", "5")
    try:
        wait_until(lambda: Store(out).checkpoints.in_progress() if out.exists() else False, process)
    finally:
        end_process(process.pid)
        process.communicate(timeout=60)
    result = sweep(space, out, *OPTIONS, "--pack", "3", "--cpus", "1")
    assert result.returncode == 0, result.stderr
    assert_same_results(out, expected, same_packs=False)
    assert not list((out / "running").iterdir())
    assert not audit(Store(out)).findings


def test_killed_drivers_and_workers_change_nothing(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    space, expected = undisturbed
    disturb_and_finish(space, tmp_path / "out", random.Random(1), ["driver", "worker"])
    assert_undisturbed(tmp_path / "out", expected)


@pytest.mark.long
def test_workers_that_crash_while_writing_change_nothing(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    """Once at each of the twelve points, in one run: after half of the bytes, and around the rename."""
    space, expected = undisturbed
    env = faults(tmp_path / "tickets", WRITES)
    result = sweep(space, tmp_path / "out", *OPTIONS, env=env)
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "tickets").iterdir()) == []
    assert result.stderr.count("retrying from its checkpoint") == len(WRITES)
    again = sweep(space, tmp_path / "out", *OPTIONS)  # removes leftovers of crashed workers
    assert again.returncode == 0
    assert "0 to compute" in again.stderr
    assert_undisturbed(tmp_path / "out", expected)


def test_a_node_that_crashes_changes_nothing(undisturbed: tuple[Path, Path], tmp_path: Path, cluster: Cluster) -> None:
    space, expected = undisturbed
    lose_a_node(cluster, space, tmp_path / "out", random.Random(2).uniform(0, 2))
    assert_undisturbed(tmp_path / "out", expected)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_thirty_killed_drivers_and_workers_change_nothing(
    undisturbed: tuple[Path, Path], tmp_path: Path, seed: int
) -> None:
    space, expected = undisturbed
    rng = random.Random(seed)
    kills = rng.sample(["driver", "driver", "worker"], 3)
    disturb_and_finish(space, tmp_path / "out", rng, kills)
    assert_undisturbed(tmp_path / "out", expected)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6))
def test_six_nodes_that_crash_change_nothing(
    undisturbed: tuple[Path, Path], tmp_path: Path, cluster: Cluster, seed: int
) -> None:
    space, expected = undisturbed
    lose_a_node(cluster, space, tmp_path / "out", random.Random(seed).uniform(0, 4))
    assert_undisturbed(tmp_path / "out", expected)


@pytest.mark.long
@pytest.mark.parametrize(
    "point", [*WRITES, "driver.half", "driver.written", "driver.renamed", "out.half", "out.written"]
)
def test_a_command_that_crashes_while_writing_is_run_again(
    undisturbed: tuple[Path, Path], tmp_path: Path, point: str
) -> None:
    """Drivers crash as well, while they write their lock and sweep.json."""
    space, expected = undisturbed
    env = faults(tmp_path / "tickets", (point,))
    first: subprocess.CompletedProcess[str] = sweep(space, tmp_path / "out", *OPTIONS, env=env)
    assert first.returncode in (0, -signal.SIGKILL)
    assert list((tmp_path / "tickets").iterdir()) == []
    assert sweep(space, tmp_path / "out", *OPTIONS).returncode == 0
    assert_undisturbed(tmp_path / "out", expected)


@pytest.mark.long
def test_merging_auditing_and_reading_beside_a_running_sweep(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    space, expected = undisturbed
    out = tmp_path / "out"
    process = start_sweep(space, out, *OPTIONS)
    store = Store(out)
    wait_until(store.committed, process)
    merged, unfinished = 0, 0
    while process.poll() is None:
        compact(store)
        merged += len(list(store.tasks.glob("merged-*")))
        assert [str(finding) for finding in audit(store).findings] == []
        rows = load_tasks(out, ["cell", "task"], unfinished=True)
        assert not rows.duplicated(["cell", "task"]).any()
        unfinished += (~rows["finished"]).sum()
        time.sleep(0.2)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert merged > 0
    assert unfinished > 0
    compact(store)
    assert len(list(store.tasks.iterdir())) == 1
    assert_undisturbed(out, expected)


def test_a_worker_that_gets_sigterm_saves_first(tmp_path: Path) -> None:
    """As on a preempted machine, so that the work since the last checkpoint is not lost."""
    script = """
import sys, time
from lop_sweep.tune.trainable import LopTrainable
run = {"tasks_per_report": 100000, "store": sys.argv[1]}
trainable = LopTrainable({"width": 12, "depth": 2, "tasks": 100000, "run": run})
print("begins", flush=True)
trainable.train()
"""
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    time.sleep(1)
    process.terminate()
    assert process.wait(timeout=30) == -signal.SIGTERM
    (state,) = Store(tmp_path / "out").checkpoints.so_far()
    assert state.tasks_done > 5
