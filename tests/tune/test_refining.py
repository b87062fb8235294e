"""Sweeps that choose their cells: complete, bounded by the budget, resumed, extended, in Tuners of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from four_cells import BASE
from ray import tune
from sweeping import compute_here, run_here, write_space

from analysis import score
from analysis.refinement import Budget, Refiner
from lop_sweep.errors import SweepError
from lop_sweep.planning import SearchSpace, load_space
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.store import Store
from lop_sweep.tune import LopTrainable
from lop_sweep.tune.refining import run_refinement
from lop_sweep.tune.searcher import LevelSetSearcher

FIELDS = {"width": 6, "samples": 8, "steps": 3, "tasks": 12, "fresh_baseline": 8}
AXES = {"lr": "tune.grid_search([0.05, 0.2, 0.8, 3.2])", "depth": "tune.grid_search([1, 2, 3])"}


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """Return a search space of 24 cells at 12 points."""
    return write_space(tmp_path / "space.py", [], **{**FIELDS, **AXES, "seed": "tune.grid_search([0, 1])"})


def refine(space: Path, out: Path, *options: str) -> str:
    result = run_here("refine", space, "--out", out, "--no-progress", *options)
    assert result.returncode == 0, result.stderr
    assert [str(finding) for finding in audit(Store(out)).findings] == []
    assert list((out / "running").iterdir()) == []
    return result.stdout


def finished(out: Path) -> set[str]:
    return set(pd.read_parquet(out / "cells")["cell"])


@pytest.mark.usefixtures("own_ray")
def test_a_refinement_spends_its_budget_and_is_a_sweep_like_any_other(space: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert "11 of 24 cells finished" in refine(space, out, "--budget", "11")
    store, cells = Store(out), load_space(space).cells
    first = finished(out)
    assert len(first) == 11 == len(score(out))
    shown = run_here("status", out).stdout
    assert shown.split()[:2] == ["cells", "11"]
    assert (
        "refinement: boundary P(lost) = 0.5; 11 finished of 24 cells to choose from\nlimit: 11 cells; ended; side "
        in shown
    )
    known = json.loads(run_here("status", out, "--json").stdout)["refinement"]
    assert 0 <= known.pop("width") <= 1
    limits = {"cells": 11, "seconds": None, "until": None}
    assert known == {"target": "lost", "level": 0.5, "choice": 24, **limits, "ended": True}

    again = refine(space, out, "--budget", "11")
    assert "0 computed now" in again
    assert "13 of 24 cells finished" in refine(space, out, "--budget", "13")
    assert finished(out) > first

    swept = run_here("sweep", space, "--out", out, "--no-progress")  # what is left
    assert swept.returncode == 0, swept.stderr
    assert "11 computed now" in swept.stdout
    assert "refinement" not in run_here("status", out).stdout, "a sweep is the newest request"
    compute_here(cells, whole, pack=(), keep=False)
    ours, expected = (
        pd.read_parquet(path / "tasks").sort_values(["cell", "task"], ignore_index=True) for path in (out, whole)
    )
    columns = [name for name in ours if name not in ("seconds", "pack")]
    pd.testing.assert_frame_equal(ours[columns], expected[columns], check_exact=True)
    assert len(store.committed()) <= 24


@pytest.mark.usefixtures("own_ray")
def test_a_finished_sweep_is_extended(tmp_path: Path, space: Path) -> None:
    """The cells that are there are known from the start; those of other spaces are left alone."""
    out, cells = tmp_path / "out", load_space(space).cells
    others = [cells[0].replace(width=7)]
    compute_here([*[cell for cell in cells if cell.seed == 0], *others], out, pack=())
    assert "14 of 24 cells finished" in refine(space, out, "--budget", "14")
    assert len(finished(out)) == 15
    seeds = pd.read_parquet(out / "cells").groupby(["lr", "depth"])["seed"].nunique()
    assert (seeds == 2).sum() == 2


@pytest.mark.usefixtures("own_ray")
def test_a_longer_sequence_continues_a_shorter_one(tmp_path: Path, space: Path) -> None:
    out, cells = tmp_path / "out", load_space(space).cells
    compute_here([cell.replace(tasks=6) for cell in cells], out, pack=())
    refine(space, out, "--budget", "3")
    longer = pd.read_parquet(out / "cells").query("tasks == 12")
    assert len(longer) == 3
    assert set(pd.read_parquet(out / "tasks").query("cell in @longer.cell")["task"]) == set(range(1, 13))


@pytest.mark.usefixtures("own_ray")
def test_cells_that_fail_are_left_out(tmp_path: Path) -> None:
    space = write_space(
        tmp_path / "space.py", [], **{**FIELDS, "width": "tune.grid_search([4, 6, 8, 2**31 - 1])", "seed": 0}
    )
    out = tmp_path / "out"
    result = run_here("refine", space, "--out", out, "--budget", "4", "--max-failures", "0", "--no-progress")
    assert result.returncode == 1
    assert result.stderr.count(" failed: ") == 1
    assert "3 of 4 cells finished, 1 failed" in result.stdout
    assert len(finished(out)) == 3


@pytest.mark.usefixtures("own_ray")
def test_the_searcher_works_in_a_tuner_of_ones_own(tmp_path: Path, space: Path) -> None:
    cells, out = load_space(space).cells, tmp_path / "out"
    refiner = Refiner(cells, out, budget=Budget(cells=5))
    tuner = tune.Tuner(
        LopTrainable,
        tune_config=tune.TuneConfig(search_alg=LevelSetSearcher(refiner, out), num_samples=-1, reuse_actors=True),
        run_config=tune.RunConfig(name="own", storage_path=str(tmp_path), verbose=0),
    )
    results = tuner.fit()
    assert not results.errors
    assert len(finished(out)) == 5 == refiner.told


def test_what_is_for_sweeps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="shard and retry_failed are for sweeps"):
        run_refinement(
            SearchSpace(cells=[BASE]), tmp_path, lambda *_: Refiner([BASE], tmp_path, budget=Budget(1)), shard="1/2"
        )
