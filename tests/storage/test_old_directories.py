"""A sweep directory that an early build of 0.1.0 wrote stays readable, extendable, mergeable and auditable."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from golden_sets import GOLDEN
from sweeping import compute_here, raw, run_cli, sweep

from analysis.data.load import load_cells, load_tasks
from lop_sweep import load_space
from lop_sweep.config import FIRST_RELEASE
from lop_sweep.metrics import METRICS

OLD = GOLDEN / "sweep_directory"
SPACE = """from ray import tune
param_space = {
    "depth": 2, "width": 8, "samples": 12, "steps": 5, "fresh_baseline": 2,
    "lr": tune.grid_search([0.05, 0.1]), "seed": tune.grid_search([0, 1, 2]), "tasks": tune.grid_search([4, 7]),
}
"""
"""The old directory holds seeds 0 and 1 at 4 tasks: this adds a seed, and three tasks."""


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The old directory after an extension, and the same cells computed from scratch."""
    folder = tmp_path_factory.mktemp("old")
    (folder / "space.py").write_text(SPACE)
    shutil.copytree(OLD, folder / "extended")
    result = sweep(folder / "space.py", folder / "extended", "--no-progress")
    assert result.returncode == 0, result.stderr
    assert "space: 12 cells: 4 finished, 4 continue from task 4, 4 new\n" in result.stderr
    return folder / "extended", compute_here(load_space(folder / "space.py").cells, folder / "scratch").root


def test_an_extended_directory_equals_one_from_scratch(extended: tuple[Path, Path]) -> None:
    """To the bit where the same BLAS kernels computed both, else to 1e-9: the configuration is stable."""
    ours, scratch = (raw(path, "cells") for path in extended)
    assert ours["cell"].tolist() == scratch["cell"].tolist()
    same_kernels = set(ours["blas"]) == set(scratch["blas"])
    rtol = 0 if same_kernels else 1e-9
    for load, keys in ((load_tasks, ["cell", "task"]), (load_cells, ["cell"])):
        old, new = (load(path).sort_values(keys, ignore_index=True) for path in extended)
        assert list(old.columns) == list(new.columns)
        for name in new.columns.intersection([*METRICS, "fresh_mean_ce", "fresh_ce"]):
            found, expected = (np.stack(frame[name].to_list()) for frame in (old, new))
            measured = np.isfinite(found)
            assert measured.all() or (name in METRICS and METRICS[name].since != FIRST_RELEASE)
            np.testing.assert_allclose(found[measured], expected[measured], rtol=rtol, atol=0, err_msg=name)


def test_an_extended_directory_is_audited_and_merged(extended: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(extended[0], tmp_path / "out")
    before = raw(tmp_path / "out", "tasks")
    for command in ("audit", "compact", "audit"):
        result = run_cli(command, tmp_path / "out")
        assert result.returncode == 0, result.stdout + result.stderr
    after = raw(tmp_path / "out", "tasks")  # with the columns of all files: what was not measured is NaN
    pd.testing.assert_frame_equal(after[before.columns], before, check_exact=True)
