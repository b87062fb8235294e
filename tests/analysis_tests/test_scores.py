"""Scores: hand-made sequences with known answers, the rule's edges, and an independent calculation on a real store."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.load import load_cells, load_tasks
from analysis.scores import Rule, score_cells
from lop_sweep.config import CellConfig
from lop_sweep.errors import AnalysisError


def score(final_ce: list[float], fresh: float, rule: Rule | None = None, **cell: object) -> pd.Series:
    """The scores of one cell with these final losses and this mean of the fresh baseline."""
    tasks = len(final_ce)
    config = CellConfig(tasks=tasks, depth=2).model_dump()
    cells = pd.DataFrame([{**config, "cell": "a", "status": "finished", "fresh_mean_ce": fresh, **cell}])
    rows = pd.DataFrame({"cell": "a", "task": range(1, tasks + 1), "final_ce": final_ce})
    for name in ("min_ce", "saturation", "grad_norm"):
        rows[name] = np.arange(tasks, dtype=float)
    for name in ("effective_rank", "duplicate_fraction"):
        rows[name] = [np.array([task, task + 1.0]) for task in range(tasks)]
    return score_cells(cells, rows, rule).iloc[0]


def test_excess_and_ratio_of_the_last_quarter() -> None:
    scores = score([9, 9, 9, 9, 9, 9, 0.3, 0.5], fresh=0.2)
    assert scores["late_tasks"] == 2
    assert scores["late_final_ce"] == pytest.approx(0.4)
    assert scores["excess"] == pytest.approx(0.2)
    assert scores["ratio"] == pytest.approx(2)
    assert scores["log_ratio"] == pytest.approx(math.log10(2))
    assert scores["late_saturation"] == 6.5
    assert scores["late_effective_rank"] == 7.0  # mean over tasks 6, 7 and layers +0, +1
    assert (scores["phase"], scores["lost"]) == ("lost", 1.0)


@pytest.mark.parametrize(
    ("tasks", "last", "window"), [(1, None, 1), (2, None, 1), (100, None, 25), (8, 3, 3), (8, 50, 8)]
)
def test_how_many_tasks_are_late(tasks: int, last: int | None, window: int) -> None:
    assert score([0.1] * tasks, 0.1, Rule(last=last))["late_tasks"] == window


@pytest.mark.parametrize(
    ("late", "fresh", "phase"),
    [
        (0.1, 0.1, "plastic"),
        (0.01, 0.0001, "plastic"),  # a hundredfold of nothing
        (0.0, 0.3, "plastic"),
        (0.55, 0.4, "plastic"),  # beyond the margin, not the factor
        (0.65, 0.4, "lost"),
        (0.12, 0.01, "lost"),
        (0.11, 0.0, "lost"),  # the fresh networks are perfect: the ratio is infinite
        (5.0, 0.7, "untrainable"),
        (0.1, math.log(2), "untrainable"),
        (0.1, math.nan, "untrainable"),  # a fresh network diverged
    ],
)
def test_the_rule(late: float, fresh: float, phase: str) -> None:
    scores = score([late] * 4, fresh)
    assert scores["phase"] == phase
    expected = {"plastic": 0.0, "lost": 1.0}.get(phase, math.nan)
    assert scores["lost"] == pytest.approx(expected, nan_ok=True)


def test_the_rules_thresholds_are_parameters() -> None:
    assert score([0.5] * 4, 0.4, Rule(margin=0.05, factor=1.2))["phase"] == "lost"
    assert score([0.5] * 4, 0.4, Rule(chance=0.3))["phase"] == "untrainable"
    for bad in ({"last": 0}, {"margin": -1}, {"factor": math.nan}, {"chance": math.inf}):
        with pytest.raises(AnalysisError, match=next(iter(bad))):
            Rule(**bad)


def test_diverged_cells_and_cells_without_baseline_are_undefined() -> None:
    diverged = score([0.1, 0.1, 0.1, math.nan], 0.1, status="diverged")
    assert diverged["phase"] == "diverged"
    assert np.isnan([diverged[name] for name in ("late_final_ce", "excess", "ratio", "lost", "late_saturation")]).all()
    without = score([0.1] * 4, math.nan, fresh_baseline=0)
    assert without["phase"] == "no baseline"
    assert math.isnan(without["lost"])
    assert without["late_final_ce"] == pytest.approx(0.1)


def test_scores_of_a_real_store_equal_an_independent_calculation(store_dir: Path) -> None:
    """From the raw folders with plain pandas, one cell after the other."""
    scored = score_cells(load_cells(store_dir), load_tasks(store_dir)).set_index("cell")
    tasks, cells = pd.read_parquet(store_dir / "tasks"), pd.read_parquet(store_dir / "cells")
    assert len(scored) == len(cells) == 24
    for cell in cells.itertuples():
        rows = tasks[tasks["cell"] == cell.cell].sort_values("task")
        ours = scored.loc[cell.cell]
        if cell.status == "diverged":
            assert math.isnan(ours["late_final_ce"])
            continue
        late = rows.tail(2)
        assert ours["late_final_ce"] == pytest.approx(late["final_ce"].mean(), rel=1e-12)
        assert ours["excess"] == pytest.approx(late["final_ce"].mean() - cell.fresh_ce.mean(), rel=1e-9, abs=1e-12)
        ranks = np.concatenate(late["effective_rank"].to_list())
        assert ours["late_effective_rank"] == pytest.approx(ranks.mean(), rel=1e-12)


def test_no_cells_give_no_scores(store_dir: Path) -> None:
    assert score_cells(load_cells(store_dir).iloc[:0], load_tasks(store_dir).iloc[:0]).empty


def test_the_rule_says_itself() -> None:
    assert str(Rule(last=7, margin=0.2, factor=3)) == (
        "lost: CE of the last 7 tasks exceeds the fresh networks' by > 0.2 nats and 3 times"
    )
