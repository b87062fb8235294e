"""Maps of a random search: what was sampled is drawn as dots, and no varying field is dropped in silence."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import scored_frame
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from analysis.data import sampled_fields
from analysis.plot import difference_table, map_table, other_fields, plot_difference, plot_map
from analysis.plot.aggregate import map_samples
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError


def random_search(points: int = 40, seeds: int = 2, widths: tuple[int, ...] = (64,)) -> pd.DataFrame:
    """Learning rate and delta drawn at random, depth and width chosen; large learning rates lose plasticity."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for _ in range(points):
        point = {
            "lr": float(np.exp(rng.uniform(np.log(1e-3), np.log(3)))), "delta": float(rng.uniform(0.1, 3)),
            "depth": int(rng.choice([1, 2, 4, 8])), "width": int(rng.choice(widths)),
        }  # fmt: skip
        for seed in range(seeds):
            lost = float(rng.random() < 1 / (1 + np.exp(-4 * (np.log(point["lr"]) + 2))))
            verdict = "lost" if lost else "plastic"
            rows.append({**point, "seed": seed, "lost": lost, "verdict": verdict, "excess": 0.6 * lost})
    return scored_frame(rows)


SCORED = random_search()


def dots_of(figure: Figure, panel: int = 0) -> list[PathCollection]:
    return [one for one in figure.axes[panel].collections if isinstance(one, PathCollection)]


def test_sampled_fields_have_a_value_per_configuration() -> None:
    assert sampled_fields(SCORED) == ["lr", "delta"]
    assert sampled_fields(SCORED[SCORED["cell"].astype(int) < 10]) == []  # five configurations are too few to tell
    grid = [{"lr": 0.1 * 1.2**i, "depth": depth} for i in range(30) for depth in (1, 2)]
    assert sampled_fields(scored_frame(grid)) == []
    assert sampled_fields(scored_frame(grid[::2])) == []  # one field, evenly spaced
    alone = scored_frame([{"lr": one} for one in SCORED["lr"].unique()])
    assert sampled_fields(alone) == ["lr"]


def test_fields_beside_sampled_axes_are_panels_or_mixed() -> None:
    found = other_fields(random_search(widths=(32, 64)), "lr", "depth")
    assert (found.panels, found.following, found.mixed) == (["width"], {}, ["delta"])
    assert found.sampled_axes == ["lr"]
    assert other_fields(SCORED, "depth", "width").mixed == ["lr", "delta"]


