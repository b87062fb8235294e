"""Maps: the numbers behind them, and what is visible on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_store import MEASURED_VALUES
from made_up import scored_frame
from map_panels import map_panels
from matplotlib.figure import Figure

from analysis.data.load import load_cells, load_tasks
from analysis.plot.aggregate import MAX_PANELS
from analysis.plot.axes import Grid, edges, lay_out
from analysis.plot.boundary import boundary
from analysis.plot.difference import difference_table, plot_difference
from analysis.plot.maps import plot_map
from analysis.plot.variables import EFFECTS, VALUES
from analysis.scoring.criterion import LossCriterion, with_criterion
from analysis.scoring.table import score, score_cells
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError

EN_DASH = "\N{EN DASH}"


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def caption(figure: Figure) -> str:
    (text,) = [text for text in figure.texts if text.get_text() != figure.get_suptitle()]
    return unwrapped(text.get_text())


def unwrapped(text: str) -> str:
    return " ".join(text.split())


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def hatches(figure: Figure) -> list[str]:
    return [patch.get_hatch() for axes in figure.axes for patch in axes.patches if patch.get_hatch()]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1, 2, 4, 8], "log"), ([0.01, 0.1, 1.0], "log"), ([1, 2, 5, 10], "log"), ([1, 2, 3, 4], "linear"),
        ([1, 2, 4, 6, 8], "linear"), ([0.0, 0.7, 1.4], "linear"), ([-1.0, 0.1, 1.0], "linear"), ([1, 100], "linear"),
        ([3], "linear"), ([0.0, 0.01, 0.1, 1.0], "index"), ([0.05, 0.2, 1.7e308], "index"),
        ([1.6e308, 1.7e308], "index"), ([1e20], "index"), ([1e-3, 1.0, 1e3], "log"),
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
    figure = plot_map(
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
    grid, (panel,) = map_panels(scored, "excess")
    assert (list(grid.x.values), list(grid.y.values)) == ([0.1, 0.2], [1, 2])
    np.testing.assert_allclose(panel.values, [[0.3, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(panel.cells, [[2, 0], [0, 1]])
    np.testing.assert_array_equal(panel.decidable, [[2, 0], [0, 0]])
    np.testing.assert_array_equal(panel.lost, [[1, 0], [0, 0]])
    assert panel.title == ""


def test_other_fields_make_panels_but_followers_do_not() -> None:
    rows = [
        {"lr": lr, "steps": steps, "fresh_steps": steps, "delta": delta, "sigma": sigma}
        for lr in (0.1, 0.2) for steps in (10, 20) for delta in (0.0, 2.8) for sigma in (0.1, 0.5)
    ]  # fmt: skip
    _, found = map_panels(scored_frame(rows), "excess", y="steps")
    assert [panel.title for panel in found] == [
        "delta = 0, sigma = 0.1", "delta = 0, sigma = 0.5", "delta = 2.8, sigma = 0.1", "delta = 2.8, sigma = 0.5",
    ]  # fmt: skip


def test_too_many_panels_and_wrong_axes_are_refused() -> None:
    rows = [{"lr": lr, "delta": float(delta)} for lr in (0.1, 0.2) for delta in range(MAX_PANELS + 1)]
    with pytest.raises(AnalysisError, match=r"25 panels over delta: at most 24 .* --where"):
        plot_map(scored_frame(rows), "lr", "depth")
    with pytest.raises(AnalysisError, match="unknown configuration field 'dept'"):
        plot_map(scored_frame(rows), "lr", "dept")
    with pytest.raises(AnalysisError, match="two different fields"):
        plot_map(scored_frame(rows), "lr", "lr")
    with pytest.raises(AnalysisError, match="unknown value 'loss'; choose from: excess"):
        plot_map(scored_frame(rows), "lr", "depth", "loss")
    with pytest.raises(AnalysisError, match="no finished cell"):
        plot_map(scored_frame(rows).iloc[:0], "lr", "depth")


def test_seeds_are_counted_on_the_map_and_gaps_are_visible() -> None:
    scored = scored_frame(
        [
            {"lr": 0.1, "depth": 1, "seed": 0, "excess": 0.0, "lost": 0.0},
            {"lr": 0.1, "depth": 1, "seed": 1, "excess": 1.0, "lost": 1.0, "verdict": "lost"},
            {"lr": 0.2, "depth": 2, "seed": 0, "fresh_mean_ce": 3.0, "lost": np.nan, "verdict": "untrainable"},
        ]
    )
    figure = plot_map(scored, "lr", "depth")
    assert texts(figure) == ["1/2\n0.0 to 1.0"]
    assert sorted(hatches(figure)) == ["///", "///", "xxx"]
    assert legend(figure) == [
        "fewer than 3 seeds",
        "not computed",
        "undefined for all seeds",
    ]
    cells = "1 to 2 seeds per point; 3 cells: 1 plastic, 1 lost, 1 untrainable"
    fields = "width = 100, delta = 2.8, sigma = 0.22, steps = 40, tasks = 100"
    assert caption(figure).startswith(
        f"{cells}; no boundary P(lost) = 1/2 is certain enough to be drawn; {fields[:11]}"
    )
    assert figure.get_label().startswith(f"{fields}\n{cells}\n{LossCriterion()}\n")
    assert unwrapped(figure.axes[-1].get_ylabel()) == "excess: late CE - fresh CE (nats)"


def test_requested_points_are_part_of_the_map() -> None:
    scored = scored_frame([{"lr": 0.1, "depth": 1}])
    requested = scored_frame([{"lr": lr, "depth": depth} for lr in (0.1, 0.2, 0.4) for depth in (1, 2)])[
        ["cell", *FIELDS]
    ]
    figure = plot_map(scored, "lr", "depth", requested=requested)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["0.1", "0.2", "0.4"]
    assert hatches(figure) == ["///"] * 5
    assert "1 cell: 1 plastic" in caption(figure)


def test_excess_of_untrainable_cells_is_not_drawn_as_a_gain() -> None:
    """Late networks that are bad, beside fresh ones that are worse, are no sign of plasticity."""
    scored = scored_frame(
        [{"lr": lr, "excess": -5.0, "fresh_mean_ce": 9.0, "lost": np.nan, "verdict": "untrainable"} for lr in (1, 2)]
    )
    figure = plot_map(scored, "lr", "depth")
    assert hatches(figure) == ["xxx", "xxx"]


@pytest.fixture(scope="module")
def real_scores(store_dir: Path) -> pd.DataFrame:
    return score_cells(load_cells(store_dir), load_tasks(store_dir))


@pytest.mark.parametrize("value", sorted(MEASURED_VALUES))
def test_every_value_draws_a_real_store(value: str, real_scores: pd.DataFrame, tmp_path: Path) -> None:
    scored = real_scores
    figure = plot_map(scored, "lr", "depth", value)
    figure.savefig(tmp_path / "map.png", dpi=50)
    assert figure.axes[0].get_title() == "delta = 0"
    assert unwrapped(figure.axes[-1].get_ylabel()) == VALUES[value].axis_label
    mesh = figure.axes[0].collections[0]
    if VALUES[value].decidable_only:  # untrainable cells are left out
        scored = scored[scored["lost"].notna()]
    scored = scored[scored["delta"] == 0].assign(score=VALUES[value].of_cells)
    expected = scored.groupby(["depth", "lr"])["score"].mean()
    if value == "onset":  # never is drawn as the latest
        expected = expected.replace(np.inf, mesh.norm.vmax)
    drawn = np.ma.filled(mesh.get_array().astype(float), np.nan).ravel()
    np.testing.assert_allclose(drawn, expected.reindex(pd.MultiIndex.from_product([[1, 2], [0.05, 0.2, 1.7e308]])))


def test_a_single_value_on_an_axis_still_draws(tmp_path: Path) -> None:
    figure = plot_map(scored_frame([{"lr": 0.1, "depth": 3}]), "lr", "depth", "late_ce")
    figure.savefig(tmp_path / "map.png")
    assert "1 seed per point" in caption(figure)


def test_means_that_leave_seeds_out_say_so() -> None:
    rows = [{"lr": lr, "seed": seed} for lr in (0.1, 0.2) for seed in (0, 1, 2)]
    scored = scored_frame(rows)
    scored.loc[1, ["late_ce", "lost", "verdict"]] = [np.nan, np.nan, "diverged"]
    figure = plot_map(scored, "lr", "depth", "late_ce")
    assert texts(figure) == ["2 of 3"]
    assert "k of n: seeds with a value" in caption(figure)
    assert "k of n: computed from k of n seeds; the others diverged" in figure.get_label()


def test_infinite_values_are_drawn_at_the_end_of_the_scale() -> None:
    scored = scored_frame(
        [{"lr": 0.1, "log_ratio": -np.inf}, {"lr": 0.2, "log_ratio": 0.0}, {"lr": 0.4, "log_ratio": np.inf}]
    )
    mesh = plot_map(scored, "lr", "depth", "log_ratio").axes[0].collections[0]
    centre = np.log10(1.5)
    np.testing.assert_allclose(mesh.get_array().ravel(), [centre - 2, 0.0, centre + 2])


def test_too_many_values_on_an_axis_are_refused() -> None:
    scored = scored_frame([{"lr": 0.1 + index / 1000, "depth": depth} for index in range(61) for depth in (1, 2)])
    with pytest.raises(AnalysisError, match="lr has 61 values: a map shows at most 60 on an axis"):
        plot_map(scored, "lr", "depth")


def grid_of(lost: list[list[float]], seeds: int = 4) -> pd.DataFrame:
    """Make depths 1, 2, ... by learning rates 0.1, 0.2, 0.4, ... with these numbers of seeds that lost plasticity."""
    rows = [
        {"depth": depth, "lr": 0.1 * 2**column, "seed": seed,
         "lost": float(seed < number), "excess": float(seed < number),
         "verdict": "lost" if seed < number else "plastic"}
        for depth, row in enumerate(lost, 1) for column, number in enumerate(row) for seed in range(seeds)
    ]  # fmt: skip
    return scored_frame(rows)


def test_the_boundary_runs_where_half_of_the_seeds_are_lost() -> None:
    """Share 0 at lr 0.1, 1/4 at 0.2, 3/4 at 0.4: half way between 0.2 and 0.4, on the logarithmic axis."""
    grid = Grid(lay_out(np.array([0.1, 0.2, 0.4])), lay_out(np.array([1.0, 2.0])))
    (line,) = boundary(np.array([[0, 0.25, 0.75], [0, 0.25, 0.75]]), grid)
    np.testing.assert_allclose(line[:, 0], np.sqrt(0.2 * 0.4))
    assert sorted(line[:, 1])[0] == 0.5
    assert sorted(line[:, 1])[-1] == 2.5


def test_no_boundary_beside_unknown_or_equal_points() -> None:
    grid = Grid(lay_out(np.array([0.1, 0.2, 0.4])), lay_out(np.array([1.0, 2.0])))
    assert boundary(np.array([[0, np.nan, 1], [0, np.nan, 1]]), grid) == []
    assert boundary(np.ones((2, 3)), grid) == []


def test_a_map_shows_the_boundary_and_its_interval() -> None:
    figure = plot_map(grid_of([[0, 1, 8, 8], [0, 1, 8, 8]], seeds=8), "lr", "depth", "lost", surface="counts")
    assert legend(figure) == ["P(lost) = 1/2", "its 95% interval (Wilson)"]
    at = sorted({round(float(np.median(line.get_xdata())), 3) for line in figure.axes[0].get_lines()})
    assert len(at) == 3
    assert 0.2 < at[0] < at[1] < at[2] < 0.4
    assert texts(figure)[:3] == [f"0/8\n0.00{EN_DASH}0.32", f"1/8\n0.02{EN_DASH}0.47", f"8/8\n0.68{EN_DASH}1.00"]


def test_points_of_few_seeds_are_marked() -> None:
    few = plot_map(grid_of([[0, 1]], seeds=2), "lr", "depth")
    assert "fewer than 3 seeds" in legend(few)
    assert [len(line.get_xdata()) for line in few.axes[0].get_lines() if line.get_marker() == "v"] == [2]
    enough = plot_map(grid_of([[0, 1]], seeds=3), "lr", "depth")
    assert "fewer than 3 seeds" not in legend(enough)


def test_colours_are_centred_where_lost_begins() -> None:
    scored = grid_of([[0, 1, 4]])
    centres = [
        ("excess", LossCriterion(margin=0.3), 0.3),
        ("log_ratio", LossCriterion(factor=2), np.log10(2)),
        ("lost", LossCriterion(), 0.5),
    ]
    for value, criterion, centre in centres:
        scored = with_criterion(scored.assign(log_ratio=0.0), criterion)
        mesh = plot_map(scored, "lr", "depth", value).axes[0].collections[0]
        assert (mesh.norm.vmin + mesh.norm.vmax) / 2 == pytest.approx(centre)
        assert mesh.get_cmap().name == "cmc.vik"


def test_verdicts_are_categories() -> None:
    scored = grid_of([[0, 3, 4], [0, 1, 4]])
    scored.loc[scored["depth"] == 2, ["verdict", "lost"]] = ["diverged", np.nan]
    _, (panel,) = map_panels(scored, "verdict")
    assert panel.names.tolist() == [["plastic", "lost", "lost"], ["diverged"] * 3]
    assert panel.matching.tolist() == [[4, 3, 4], [4, 4, 4]]
    figure = plot_map(scored, "lr", "depth", "verdict")
    assert legend(figure)[:3] == ["plastic", "lost", "diverged"]
    assert texts(figure)[:3] == ["4/4", "3/4", "4/4"]
    assert len(figure.axes) == 1  # no colour bar


def test_first_symptoms_of_the_seeds_that_lost_plasticity() -> None:
    scored = grid_of([[0, 3, 4]]).assign(first_symptom="no loss", lead=np.nan)
    scored.loc[[4, 5, 6], "first_symptom"] = ["rank", "saturation", "saturation"]
    scored.loc[[4, 5, 6], "lead"] = [9.0, 2.0, 4.0]
    scored.loc[8:, "first_symptom"] = "none before the loss"
    _, (panel,) = map_panels(scored, "first_symptom")
    assert panel.names.tolist() == [["no loss", "saturation", "none before the loss"]]
    assert (panel.matching.tolist(), panel.defined.tolist()) == ([[4, 2, 4]], [[4, 3, 4]])
    np.testing.assert_array_equal(panel.lead, [[np.nan, 3.0, np.nan]])
    assert texts(plot_map(scored, "lr", "depth", "first_symptom")) == ["2/3\n+3", "4/4"]


def test_censored_onsets_are_later_than_all_others() -> None:
    scored = grid_of([[0, 1, 3]], seeds=3).assign(onset_status="observed", onset=[np.nan] * 4 + [5, 7, 9, 4, 8])
    scored["onset_status"] = np.where(scored["onset"].isna(), "censored", "observed")
    _, (panel,) = map_panels(scored, "onset")
    np.testing.assert_array_equal(panel.values, [[np.inf, 7, 8]])
    plot_map(scored, "lr", "depth", "onset").draw_without_rendering()


def test_causes_and_effects_side_by_side(store_dir: Path, tmp_path: Path) -> None:
    figure = plot_map(score(store_dir), "lr", "depth", EFFECTS)
    figure.savefig(tmp_path / "map.png")
    assert len(figure.axes) == 2 * len(EFFECTS) + len(EFFECTS)  # two panels and a colour bar each
    labels = {unwrapped(axes.get_xlabel()) for axes in figure.axes}
    assert {VALUES[name].axis_label for name in EFFECTS} <= labels


def test_two_other_fields_are_rows_and_columns() -> None:
    rows = [{"lr": lr, "depth": depth, "delta": delta, "sigma": sigma}
            for lr in (0.1, 0.2) for depth in (1, 2) for delta in (0.0, 1.0, 2.0) for sigma in (0.1, 0.5)]  # fmt: skip
    figure = plot_map(scored_frame(rows), "lr", "depth", "late_ce")
    titles = [axes.get_title() for axes in figure.axes[:6]]
    assert titles[:2] == ["delta = 0, sigma = 0.1", "delta = 0, sigma = 0.5"]
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (3, 2)


@pytest.mark.parametrize("width", [3.4, 7.0])
def test_figures_for_print_have_their_width_and_nothing_is_cut(width: float, store_dir: Path) -> None:
    figure = plot_map(score(store_dir), "lr", "depth", "lost", width=width)
    figure.draw_without_rendering()
    assert figure.get_figwidth() == width
    box = figure.get_tightbbox()
    assert box.x0 > -0.06
    assert box.x1 < width + 0.06
    assert box.y0 > -0.06
    assert box.y1 < figure.get_figheight() + 0.06


def test_text_is_only_where_a_point_has_room() -> None:
    """The area of lr 1.6 is narrower than those of 0.1 and 1.2."""
    rows = [{"lr": lr, "seed": seed, "late_ce": 1.0 + seed} for lr in (0.1, 1.2, 1.6) for seed in (0, 1, 2)]
    scored = scored_frame(rows)
    scored["late_effective_rank"] = scored["seed"] * 10.0
    wide = plot_map(scored, "lr", "depth", "effective_rank", width=7)
    narrow = plot_map(scored, "lr", "depth", "effective_rank", width=2.6)
    borders = lay_out(np.array([0.1, 1.2, 1.6])).edges
    columns = [
        np.searchsorted(borders, [text.get_position()[0] for text in one.axes[0].texts]) for one in (wide, narrow)
    ]
    assert [column.tolist() for column in columns] == [[1, 2, 3], [1, 2]]
    assert "text only where it fits" in caption(narrow)
    assert "text only where it fits" not in caption(wide)


@pytest.mark.parametrize("ends", [(0.5, 2.1), (1.1, 1.4), (1e-8, 1e9), (0.2, 40.0)])
def test_logarithmic_colour_bars_have_a_few_labels(ends: tuple[float, float]) -> None:
    scored = scored_frame([{"lr": 0.1 * (1 + index)} for index in range(2)]).assign(late_ce=ends)
    figure = plot_map(scored, "lr", "depth", "late_ce")
    figure.draw_without_rendering()
    bar = figure.axes[-1]
    within = [tick for tick in bar.get_yticks() if ends[0] <= tick <= ends[1]]
    assert 2 <= len(within) <= 8


def test_the_difference_of_two_sweeps() -> None:
    first, second = grid_of([[0, 4], [0, 0]]), grid_of([[0, 0], [4, 0]]).assign(width=50)
    second["cell"] = "other " + second["cell"]
    figure = plot_difference(first, second, "lr", "depth", "lost", names=("wide", "narrow"))
    mesh = figure.axes[0].collections[0]
    np.testing.assert_allclose(mesh.get_array().ravel(), [0, -1, 1, 0])
    assert "narrow minus wide; they differ in width (100 and 50)" in caption(figure)
    assert "differs: false discovery rate q ≤ 0.05" in legend(figure)
    (marks,) = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert len(marks.get_xdata()) == 2
    assert "over the 2 of 4 points whose seeds can show a difference; p: mid-p" in figure.get_label()
    assert "no point has" not in caption(figure)


def test_dots_are_decided_over_all_points() -> None:
    """One loss in four is told from none nowhere; p is 1/2 of the 2 ways of 8 to be on one side."""
    first, second = grid_of([[0, 4], [0, 0]]), grid_of([[0, 0], [1, 0]])
    second["cell"] = "other " + second["cell"]
    table = difference_table(first, second, "lr", "depth", "lost")
    np.testing.assert_allclose(table["p"], [1, 1 / 70, 1 / 2, 1])
    np.testing.assert_allclose(table["q"], [np.nan, 1 / 70, np.nan, np.nan])
    assert table["differs"].tolist() == [False, True, False, False]
    same = plot_difference(first, first.assign(cell="other " + first["cell"]), "lr", "depth", "lost")
    assert not [line for line in same.axes[0].get_lines() if line.get_marker() == "o"]
    assert "no point has q ≤ 0.05" in caption(same)


def test_differences_of_scores_are_tested_by_permutations() -> None:
    """Of 70 ways to deal out eight different values, two are as far apart as these."""
    first = grid_of([[0, 0], [0, 0]]).sort_values(["depth", "lr", "seed"])
    second = first.assign(cell="other " + first["cell"])
    first["excess"] = np.arange(len(first)) / 100
    second["excess"] = first["excess"] + np.where(second["depth"] == 1, 5.0, 0.005)
    table = difference_table(first, second, "lr", "depth").sort_values(["depth", "lr"])
    np.testing.assert_allclose(table["value"], [5, 5, 0.005, 0.005])
    np.testing.assert_allclose(table["p"][:2], 2 / 70)
    np.testing.assert_allclose(table["q"][:2], 2 / 70 * 4 / 2)
    assert (table["p"][2:] > 0.5).all()
    assert not table["differs"].any()


def test_differences_need_common_points_and_scores() -> None:
    first, second = grid_of([[0, 4]]), grid_of([[0, 4]])
    second["lr"] *= 100
    with pytest.raises(AnalysisError, match="a and b have no point in common at which lost is defined"):
        plot_difference(first, second, "lr", "depth", "lost", names=("a", "b"))
    with pytest.raises(AnalysisError, match="'verdict' is a category"):
        plot_difference(first, first, "lr", "depth", "verdict")


def test_a_point_that_one_sweep_lacks_is_hatched() -> None:
    first = grid_of([[0, 4, 4]])
    second = first[first["lr"] < 0.3].assign(cell=lambda frame: "other " + frame["cell"])
    figure = plot_difference(first, second, "lr", "depth", "lost")
    assert hatches(figure) == ["///"]
