"""Compare the engine's distribution over seeds with the script's, where the dynamics are chaotic.

The default configuration lies near the edge of stability: rounding differences grow until two correct implementations
share only the distribution. For each seed both have the same tasks and initial weights. If both draw from the same
distribution, the script's and the engine's value of a seed are therefore exchangeable, and their difference is
symmetric about zero: the Wilcoxon signed-rank test is exact.

There is one test for each of 14 columns: the mean over tasks 51 to 100 of each metric and layer, with logarithms for
the two losses, whose tails are heavy. Its level is 0.01 / 14, so that a correct implementation fails on at most 1% of
platforms (Bonferroni). On one platform the result is always the same.

The fresh baseline is not chaotic within its 40 steps and is compared exactly. It agrees only if every task and network
of the sequence was drawn from the right place in its random stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from golden_sets import GOLDEN
from scipy.stats import wilcoxon

from lop_sweep.planning.space import SearchSpace, expand_space
from lop_sweep.storage.store import Store
from lop_sweep.tune.driver import run_sweep

FAMILY_ERROR = 0.01
SEEDS = range(16)


def sweep_seeds(out: Path, seeds: Sequence[int] = SEEDS, **changes: object) -> tuple[pd.DataFrame, pd.Series]:
    """Return the statistics of `default_seeds.csv` from a sweep, one row per seed, and the fresh baseline."""
    cells = expand_space({"seed": {"grid_search": list(seeds)}, **changes})
    outcome = run_sweep(SearchSpace(cells=cells, name="seeds"), out, progress=False, tasks_per_report=10)
    assert outcome.status.complete
    tasks = pd.read_parquet(out / "tasks", filters=[("task", ">", 50)]).groupby("seed")
    scalars = {"min_CE": "min_ce", "final_CE": "final_ce", "sat": "saturation", "grad_norm": "grad_norm"}
    frame = pd.DataFrame({name: tasks[ours].mean() for name, ours in scalars.items()})
    for name, ours in (("eff_rank", "effective_rank"), ("dup_frac", "duplicate_fraction")):
        layers = np.stack([np.stack(column).mean(axis=0) for _, column in tasks[ours]])
        frame[[f"{name}_L{layer}" for layer in range(layers.shape[1])]] = layers
    return frame, Store(out).read_cells().to_pandas().set_index("seed")["fresh_mean_ce"].sort_index()


def smallest_p(ours: pd.DataFrame, script: pd.DataFrame) -> tuple[float, str]:
    """Return the smallest p value of all columns, and its column."""
    columns = list(ours.columns)
    assert len(columns) == 14
    ps = []
    for column in columns:
        pair = [frame[column].to_numpy() for frame in (ours, script)]
        a, b = np.log(pair) if column in ("min_CE", "final_CE") else pair
        ps.append((float(wilcoxon(a - b).pvalue), column))
    return min(ps)


@pytest.fixture
def script() -> pd.DataFrame:
    frame = pd.read_csv(GOLDEN / "default_seeds.csv").set_index("seed")
    assert list(frame.index) == list(SEEDS)
    return frame


@pytest.mark.long
def test_the_fresh_baseline_after_a_hundred_tasks_is_the_scripts(script: pd.DataFrame, tmp_path: Path) -> None:
    _, fresh = sweep_seeds(tmp_path / "out", (3, 12))
    np.testing.assert_allclose(fresh, script["fresh_mean_final_CE"][[3, 12]], rtol=1e-9)


@pytest.mark.long
def test_the_distribution_over_seeds_is_the_scripts(script: pd.DataFrame, tmp_path: Path) -> None:
    ours, fresh = sweep_seeds(tmp_path / "out")
    np.testing.assert_allclose(fresh, script["fresh_mean_final_CE"], rtol=1e-9)
    p, column = smallest_p(ours, script)
    assert p > FAMILY_ERROR / 14, f"{column}: p = {p}"


@pytest.mark.long
def test_a_wrong_learning_rate_is_detected(script: pd.DataFrame, tmp_path: Path) -> None:
    ours, fresh = sweep_seeds(tmp_path / "out", lr=0.5)
    assert not np.allclose(fresh, script["fresh_mean_final_CE"], rtol=0.01)
    p, _ = smallest_p(ours, script)
    assert p < FAMILY_ERROR / 14
