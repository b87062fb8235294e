"""Figures of statistics: what they show, and tables that they refuse."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from made_scores import times
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plot import plot_collapse, plot_comparison, plot_effects, plot_points, plot_specification, plot_survival
from analysis.plot.statistics import term_label
from analysis.statistics import kaplan_meier
from lop_sweep.errors import AnalysisError

NAN = np.nan
TIMES = " \N{MULTIPLICATION SIGN} "


def curves(depths: int = 2) -> pd.DataFrame:
    frames = [times([3, 8, NAN], [20, 20, 15], depth=depth + 1) for depth in range(depths)]
    return kaplan_meier(pd.concat(frames, ignore_index=True), ["depth"])


def specifications() -> pd.DataFrame:
    return pd.DataFrame(
        {"definition": ["late", "late", "onset"], "margin": [0.1, 0.2, 0.1], "lost": [5, 3, 0], "plastic": [5, 7, 10],
         "decidable": 10, "lost_share": [0.5, 0.3, 0.0], "agreement": [1.0, 0.8, 0.5], "reversed": [0, 2, 5],
         "edge": [0.4, 0.3, NAN], "edge_low": [0.35, 0.25, NAN], "edge_high": [0.5, 0.4, NAN], "reason": ["", "", "no"]}
    )  # fmt: skip


def effects() -> pd.DataFrame:
    """Odds ratios of 8, 1/2 and one that is undefined; the interval of the second one has no lower end in sight."""
    coefficient, half = np.log([0.1, 8, 0.5, NAN]), np.array([0.1, np.log(2), NAN, NAN])
    table = pd.DataFrame(
        {"term": ["intercept", "log lr", "depth:log lr", "activation = relu"], "coefficient": coefficient,
         "low": coefficient - half, "high": coefficient + half, "reason": ["", "", "", "separated: no finite estimate"]}
    )  # fmt: skip
    table.loc[2, ["low", "high"]] = [-800.0, 0.0]
    return table


def collapses() -> pd.DataFrame:
    return pd.DataFrame(
        {"candidate": ["log lr x log depth", "log lr", "nothing", "sigma"], "coefficients": [3, 1, 0, 1],
         "explained": [0.9, 0.6, 0.0, NAN], "aic": [10.0, 22.5, 1234.0, NAN],
         "reason": ["separated: explains every cell", "", "", "does not vary"]}
    )  # fmt: skip


def comparison() -> pd.DataFrame:
    return pd.DataFrame(
        {"statistic": ["failure rate", "equivalence", "verdicts", "edge in lr"], "estimate": [0.02, 0.02, NAN, 0.5],
         "low": [-0.01, 0.0, NAN, 0.4], "high": [0.05, 0.04, NAN, 1e9], "p": [0.15, 0.03, NAN, NAN],
         "pairs": [96, 96, 0, 96], "seeds": [8, 8, 0, 8], "reason": ["", "", "no pair has two verdicts", "too sharp"]}
    )  # fmt: skip


def points() -> pd.DataFrame:
    """Two depths by three learning rates without the last one; depth 2 differs at 0.2."""
    return pd.DataFrame(
        {"lr": [0.1, 0.2, 0.4, 0.1, 0.2], "depth": [2, 2, 2, 4, 4], "pairs": 8, "first": 0.1,
         "second": [0.1, 0.5, 0.2, 0.0, 0.1], "difference": [0.0, 0.4, 0.1, -0.1, 0.0], "p": [1, 0.01, 0.5, 0.5, 1],
         "q": [1, 0.05, 0.83, 0.83, 1], "differs": [False, True, False, False, False]}
    )  # fmt: skip


def bars(axes: Axes) -> list[tuple[float, float, float]]:
    """The row and the two ends of each interval of a forest."""
    return [(y, *map(float, (a, b))) for lines in axes.collections for (a, y), (b, _) in lines.get_segments()]


def dots(axes: Axes, marker: str = "o") -> dict[int, float]:
    (line,) = [one for one in axes.get_lines() if one.get_marker() == marker]
    return dict(zip(map(int, line.get_ydata()), line.get_xdata(), strict=True))


def note(figure: Figure) -> str:
    return " ".join(figure.get_supxlabel().split())


def test_a_forest_of_effects_has_the_odds_ratios_of_its_table() -> None:
    figure = plot_effects(effects())
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert dots(axes) == pytest.approx({0: 8, 1: 0.5})
    assert bars(axes)[0] == pytest.approx((0, 4, 16))
    assert bars(axes)[1] == pytest.approx((1, 0.05, 1))  # cut off at a tenth of the smallest ratio
    assert (dots(axes, "<"), dots(axes, ">")) == (pytest.approx({1: 0.05}), {})
    assert list(axes.get_lines()[0].get_xdata()) == [1, 1]
    assert [text.get_text() for text in axes.texts] == ["undefined: separated: no finite estimate"]
    assert axes.texts[0].get_position()[1] == 2
    assert "arrow: the interval goes on" in note(figure)
    (endless,) = plot_effects(effects().assign(high=[0, 800, 0, NAN])).axes
    assert dots(endless, ">") == pytest.approx({0: 80})
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "learning rate\nper factor e"
    assert names[2] == "activation = relu\nagainst its first value"


@pytest.mark.parametrize(
    ("term", "label"),
    [
        ("depth", "depth\nper unit"), ("d'", "d'\nper unit"), ("log lr*depth", "learning rate · depth\nper factor e"),
        ("log lr:depth", f"learning rate{TIMES}depth\nper factor e and unit"),
        ("activation = relu:log lr", f"activation = relu{TIMES}learning rate\nper category and factor e"),
    ],
)  # fmt: skip
def test_terms_are_named_with_their_unit(term: str, label: str) -> None:
    assert term_label(term) == label


def test_ratios_beyond_floats_are_named_and_not_drawn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plot_effects(effects().assign(coefficient=[0.0, 800.0, -800.0, NAN], reason=["", "", "", "separated"]))
        figure.draw_without_rendering()
    (axes,) = figure.axes
    assert dots(axes) == {}
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["undefined: too large", "undefined: too small", "undefined: separated"]
    assert axes.get_xlim()[0] > 0.01


def test_doubts_about_effects_are_in_the_note() -> None:
    table = effects().assign(reason="few seeds for so many terms: errors are too small")
    table.attrs = {"cells": 1200, "seeds": 3, "response": "lost"}
    figure = plot_effects(table)
    assert "1,200 cells, 3 seeds; few seeds for so many terms: errors are too small" in note(figure)
    assert figure.axes[0].get_xlabel() == "odds ratio of a loss"
    assert figure.get_suptitle() == "Which axes move the share of lost networks"
    assert plot_effects(effects()).axes[0].get_xlabel() == "odds ratio"


def test_a_collapse_has_a_bar_per_combination() -> None:
    figure = plot_collapse(collapses())
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [0.9, 0.6, 0.0]
    assert [bar.get_hatch() for bar in axes.patches] == ["///", None, None]
    written = {round(text.get_position()[1], 2): text.get_text() for text in axes.texts}
    assert written == {-0.75: "ΔAIC", 0: "0.0", 1: "12.5", 2: "1,224.0", 3: "does not vary"}
    assert axes.get_yticklabels()[0].get_text() == f"log lr{TIMES}log depth"
    assert note(figure) == "hatched: separated, explains every cell"


def test_a_comparison_has_an_axis_for_differences_and_one_for_the_factor() -> None:
    figure = plot_comparison(comparison(), "narrow minus wide", margin=0.03)
    rates, edge = figure.axes
    assert dots(rates) == pytest.approx({0: 0.02, 1: 0.02})
    assert bars(rates) == [pytest.approx((0, -0.01, 0.05)), pytest.approx((1, 0, 0.04))]
    (shaded,) = rates.patches
    assert (shaded.get_x(), shaded.get_width()) == pytest.approx((-0.03, 0.06))
    assert [text.get_text() for text in rates.texts] == ["undefined: no pair has two verdicts"]
    assert rates.get_yticklabels()[1].get_text() == "equivalence (90%)\np = 0.03, 96 pairs"
    assert dots(edge) == {0: 0.5}
    assert dots(edge, ">") == {0: 10}  # ten times no shift
    assert edge.get_xscale() == "log"
    assert not edge.patches
    assert figure.get_suptitle() == "narrow minus wide"
    assert "8 seeds; bars: 95% intervals unless named; shaded: differences below 0.03; arrow" in note(figure)
    assert note(figure).endswith("edge in lr: too sharp")


def test_differences_of_shares_end_at_one() -> None:
    table = comparison().assign(low=[-3.0, -2.0, NAN, 0.4], high=[4.0, 3.0, NAN, 0.6])
    rates = plot_comparison(table).axes[0]
    assert bars(rates) == [(0, -1, 1), (1, -1, 1)]
    assert (dots(rates, "<"), dots(rates, ">")) == ({0: -1, 1: -1}, {0: 1, 1: 1})
    (only,) = plot_comparison(table.iloc[3:]).axes
    assert only.get_xlabel() == "factor"


def test_compared_points_are_a_map_with_dots_where_they_differ() -> None:
    figure = plot_points(points())
    axes = figure.axes[0]
    drawn = axes.collections[0].get_array()
    np.testing.assert_allclose(drawn.filled(NAN), [[0, 0.4, 0.1], [-0.1, 0, NAN]])
    assert dots(axes) == {0: 1}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "0.2", "0.4"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["depth = 2", "depth = 4"]
    assert note(figure) == "dots: q ≤ 0.05; hatched: no pair"
    few = points().assign(differs=False, pairs=5).iloc[:3].drop(columns="depth")
    assert note(plot_points(few)) == (
        "no point has q ≤ 0.05; with at most 5 pairs per point no point can differ; "
        "with 6 no q is small enough until 2 of 3 differ in all pairs"
    )
    numbered = points().assign(number=range(5))
    assert len(plot_points(numbered).axes[0].get_yticklabels()) == 2  # not a field
    single = points().iloc[:1].drop(columns=["lr", "depth"])
    assert plot_points(single).axes[0].collections[0].get_array().shape == (1, 1)
    names = points().assign(depth=["relu", "relu", "tanh", "tanh", "tanh"]).rename(columns={"depth": "activation"})
    labels = plot_points(names.drop(columns="lr").iloc[[0, 2]]).axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["relu", "tanh"]


def test_a_curve_has_the_steps_of_its_table() -> None:
    table = curves()
    upper = plot_survival(table).axes[0]
    lines = [line for line in upper.get_lines() if line.get_drawstyle() == "steps-post"]
    assert [line.get_label() for line in lines] == ["depth = 1", "depth = 2"]
    np.testing.assert_allclose(lines[0].get_ydata(), table[table["depth"] == 1]["survival"])


def test_networks_at_risk_are_numbers_below() -> None:
    lower = plot_survival(kaplan_meier(times([3, 8, NAN], [20, 20, 15]))).axes[1]
    found = {(int(text.get_position()[0]), text.get_text()) for text in lower.texts}
    assert {(0, "3"), (5, "2"), (10, "1")} <= found
    assert lower.get_yticklabels()[0].get_text() == "all networks"


def test_specifications_are_sorted_by_their_edge() -> None:
    edges, shares, dots = plot_specification(specifications()).axes
    np.testing.assert_allclose(edges.get_lines()[0].get_ydata(), [0.3, 0.4])
    np.testing.assert_allclose(shares.get_lines()[0].get_ydata(), [0.3, 0.5, 0.0])
    np.testing.assert_allclose(shares.get_lines()[1].get_xdata(), [1])
    names = [label.get_text() for label in dots.get_yticklabels()]
    assert names == ["definition = late", "definition = onset", "margin = 0.1", "margin = 0.2"]


def test_a_curve_without_any_edge_says_so() -> None:
    table = specifications().assign(edge=NAN, edge_low=NAN, edge_high=NAN)
    assert plot_specification(table).axes[0].texts[0].get_text() == "no specification has an edge"


def test_curves_that_coincide_have_their_own_dashes() -> None:
    lines = [line for line in plot_survival(curves(4)).axes[0].get_lines() if line.get_drawstyle() == "steps-post"]
    assert [line.is_dashed() for line in lines] == [False, True, True, True]


def test_an_endless_interval_is_cut_off_and_ends_in_an_arrow() -> None:
    table = specifications().assign(edge_high=[0.5, 1e300, NAN])
    axes = plot_specification(table).axes
    (arrow,) = [line for line in axes[0].get_lines() if line.get_marker() == "^" and len(line.get_xdata())]
    assert list(arrow.get_xdata()) == [0]
    assert axes[0].get_ylim()[1] < 10
    assert "arrow: the interval goes on" in " ".join(axes[2].get_xlabel().split())
    whole = plot_specification(specifications()).axes
    assert "arrow" not in whole[2].get_xlabel()


@pytest.mark.parametrize("width", [3.4, 7.0, None])
def test_nothing_is_cut_at_any_width(width: float | None) -> None:
    for figure in (
        plot_survival(curves(5), width=width), plot_specification(specifications(), width=width),
        plot_effects(effects(), width=width), plot_collapse(collapses(), width=width),
        plot_comparison(comparison(), width=width), plot_points(points(), width=width),
    ):  # fmt: skip
        figure.draw_without_rendering()
        assert figure.get_figwidth() == (width or 7)
        box = figure.get_tightbbox()
        assert box.x0 > -0.06
        assert box.y0 > -0.06
        assert box.x1 < figure.get_figwidth() + 0.06
        assert box.y1 < figure.get_figheight() + 0.06
        boxes = [axes.yaxis.label.get_window_extent() for axes in figure.axes]
        assert not any(one.overlaps(other) for number, one in enumerate(boxes) for other in boxes[:number])


def test_tables_that_cannot_be_drawn_are_refused() -> None:
    with pytest.raises(AnalysisError, match="9 curves, at most 8"):
        plot_survival(curves(9))
    with pytest.raises(AnalysisError, match="lacks the columns survival"):
        plot_survival(curves().drop(columns="survival"))
    with pytest.raises(AnalysisError, match="no specification to draw"):
        plot_specification(specifications().iloc[:0])
    with pytest.raises(AnalysisError, match=r"lacks the columns coefficient; analysis\.statistics\.regression makes"):
        plot_effects(effects().drop(columns="coefficient"))
    with pytest.raises(AnalysisError, match="no coefficient to draw besides the intercept"):
        plot_effects(effects().iloc[:1])
    with pytest.raises(AnalysisError, match="no combination of axes to draw"):
        plot_collapse(collapses().iloc[:0])
    with pytest.raises(AnalysisError, match="no statistic to draw"):
        plot_comparison(comparison().iloc[:0])
    with pytest.raises(AnalysisError, match="no point to draw"):
        plot_points(points().iloc[:0])
    many = pd.concat([points().iloc[:1].assign(lr=0.01 * number) for number in range(41)])
    with pytest.raises(AnalysisError, match="41 values of lr and 1 combinations of other fields: at most 40 and 40"):
        plot_points(many)
    with pytest.raises(AnalysisError, match="no value of depth in 2 of 5 rows: fields must be complete"):
        plot_points(points().assign(depth=[2, NAN, 2, NAN, 2]))
    with pytest.raises(AnalysisError, match="two rows with the same depth: choose one of them"):
        plot_points(points().drop(columns="lr"))
    with pytest.raises(AnalysisError, match="two rows with the same fields"):
        plot_points(points().drop(columns=["lr", "depth"]))
