"""Heatmaps of task x layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.data.load import load_layers
from analysis.data.sequences import iter_blocks
from analysis.plot.layers import plot_layers
from lop_sweep.errors import AnalysisError

WHERE = {"depth": [2.0], "lr": [0.05, 0.2], "delta": [2.0]}


def test_a_heatmap_is_the_mean_over_seeds_of_each_layer(store_dir: Path, tmp_path: Path) -> None:
    figure = plot_layers(iter_blocks(store_dir, WHERE))
    figure.savefig(tmp_path / "layers.png")
    layers = load_layers(store_dir, {**WHERE, "lr": [0.2]})
    for axes, metric in ((figure.axes[1], "effective_rank"), (figure.axes[3], "duplicate_fraction")):
        drawn = np.asarray(axes.images[0].get_array())
        expected = layers.groupby(["layer", "task"])[metric].mean().unstack()
        np.testing.assert_allclose(drawn, expected)
    assert figure.axes[1].get_title() == "lr = 0.2"
    assert "mean over 2 seeds" in figure.get_suptitle()


@pytest.mark.parametrize("inches", [3, 4, 6])
def test_ticks_are_at_tasks(inches: float, store_dir: Path) -> None:
    figure = plot_layers(iter_blocks(store_dir, WHERE), width=inches)
    assert all(tick == round(tick) for axes in figure.axes[:4] for tick in axes.get_xticks())


def test_diverged_cells_leave_a_gap(store_dir: Path, tmp_path: Path) -> None:
    figure = plot_layers(iter_blocks(store_dir, {"depth": [1.0], "lr": [1.7e308], "delta": [0.0]}))
    figure.savefig(tmp_path / "layers.png")
    assert np.isnan(np.ma.filled(figure.axes[0].images[0].get_array().astype(float), np.nan)).any()


def test_too_many_configurations_are_refused(store_dir: Path) -> None:
    with pytest.raises(AnalysisError, match="12 configurations, at most 4 are drawn: fix more of depth, lr, delta"):
        plot_layers(iter_blocks(store_dir))
    with pytest.raises(AnalysisError, match="no finished cell"):
        plot_layers([])
