"""Texts on the points of maps: clear of lines, marks and borders, at every width of a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import scored_frame
from matplotlib.figure import Figure
from matplotlib.path import Path

from analysis.plot import plot_map
from analysis.plot.text.placement import Obstacles

SQUARE = np.array([0.0, 0.0]), np.array([1.0, 1.0])


def crossing(height: float) -> Obstacles:
    """A horizontal line through the square."""
    return Obstacles.along([np.array([[-1.0, height], [2.0, height]])])


def test_a_text_is_in_the_middle_if_nothing_is_there() -> None:
    np.testing.assert_allclose(Obstacles.along([]).place((0.4, 0.2), *SQUARE), [0.5, 0.5])
    np.testing.assert_allclose(crossing(0.9).place((0.4, 0.2), *SQUARE), [0.5, 0.5])


def test_a_text_moves_away_from_a_line() -> None:
    x, y = crossing(0.45).place((0.4, 0.2), *SQUARE)
    assert x == 0.5
    assert 0.55 < y < 0.75


def test_there_is_no_place_for_what_is_too_large() -> None:
    assert Obstacles.along([]).place((1.0, 0.2), *SQUARE) is None
    assert crossing(0.5).place((0.4, 0.6), *SQUARE) is None
    assert crossing(0.5).place((0.4, 0.3), *SQUARE) is not None


def sweep() -> pd.DataFrame:
    """Depth by learning rate with a slanted edge, and at the largest learning rate two seeds only."""
    rng = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for column, lr in enumerate((0.05, 0.1, 0.1414, 0.2, 0.4, 0.8, 1.6)):
        for depth in (1, 2, 4, 6, 8):
            for seed in range(2 if lr == 1.6 else 8):
                lost = float(rng.random() < 1 / (1 + np.exp(-1.5 * (column + depth / 2 - 6))))
                rows.append(
                    {"lr": lr, "depth": depth, "seed": seed, "lost": lost, "verdict": "lost" if lost else "plastic",
                     "excess": 0.6 * lost + 0.2 * rng.random(), "first_symptom": "rank" if lost else "no loss",
                     "lead": 12.0 if lost else np.nan}
                )  # fmt: skip
    return scored_frame(rows)


SCORED = sweep()


def box_of(text: Any) -> Any:
    """The box of a text without the patch behind it."""
    patch = text.get_bbox_patch()
    text.set_bbox(None)
    box = text.get_window_extent()
    text.set_bbox({"facecolor": patch.get_facecolor(), "edgecolor": "none"})
    return box


def lines_of(axes: Any) -> list[Path]:
    return [line.get_transform().transform_path(line.get_path()) for line in axes.get_lines()
            if line.get_linestyle() != "None"]  # fmt: skip


@pytest.mark.parametrize("width", [3.4, 7.0, 12.0])
@pytest.mark.parametrize("value", ["lost", "excess", "verdict", "first_symptom"])
@pytest.mark.parametrize("surface", ["gp", "counts"])
def test_no_text_meets_a_line_or_a_border(width: float, value: str, surface: str) -> None:
    figure = plot_map(SCORED, "lr", "depth", value, width=width, surface=surface)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes, paths = [box_of(text) for text in axes.texts], lines_of(axes)
    assert len(boxes) >= 15
    assert paths
    for box in boxes:
        assert axes.bbox.x0 < box.x0 < box.x1 < axes.bbox.x1
        assert axes.bbox.y0 < box.y0 < box.y1 < axes.bbox.y1
        assert not any(path.intersects_bbox(box, filled=False) for path in paths)


@pytest.mark.parametrize("width", [3.4, 7.0, 12.0])
def test_every_text_is_within_its_point(width: float) -> None:
    figure = plot_map(SCORED, "lr", "depth", "lost", width=width)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    corners = axes.collections[0].get_coordinates()
    xs, ys = axes.transData.transform(corners[0])[:, 0], axes.transData.transform(corners[:, 0])[:, 1]
    for text in axes.texts:
        box = box_of(text)
        assert np.searchsorted(xs, box.x0) == np.searchsorted(xs, box.x1)
        assert np.searchsorted(ys, box.y0) == np.searchsorted(ys, box.y1)


def labels_of(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_xticklabels()]


def test_ticks_have_two_digits() -> None:
    assert labels_of(plot_map(SCORED, "lr", "depth", "lost", width=7)) == [
        "0.05", "0.1", "0.14", "0.2", "0.4", "0.8", "1.6",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [3.4, 7, 12])
def test_labels_of_close_ticks_are_left_out(width: float) -> None:
    """Close learning rates near the edge: labels that are drawn do not touch, and the wide gaps have theirs."""
    close = {0.05: 0.1, 0.1: 0.2, 0.1414: 0.24, 0.2: 0.28, 0.4: 0.34, 0.8: 0.8, 1.6: 1.6}
    figure = plot_map(SCORED.assign(lr=SCORED["lr"].map(close)), "lr", "depth", "lost", width=width)
    figure.draw_without_rendering()
    labels = [label for label in figure.axes[0].get_xticklabels() if label.get_text()]
    assert {"0.1", "0.2", "0.8", "1.6"} <= {label.get_text() for label in labels}
    assert (len(labels) < 7) == (width < 7)
    ends = [label.get_window_extent().x1 for label in labels]
    assert min(np.diff(ends)) > labels[0].get_fontsize() * figure.dpi / 72


def texts_of(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.axes[0].texts)


def test_intervals_are_written_where_they_fit() -> None:
    assert "0.00\N{EN DASH}0.32" in texts_of(plot_map(SCORED, "lr", "depth", "lost", width=7))
    assert "\N{EN DASH}" not in texts_of(plot_map(SCORED, "lr", "depth", "lost", width=3.4))


def test_intervals_of_scores_with_signs_have_words() -> None:
    shifted = SCORED.assign(excess=SCORED["excess"] - 0.5)
    found = texts_of(plot_map(shifted, "lr", "depth", "excess", width=12))
    assert "\N{MINUS SIGN}0." in found
    assert " to " in found
    assert "\N{EN DASH}" not in found


def test_captions_have_two_lines_on_a_page() -> None:
    for value in ("lost", "excess", "verdict", "first_symptom"):
        figure = plot_map(SCORED, "lr", "depth", value, width=7)
        assert len(figure.texts[0].get_text().split("\n")) <= 2
        assert "Fisher's test" in figure.get_label()
