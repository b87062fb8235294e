"""Figures of statistics: what they show, and tables that they refuse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_scores import times

from analysis.plot import plot_specification, plot_survival
from analysis.statistics import kaplan_meier
from lop_sweep.errors import AnalysisError

NAN = np.nan


def curves(depths: int = 2) -> pd.DataFrame:
    frames = [times([3, 8, NAN], [20, 20, 15], depth=depth + 1) for depth in range(depths)]
    return kaplan_meier(pd.concat(frames, ignore_index=True), ["depth"])


def specifications() -> pd.DataFrame:
    return pd.DataFrame(
        {"definition": ["late", "late", "onset"], "margin": [0.1, 0.2, 0.1], "lost": [5, 3, 0], "plastic": [5, 7, 10],
         "decidable": 10, "lost_share": [0.5, 0.3, 0.0], "agreement": [1.0, 0.8, 0.5], "reversed": [0, 2, 5],
         "edge": [0.4, 0.3, NAN], "edge_low": [0.35, 0.25, NAN], "edge_high": [0.5, 0.4, NAN], "reason": ["", "", "no"]}
    )  # fmt: skip


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
    for figure in (plot_survival(curves(5), width=width), plot_specification(specifications(), width=width)):
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
