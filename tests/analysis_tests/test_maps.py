"""Maps: the numbers behind them, and what is visible on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import scored_frame
from matplotlib.figure import Figure

from analysis.grid import edges, lay_out
from analysis.load import load_cells, load_tasks
from analysis.maps import draw_map
from analysis.panels import MAX_PANELS, arrange
from analysis.scores import score_cells
from analysis.values import VALUES
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def hatches(figure: Figure) -> list[str]:
    return [patch.get_hatch() for axes in figure.axes for patch in axes.patches if patch.get_hatch()]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1, 2, 4, 8], "log"), ([0.01, 0.1, 1.0], "log"), ([1, 2, 5, 10], "log"), ([1, 2, 3, 4], "linear"),
        ([1, 2, 4, 6, 8], "linear"), ([0.0, 0.7, 1.4], "linear"), ([-1.0, 0.1, 1.0], "linear"), ([1, 100], "linear"),
        ([3], "linear"), ([0.0, 0.01, 0.1, 1.0], "index"), ([0.05, 0.2, 1.7e308], "index"),
    ],
)  # fmt: skip
def test_the_scale_follows_the_spacing(values: list[float], scale: str) -> None:
    assert lay_out(np.array(values, dtype=float)).scale == scale


@given(st.sets(st.floats(-1e100, 1e100).map(lambda value: value + 0.0), min_size=1, max_size=8))
def test_every_value_lies_within_its_area(values: set[float]) -> None:
    axis = lay_out(np.array(sorted(values)))
    assert len(axis.edges) == len(values) + 1
    assert (axis.edges[:-1] <= axis.positions).all()
    assert (axis.positions <= axis.edges[1:]).all()


def test_edges_in_closed_form() -> None:
    np.testing.assert_allclose(edges(np.array([1.0, 2.0, 4.0])), [0.5, 1.5, 3.0, 5.0])
    np.testing.assert_allclose(lay_out(np.array([1.0, 4.0, 16.0])).edges, [0.5, 2.0, 8.0, 32.0])
    np.testing.assert_allclose(lay_out(np.array([0.0, 1.0, 1000.0])).edges, [-0.5, 0.5, 1.5, 2.5])


def test_an_axis_that_is_not_to_scale_says_so() -> None:
    figure = draw_map(
        scored_frame([{"lr": lr, "sigma": s} for lr in (0.1, 0.2) for s in (0.0, 0.01, 1.0)]), "lr", "sigma"
    )
    assert figure.axes[0].get_ylabel() == "sigma (noise), not to scale"


def test_panels_hold_means_over_seeds_and_counts() -> None:
    scored = scored_frame(
        [
            {"lr": 0.1, "depth": 1, "seed": 0, "excess": 0.1, "lost": 0.0},
            {"lr": 0.1, "depth": 1, "seed": 1, "excess": 0.5, "lost": 1.0},
            {"lr": 0.2, "depth": 2, "seed": 0, "excess": np.nan, "lost": np.nan},
        ]
    )
    xs, ys, (panel,) = arrange(scored, "excess", "lr", "depth")
    assert (list(xs), list(ys)) == ([0.1, 0.2], [1, 2])
    np.testing.assert_allclose(panel.values, [[0.3, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(panel.cells, [[2, 0], [0, 1]])
    np.testing.assert_array_equal(panel.judged, [[2, 0], [0, 0]])
    np.testing.assert_array_equal(panel.lost, [[1, 0], [0, 0]])
    assert panel.name == ""


def test_other_fields_that_vary_make_panels_but_followers_do_not() -> None:
    rows = [
        {"lr": lr, "steps": steps, "fresh_steps": steps, "delta": delta, "sigma": sigma}
        for lr in (0.1, 0.2) for steps in (10, 20) for delta in (0.0, 2.8) for sigma in (0.1, 0.5)
    ]  # fmt: skip
    _, _, panels = arrange(scored_frame(rows), "excess", "lr", "steps")
    assert [panel.name for panel in panels] == [
        "delta = 0, sigma = 0.1", "delta = 0, sigma = 0.5", "delta = 2.8, sigma = 0.1", "delta = 2.8, sigma = 0.5",
    ]  # fmt: skip


def test_too_many_panels_and_wrong_axes_are_refused() -> None:
    rows = [{"lr": lr, "delta": float(delta)} for lr in (0.1, 0.2) for delta in range(MAX_PANELS + 1)]
    with pytest.raises(AnalysisError, match=r"25 panels over delta: at most 24 .* --where"):
        draw_map(scored_frame(rows), "lr", "depth")
    with pytest.raises(AnalysisError, match="'dept' is no configuration field"):
        draw_map(scored_frame(rows), "lr", "dept")
    with pytest.raises(AnalysisError, match="two different fields"):
        draw_map(scored_frame(rows), "lr", "lr")
    with pytest.raises(AnalysisError, match="value 'loss' is unknown; there are excess"):
        draw_map(scored_frame(rows), "lr", "depth", "loss")
    with pytest.raises(AnalysisError, match="no finished cell"):
        draw_map(scored_frame(rows).iloc[:0], "lr", "depth")


def test_seeds_are_counted_on_the_map_and_gaps_are_visible() -> None:
    scored = scored_frame(
        [
            {"lr": 0.1, "depth": 1, "seed": 0, "excess": 0.0, "lost": 0.0},
            {"lr": 0.1, "depth": 1, "seed": 1, "excess": 1.0, "lost": 1.0, "phase": "lost"},
            {"lr": 0.2, "depth": 2, "seed": 0, "fresh_ce": 3.0, "lost": np.nan, "phase": "untrainable"},
        ]
    )
    figure = draw_map(scored, "lr", "depth")
    assert texts(figure) == ["1/2"]
    assert sorted(hatches(figure)) == ["///", "///", "xxx"]
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert labels == ["not computed", "undefined: fresh networks fail too (or there are none), or all seeds diverged"]
    caption = figure.texts[-1].get_text()
    assert "1 to 2 seeds a point, averaged; 3 cells: 1 plastic, 1 lost, 1 untrainable" in caption
    assert caption.startswith("width = 100, delta = 2.8, sigma = 0.22, steps = 40, tasks = 100\n")
    assert figure.axes[-1].get_ylabel() == "excess: late CE - fresh CE (nats)"


def test_points_that_were_asked_for_have_their_place_before_they_are_computed() -> None:
    scored = scored_frame([{"lr": 0.1, "depth": 1}])
    requested = scored_frame([{"lr": lr, "depth": depth} for lr in (0.1, 0.2, 0.4) for depth in (1, 2)])[
        ["cell", *FIELDS]
    ]
    figure = draw_map(scored, "lr", "depth", requested=requested)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["0.1", "0.2", "0.4"]
    assert hatches(figure) == ["///"] * 5
    assert "1 cells: 1 plastic" in figure.texts[-1].get_text()


def test_excess_of_untrainable_cells_is_not_drawn_as_a_gain() -> None:
    """Late networks that are bad, beside fresh ones that are worse, are no sign of plasticity."""
    scored = scored_frame(
        [{"lr": lr, "excess": -5.0, "fresh_ce": 9.0, "lost": np.nan, "phase": "untrainable"} for lr in (1, 2)]
    )
    figure = draw_map(scored, "lr", "depth")
    assert hatches(figure) == ["xxx", "xxx"]


@pytest.mark.parametrize("value", sorted(VALUES))
def test_every_value_draws_a_real_store(value: str, store_dir: Path, tmp_path: Path) -> None:
    scored = score_cells(load_cells(store_dir), load_tasks(store_dir))
    figure = draw_map(scored, "lr", "depth", value)
    figure.savefig(tmp_path / "map.png")
    assert figure.axes[0].get_title() == "delta = 0"
    assert figure.axes[-1].get_ylabel() == VALUES[value].label
    mesh = figure.axes[0].collections[0]
    if VALUES[value].judged:  # untrainable cells are left out
        scored = scored[scored["lost"].notna()]
    expected = scored[scored["delta"] == 0].groupby(["depth", "lr"])[VALUES[value].column].mean()
    drawn = np.ma.filled(mesh.get_array().astype(float), np.nan).ravel()
    np.testing.assert_allclose(drawn, expected.reindex(pd.MultiIndex.from_product([[1, 2], [0.05, 0.2, 1.7e308]])))


def test_a_single_value_on_an_axis_still_draws(tmp_path: Path) -> None:
    figure = draw_map(scored_frame([{"lr": 0.1, "depth": 3}]), "lr", "depth", "late_ce")
    figure.savefig(tmp_path / "map.png")
    assert "1 seed a point" in figure.texts[-1].get_text()


def test_means_that_leave_seeds_out_say_so() -> None:
    rows = [{"lr": lr, "seed": seed} for lr in (0.1, 0.2) for seed in (0, 1, 2)]
    scored = scored_frame(rows)
    scored.loc[1, ["late_final_ce", "lost", "phase"]] = [np.nan, np.nan, "diverged"]
    figure = draw_map(scored, "lr", "depth", "late_ce")
    assert texts(figure) == ["2 of 3"]
    assert "k of n: mean over k of n seeds" in figure.texts[-1].get_text()


def test_infinite_values_are_drawn_at_the_end_of_the_scale() -> None:
    scored = scored_frame(
        [{"lr": 0.1, "log_ratio": -np.inf}, {"lr": 0.2, "log_ratio": 0.0}, {"lr": 0.4, "log_ratio": np.inf}]
    )
    mesh = draw_map(scored, "lr", "depth", "log_ratio").axes[0].collections[0]
    assert mesh.get_array().ravel().tolist() == [-2.0, 0.0, 2.0]


def test_random_samples_have_no_place_on_a_map() -> None:
    scored = scored_frame([{"lr": 0.1 + index / 1000} for index in range(61)])
    with pytest.raises(AnalysisError, match="lr has 61 values: a map shows at most 60 on an axis"):
        draw_map(scored, "lr", "depth")
