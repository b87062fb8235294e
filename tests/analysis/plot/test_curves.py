"""Curves: medians, ranges and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.data.load import load_cells, load_tasks, select
from analysis.plot.curves import plot_curves
from lop_sweep.config import CellConfig
from lop_sweep.errors import AnalysisError
from lop_sweep.metrics import LAYERED, measured_with


def test_a_curve_is_the_median_and_its_band_the_range_over_seeds(store_dir: Path, tmp_path: Path) -> None:
    cells = select(load_cells(store_dir), {"depth": [2], "lr": [0.2], "delta": [2.0]})
    tasks = load_tasks(store_dir)
    figure = plot_curves(cells, tasks, raw=True)
    figure.savefig(tmp_path / "curves.png")
    wide = tasks[tasks["cell"].isin(cells["cell"])].pivot(index="task", columns="cell", values="end_ce")
    final = figure.axes[list(measured_with()).index("end_ce")]
    line, baseline = final.get_lines()
    np.testing.assert_allclose(line.get_ydata(), wide.median(axis=1))
    np.testing.assert_allclose(baseline.get_ydata(), cells["fresh_mean_ce"].mean())
    fresh = np.concatenate(cells["fresh_ce"].to_list())
    most = final.patches[0].get_extents().transformed(final.transData.inverted())
    np.testing.assert_allclose([most.y0, most.y1], np.quantile(fresh, [0.1, 0.9]))
    band = final.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == wide.to_numpy().min()
    assert band.max() == wide.to_numpy().max()
    ranks = tasks[tasks["cell"].isin(cells["cell"])].assign(mean=lambda f: f["effective_rank"].map(np.mean))
    np.testing.assert_allclose(figure.axes[4].get_lines()[0].get_ydata(), ranks.groupby("task")["mean"].median())
    assert "median and range over 2 seeds" in figure.get_suptitle()


def test_the_legend_names_configurations(store_dir: Path) -> None:
    cells = select(load_cells(store_dir), {"delta": [2.0], "lr": [0.05, 0.2]})
    figure = plot_curves(cells, load_tasks(store_dir))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["depth = 1, lr = 0.05", "depth = 1, lr = 0.2", "depth = 2, lr = 0.05", "depth = 2, lr = 0.2"]


def test_too_many_and_no_configurations_are_refused(store_dir: Path) -> None:
    cells, tasks = load_cells(store_dir), load_tasks(store_dir)
    with pytest.raises(AnalysisError, match="12 configurations, at most 8 are drawn: fix more of depth, lr, delta"):
        plot_curves(cells, tasks)
    with pytest.raises(AnalysisError, match="no finished cell"):
        plot_curves(cells.iloc[:0], tasks)


def test_diverged_cells_leave_a_gap_in_curves(store_dir: Path, tmp_path: Path) -> None:
    cells = select(load_cells(store_dir), {"lr": [1.7e308], "depth": [1], "delta": [0.0]})
    figure = plot_curves(cells, load_tasks(store_dir))
    figure.savefig(tmp_path / "curves.png")
    assert len(figure.axes[0].get_lines()[0].get_ydata()) < 8


def test_many_seeds_are_shown_by_percentiles() -> None:
    rng = np.random.default_rng(0)
    fixed = {"fresh_mean_ce": 0.1, "fresh_ce": np.array([0.1, 0.2]), "status": "finished"}
    cells = pd.DataFrame(
        [{**CellConfig(seed=seed, tasks=3, depth=1).model_dump(), "cell": str(seed), **fixed} for seed in range(11)]
    )
    tasks = pd.DataFrame(
        [
            {"cell": str(seed), "task": task, **{name: rng.random() for name in measured_with()}}
            for seed in range(11)
            for task in (1, 2, 3)
        ]
    )
    figure = plot_curves(cells, tasks.assign(**{name: tasks[name].map(lambda v: np.array([v])) for name in LAYERED}))
    wide = tasks.pivot(index="task", columns="cell", values="saturation")
    band = figure.axes[1].collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(wide.quantile(0.1, axis=1).min())
    assert "10th to 90th percentile over 11 seeds" in figure.get_suptitle()
    assert all(tick == round(tick) for axes in figure.axes for tick in axes.get_xticks())
