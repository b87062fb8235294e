"""Fields with names as values: on axes, in panels, curves, layers, differences and tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import scored_frame
from map_panels import map_panels

from analysis.data.load import load_cells, load_tasks
from analysis.data.sequences import blocks_of
from analysis.plot.axes import Grid, axis_of, lay_out
from analysis.plot.boundary import boundary
from analysis.plot.curves import plot_curves
from analysis.plot.difference import plot_difference
from analysis.plot.layers import plot_layers
from analysis.plot.maps import plot_map
from analysis.scoring.symptoms import symptom_table
from analysis.scoring.table import score_cells
from lop_sweep.config import FIELDS

OPTIMIZERS = ("sgd", "adam", "momentum with a long name")


@pytest.fixture(autouse=True)
def made_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more configuration fields: a name and a switch."""
    for name, kind, default in (("optimizer", str, "sgd"), ("bias", bool, True)):
        info = replace(FIELDS["lr"], name=name, type=kind, default=default, label=f"the {name}")
        monkeypatch.setitem(FIELDS, name, info)


def scored(seeds: int = 4) -> pd.DataFrame:
    """Make scores of optimizers x lr x bias; with the n-th optimizer the n-th lr is the first at which all are lost."""
    rows = [
        {"optimizer": optimizer, "lr": 0.1 * 2**column, "bias": bias, "seed": seed,
         "lost": float(column > number), "verdict": "lost" if column > number else "plastic",
         "excess": float(column > number)}
        for number, optimizer in enumerate(OPTIMIZERS) for column in range(4) for bias in (True, False)
        for seed in range(seeds)
    ]  # fmt: skip
    return scored_frame(rows)


@pytest.mark.parametrize(("x", "y"), [("lr", "optimizer"), ("optimizer", "lr"), ("optimizer", "bias")])
def test_categories_are_evenly_spaced_and_named(x: str, y: str, tmp_path: Path) -> None:
    frame = scored()[lambda frame: frame["bias"]] if "bias" not in (x, y) else scored().query("lr == 0.4")
    figure = plot_map(frame, x, y, "lost")
    figure.savefig(tmp_path / "map.png")
    axes = figure.axes[0]
    for field, ticks, labels, title in (
        (x, axes.get_xticks(), axes.get_xticklabels(), axes.get_xlabel()),
        (y, axes.get_yticks(), axes.get_yticklabels(), axes.get_ylabel()),
    ):
        names = {"optimizer": sorted(OPTIMIZERS), "bias": ["false", "true"], "lr": ["0.1", "0.2", "0.4", "0.8"]}[field]
        assert [label.get_text() for label in labels] == names
        if field != "lr":
            assert list(ticks) == list(range(len(names)))
            assert title == f"the {field}"
    assert (axes.get_xscale(), axes.get_yscale()) == tuple("log" if field == "lr" else "linear" for field in (x, y))


def test_no_boundary_is_interpolated_between_categories() -> None:
    """Each category has a straight line across its area, where its own share passes 1/2."""
    grid, (panel,) = map_panels(scored()[lambda frame: frame["bias"]], "lost", "optimizer", "lr")
    lines = sorted(boundary(panel.share, grid), key=lambda line: line[0, 0])
    assert [sorted({float(x) for x in line[:, 0]}) for line in lines] == [
        [-0.5, 0.0, 0.5], [0.5, 1.0, 1.5], [1.5, 2.0, 2.5],
    ]  # fmt: skip
    at = {"adam": 1, "momentum with a long name": 2, "sgd": 0}
    for line, number in zip(lines, at.values(), strict=True):
        np.testing.assert_allclose(line[:, 1], 0.1 * 2 ** (number + 0.5))
    both = Grid(axis_of(pd.Series(["a", "b"], name="optimizer")), axis_of(pd.Series([True, False], name="bias")))
    assert boundary(np.array([[0.0, 1.0], [1.0, 0.0]]), both) == []
    numbers = Grid(lay_out(np.array([1.0, 2.0])), lay_out(np.array([1.0, 2.0])))
    assert boundary(np.array([[0.0, 1.0], [0.0, 1.0]]), numbers) != []


def test_categories_make_panels() -> None:
    frame = scored_frame([{"lr": lr, "depth": depth, "optimizer": optimizer, "bias": bias}
                          for lr in (0.1, 0.2) for depth in (1, 2) for optimizer in OPTIMIZERS[:2]
                          for bias in (True, False)])  # fmt: skip
    figure = plot_map(frame, "lr", "depth", "late_ce")
    assert [axes.get_title() for axes in figure.axes[:4]] == [
        "optimizer = adam, bias = false", "optimizer = adam, bias = true",
        "optimizer = sgd, bias = false", "optimizer = sgd, bias = true",
    ]  # fmt: skip


def test_captions_name_a_shared_category() -> None:
    frame = scored().query("optimizer == 'adam' and bias == False")
    text = " ".join(plot_map(frame, "lr", "depth").texts[0].get_text().split())
    assert "optimizer = adam; bias = false" in text


def test_a_difference_names_the_categories_that_differ() -> None:
    first, second = (scored().query(f"optimizer == '{name}'") for name in OPTIMIZERS[:2])
    figure = plot_difference(first, second, "lr", "bias", "lost")
    assert "they differ in optimizer (sgd and adam)" in " ".join(figure.texts[0].get_text().split())
    mesh = figure.axes[0].collections[0]
    np.testing.assert_allclose(mesh.get_array(), [[0, -1, 0, 0]] * 2)


def test_points_of_only_one_sweep_are_in_their_category() -> None:
    first, second = scored().query("bias"), scored().query("bias and optimizer != 'sgd'")
    second["cell"] = "other " + second["cell"]
    figure = plot_difference(first, second, "optimizer", "lr", "lost")
    values = np.ma.filled(figure.axes[0].collections[0].get_array(), np.nan)
    assert np.isnan(values[:, 2]).all()
    assert np.isfinite(values[:, :2]).all()


def test_curves_layers_and_tables_of_categories(store_dir: Path, tmp_path: Path) -> None:
    where = {"depth": [2.0], "lr": [0.05, 0.2], "delta": [2.0]}
    cells = load_cells(store_dir).assign(bias=True)
    cells["optimizer"] = np.where(cells["lr"] == 0.05, "adam", "sgd")
    cells = cells[cells["depth"].isin(where["depth"]) & cells["lr"].isin(where["lr"]) & (cells["delta"] == 2.0)]
    tasks = load_tasks(store_dir, where=where)
    curves = plot_curves(cells.assign(lr=0.1), tasks)
    curves.savefig(tmp_path / "curves.png")
    assert [text.get_text() for text in curves.legends[0].get_texts()] == ["optimizer = adam", "optimizer = sgd"]
    layers = plot_layers(blocks_of(cells.assign(lr=0.1), store_dir))
    assert [axes.get_title() for axes in layers.axes[:2]] == ["optimizer = adam", "optimizer = sgd"]
    table = symptom_table(score_cells(cells, tasks, factor=0, margin=0), ["optimizer", "bias"])
    assert set(table["optimizer"]) <= {"adam", "sgd"}
    assert list(table.columns[:4]) == ["optimizer", "bias", "verdict", "symptom"]
