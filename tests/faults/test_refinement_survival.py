"""After `kill -9` in mid-refinement, the same command goes on: nothing is computed twice, nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from disturbing import end_process
from sweeping import COMMAND, at_work, compute_here, wait_until, write_space

from analysis.refinement import Budget, Refiner
from lop_sweep.planning import load_space
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.store import Store

BUDGET = 48
OPTIONS = ("--budget", str(BUDGET), "--checkpoint-every", "0.2", "--max-failures", "40", "--no-progress", "--cpus", "2")


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """Return a space of 192 cells that take a second each."""
    return write_space(
        tmp_path / "space.py", [], width=24, samples=48, steps=40, tasks=300, fresh_baseline=10, depth=3,
        lr="tune.grid_search([round(0.05 * 1.3**i, 4) for i in range(16)])",
        delta="tune.grid_search([0.8, 1.6, 2.4])", seed="tune.grid_search([0, 1, 2, 3])",
    )  # fmt: skip


def start(space: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "refine", str(space), "--out", str(out), *OPTIONS],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.long
def test_twenty_kills_change_no_number_and_compute_nothing_twice(space: Path, tmp_path: Path) -> None:
    out, whole, rng = tmp_path / "out", tmp_path / "whole", random.Random(0)
    kills = 0
    while kills < 20:
        process = start(space, out)
        try:
            wait_until(lambda process=process: process.poll() is not None or at_work(out))
            time.sleep(rng.uniform(0, 2))
            if process.poll() is not None:  # the budget is spent
                break
            workers = at_work(out)
            end_process(rng.choice(workers) if workers and rng.random() < 0.5 else process.pid)
            kills += 1
            time.sleep(1)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    last = start(space, out)
    _, stderr = last.communicate(timeout=600)
    assert last.returncode == 0, stderr
    assert kills >= 10

    assert [str(finding) for finding in audit(Store(out)).findings] == []
    cells, tasks = pd.read_parquet(out / "cells"), pd.read_parquet(out / "tasks")
    assert len(cells) == BUDGET == cells["cell"].nunique()
    assert not tasks.duplicated(["cell", "task"]).any()

    known = {cell.id: cell for cell in load_space(space).cells}
    some = rng.sample(sorted(cells["cell"]), 6)
    compute_here([known[cell] for cell in some], whole, pack=(), keep=False)
    expected = pd.read_parquet(whole / "tasks").sort_values(["cell", "task"], ignore_index=True)
    ours = tasks[tasks["cell"].isin(some)].sort_values(["cell", "task"], ignore_index=True)
    columns = [name for name in ours if name not in ("seconds", "pack")]
    pd.testing.assert_frame_equal(ours[columns], expected[columns], check_exact=True)

    undisturbed = start(space, tmp_path / "undisturbed")
    _, stderr = undisturbed.communicate(timeout=600)
    assert undisturbed.returncode == 0, stderr
    widths = [
        Refiner(load_space(space).cells, path, budget=Budget(1)).width for path in (out, tmp_path / "undisturbed")
    ]
    assert widths[0] <= widths[1] + 0.1, widths
