"""Curves, layers, values and scores follow the registered metrics, whatever their number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.data.load import load_cells, load_tasks, select
from analysis.data.sequences import Block, iter_blocks
from analysis.plot.curves import plot_curves
from analysis.plot.layers import plot_layers
from analysis.plot.maps import plot_map
from analysis.plot.variables import VALUES, metric_label
from analysis.scoring.table import score_cells
from lop_sweep.metrics import METRICS, measured_with

WHERE = {"depth": [2.0], "lr": [0.2], "delta": [2.0]}
USERS = ("analysis.data.sequences", "analysis.scoring.table", "analysis.plot.curves", "analysis.plot.layers",
         "analysis.plot.variables")  # fmt: skip


class Made(type(METRICS["saturation"])):  # type: ignore[misc]
    """A made-up metric: the number of dead units, as a median of late tasks."""

    name, label, unit, logarithmic, late_statistic = "dead", "dead units", "units", False, "median"

    def bounds(self, config: object) -> tuple[float, float]:
        return 0.0, float("inf")


class MadePerLayer(Made):
    name, per_layer = "dead_layers", True


@pytest.fixture(autouse=True)
def made_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more metrics, one of them per layer."""
    for module in USERS:
        monkeypatch.setattr(f"{module}.METRICS", {**METRICS, "dead": Made(), "dead_layers": MadePerLayer()})


@pytest.fixture
def cells(store_dir: Path) -> pd.DataFrame:
    return select(load_cells(store_dir), WHERE)


def with_made(tasks: pd.DataFrame, values: Any) -> pd.DataFrame:
    """Add the made-up metrics to tasks: these numbers, and lists of them for two layers."""
    layers = [None if value is None or np.isnan(value) else np.array([value, value + 2]) for value in values]
    return tasks.assign(dead=np.array(values, float), dead_layers=pd.Series(layers, index=tasks.index, dtype=object))


def tasks_of(store_dir: Path, columns: list[str] | None = None) -> pd.DataFrame:
    return load_tasks(store_dir, columns or ["cell", "task", *measured_with()], where=WHERE)


def panel(figure: Any, metric: str) -> Any:
    labels = [" ".join(axes.get_ylabel().split()) for axes in figure.axes]
    known = {**METRICS, "dead": Made(), "dead_layers": MadePerLayer()}
    return next(axes for axes, label in zip(figure.axes, labels, strict=True) if metric_label(known[metric]) in label)


def test_curves_have_a_panel_for_every_metric(cells: pd.DataFrame, store_dir: Path, tmp_path: Path) -> None:
    tasks = tasks_of(store_dir)
    figure = plot_curves(cells, with_made(tasks, np.arange(len(tasks)) % 8), raw=True)
    figure.savefig(tmp_path / "curves.png")
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert len(visible) == len(measured_with()) + 2
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (-(-(len(measured_with()) + 2) // 2), 2)
    assert [bool(axes.get_xlabel()) for axes in visible] == [False] * (len(measured_with())) + [True, True]
    np.testing.assert_array_equal(panel(figure, "dead").get_lines()[0].get_ydata(), np.arange(8))
    np.testing.assert_array_equal(panel(figure, "dead_layers").get_lines()[0].get_ydata(), np.arange(8) + 1)


def test_an_odd_number_of_metrics_leaves_a_place_empty(
    cells: pd.DataFrame, store_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seven = {**dict(list(METRICS.items())[:6]), "dead": Made()}
    monkeypatch.setattr("analysis.plot.curves.METRICS", seven)
    figure = plot_curves(cells, with_made(tasks_of(store_dir), np.ones(16)), raw=True)
    assert [bool(axes.get_xlabel()) for axes in figure.axes] == [False] * 5 + [True, True]
    assert figure.axes[5].xaxis.get_tick_params()["labelbottom"]


def test_a_metric_that_was_not_measured_has_an_empty_panel(cells: pd.DataFrame, store_dir: Path) -> None:
    figure = plot_curves(cells, with_made(tasks_of(store_dir), [np.nan] * 16))
    for name in ("dead", "dead_layers"):
        assert [text.get_text() for text in panel(figure, name).texts] == ["not measured"]
        assert np.isnan(panel(figure, name).get_lines()[0].get_ydata()).all()
    assert not panel(figure, "saturation").texts


def test_seeds_without_a_metric_are_left_out_of_its_curve(cells: pd.DataFrame, store_dir: Path) -> None:
    tasks = tasks_of(store_dir)
    values = np.where(tasks["cell"] == cells["cell"].iloc[0], 3.0, np.nan)
    figure = plot_curves(cells, with_made(tasks, values))
    np.testing.assert_array_equal(panel(figure, "dead").get_lines()[0].get_ydata(), [3.0] * 8)
    assert "measured in 1 of 2 cells" in " ".join(panel(figure, "dead").get_ylabel().split())
    assert "measured" not in panel(figure, "saturation").get_ylabel()


@pytest.mark.parametrize("measured", [True, False])
def test_layers_have_a_row_for_every_metric_per_layer(measured: bool, store_dir: Path, tmp_path: Path) -> None:
    value = 5.0 if measured else np.nan
    blocks = [
        Block(block.cells, {**block.metrics, "dead_layers": np.full((*block.metrics["final_ce"].shape, 2), value)})
        for block in iter_blocks(store_dir, WHERE, measured_with())
    ]
    figure = plot_layers(blocks)
    figure.savefig(tmp_path / "layers.png")
    images = [axes for axes in figure.axes if axes.images]
    assert len(images) == 3
    said = [text.get_text() for axes in images for text in axes.texts]
    assert said == ([] if measured else ["not measured"])
    assert [axes.get_ylabel() for axes in figure.axes if not axes.images] == [
        "effective rank", "duplicate features (share)", "dead units (units)",
    ]  # fmt: skip


def test_every_metric_is_scored_and_has_a_map(cells: pd.DataFrame, store_dir: Path) -> None:
    tasks = tasks_of(store_dir)
    values = with_made(tasks, [0, 0, 0, 0, 0, 0, 9, 1] * 2)
    scored = score_cells(cells, values, last=3)
    assert scored["late_dead"].tolist() == [1.0, 1.0]  # a median
    assert scored["late_dead_layers"].tolist() == [2.0, 2.0]
    assert VALUES["dead"].axis_label == "dead units, median of late tasks (units)"
    assert VALUES["dead_layers"].statistic == "median"
    figure = plot_map(scored, "lr", "depth", ["excess", "dead"])
    assert "dead units, median of late tasks (units)" in {" ".join(axes.get_xlabel().split()) for axes in figure.axes}
    unmeasured = score_cells(cells, with_made(tasks, [np.nan] * 16))
    assert unmeasured[["late_dead", "late_dead_layers"]].isna().all(axis=None)
    assert unmeasured["late_final_ce"].notna().all()
    assert [patch.get_hatch() for patch in plot_map(unmeasured, "lr", "depth", "dead").axes[0].patches] == ["xxx"]