def test_a_few_random_points_are_not_taken_for_followers() -> None:
    """Ten learning rates, each of one width: the width is not dropped."""
    rows = [{"lr": 0.1 * 1.3**i, "depth": 1 + i % 3, "width": (32, 64)[i // 2 % 2]} for i in range(10)]
    assert other_fields(scored_frame(rows), "lr", "depth").panels == ["width"]


def test_followers_of_a_grid_are_named() -> None:
    rows = [{"lr": lr, "depth": depth, "width": 10 * depth} for lr in (0.1, 0.2, 0.4) for depth in (1, 2, 4)]
    scored = scored_frame(rows)
    assert other_fields(scored, "lr", "depth").following == {"width": "depth"}
    figure = plot_map(scored, "lr", "depth")
    assert "width follows depth" in figure.texts[0].get_text()
    assert "width follows depth" in figure.get_label()


def test_one_axis_of_a_grid_is_not_taken_for_a_sample() -> None:
    """The fresh networks' steps follow the steps, and so here does the width."""
    rows = [
        {"steps": steps, "fresh_steps": steps, "width": 2 * steps, "seed": seed}
        for steps in range(10, 90, 10) for seed in range(3)
    ]  # fmt: skip
    scored = scored_frame(rows)
    assert sampled_fields(scored) == []
    assert other_fields(scored, "steps", "lr").following == {"width": "steps", "fresh_steps": "steps"}
    assert texts_on(plot_map(scored, "steps", "lr", "lost")) == 8


def texts_on(figure: Figure) -> int:
    return len(figure.axes[0].texts)


def test_each_configuration_is_a_dot_at_its_values() -> None:
    figure = plot_map(SCORED, "lr", "depth", "lost")
    (dots,) = dots_of(figure)
    points = SCORED.groupby(["depth", "lr"])["lost"].mean()
    np.testing.assert_allclose(dots.get_offsets(), points.reset_index()[["lr", "depth"]])
    expected = [figure.axes[-1]._colorbar.mappable.to_rgba(share) for share in points]
    np.testing.assert_allclose(dots.get_facecolors(), expected)
    assert figure.axes[0].get_xscale() == "log"
    assert not figure.axes[0].texts


def test_mixed_fields_are_named_in_caption_and_metadata() -> None:
    figure = plot_map(SCORED, "lr", "depth", "lost", width=3.4)
    assert figure.texts[0].get_text().startswith("mixed: delta (0.1")
    assert "mixed: delta (0.1" in figure.get_label()
    assert "mixed" not in plot_map(SCORED, "lr", "delta").get_label()


def test_the_table_has_a_row_per_point_that_occurs() -> None:
    table = map_table(SCORED, "lr", "delta", "lost", surface="counts")
    assert len(table) == 40
    assert table["depth"].nunique() == 4
    assert (table["cells"] == 2).all()
    assert table.attrs["map"]["sampled"] == ["lr", "delta"]
    assert len(plot_map(table[table["depth"] == 8]).axes) == 2


def test_the_boundary_of_the_fitted_surface_is_drawn() -> None:
    axes = plot_map(SCORED, "lr", "depth", "excess").axes[0]
    solid = [line for line in axes.get_lines() if line.get_linestyle() == "-"]
    assert solid
    at = np.concatenate([line.get_xdata() for line in solid])
    assert 0.03 < np.median(at) < 0.6  # half of the seeds are lost at exp(-2) = 0.14
    assert SCORED["lr"].min() <= at.min()
    assert at.max() <= SCORED["lr"].max()


@pytest.mark.parametrize("width", [2.6, 3.4, 7.0, None])
@pytest.mark.parametrize("axes", [("lr", "depth"), ("lr", "delta"), ("delta", "lr")])
def test_tick_labels_never_overlap(width: float | None, axes: tuple[str, str]) -> None:
    figure = plot_map(SCORED[SCORED["depth"] == 8] if "depth" not in axes else SCORED, *axes, "excess", width=width)
    figure.draw_without_rendering()
    panel = figure.axes[0]
    for labels in (panel.get_xticklabels(), panel.get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels if label.get_text()]
        assert len(boxes) >= 2
        if not labels[0].get_rotation():
            assert not any(one.overlaps(other) for one, other in pairwise(boxes))


def test_categories_are_dots_with_their_colours() -> None:
    figure = plot_map(SCORED, "lr", "depth", "verdict")
    plastic, lost = dots_of(figure)
    np.testing.assert_allclose(plastic.get_facecolors()[0], to_rgba("#56B4E9"))
    points = SCORED.groupby(["lr", "depth"])["lost"].mean()
    assert (len(plastic.get_offsets()), len(lost.get_offsets())) == ((points <= 0.5).sum(), (points > 0.5).sum())
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["plastic", "lost"]


def test_points_without_a_value_have_marks() -> None:
    rest, first = SCORED[SCORED["cell"].astype(int) >= 4], SCORED["cell"].astype(int).between(4, 5)
    scored = rest.assign(
        lost=rest["lost"].where(~first), verdict=rest["verdict"].where(~first, "untrainable"), excess=rest["excess"]
    )
    scored.attrs = SCORED.attrs
    figure = plot_map(scored, "lr", "depth", requested=SCORED[["cell", *FIELDS]])
    marks = {line.get_marker(): len(line.get_xdata()) for line in figure.axes[0].get_lines()}
    assert (marks["o"], marks["x"]) == (2, 1)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[-2:] == ["not computed", "undefined for all seeds"]


def test_two_sweeps_over_the_same_points_are_compared_dot_by_dot() -> None:
    scored = random_search(seeds=4)
    other = scored.assign(cell="other " + scored["cell"], excess=scored["excess"] + 0.7, width=32)
    other.attrs = scored.attrs
    figure = plot_difference(scored, other, "lr", "depth")
    assert len(dots_of(figure)[0].get_offsets()) == 40
    assert "mixed: delta" in figure.texts[0].get_text()
    assert "differs: false discovery rate q ≤ 0.05" in [text.get_text() for text in figure.legends[0].get_texts()]
    samples = map_samples(scored, "lr", "depth", "excess")
    values = map_table(scored, "lr", "depth", "excess", surface="counts")["value"]
    np.testing.assert_allclose([one.mean() for one in samples], values)
    table = difference_table(scored, other, "lr", "depth")
    (marks,) = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(marks.get_xdata(), table["lr"][table["differs"]])


def test_too_many_panels_say_how_to_choose() -> None:
    scored = random_search(120, 1, tuple(range(2, 60, 2)))
    with pytest.raises(AnalysisError, match=r"panels over width: .* --where FIELD=VALUE, or make it an axis"):
        plot_map(scored, "lr", "depth")
