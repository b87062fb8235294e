"""The fitted boundary of a map: where it lies, what it leaves out, and that tables carry it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import scored_frame
from matplotlib.colors import Normalize

from analysis.plot import VALUES, map_table, plot_map
from analysis.plot.edge import Edge, edge_label
from analysis.plot.maps import columns_of
from analysis.plot.text.annotations import writing_on
from analysis.surface import fit_surface
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError

LRS = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]


def grid_of(lost: Any, fields: tuple[str, str] = ("lr", "depth"), xs: Any = LRS, ys: Any = (1, 2, 3)) -> pd.DataFrame:
    """Return scores of 8 seeds at each point; `lost(x, y, seed)` is 1, 0 or NaN."""
    rows = []
    for y in ys:
        for x in xs:
            for seed in range(8):
                outcome = lost(x, y, seed)
                verdict = "untrainable" if np.isnan(outcome) else "lost" if outcome else "plastic"
                rows.append({fields[0]: x, fields[1]: y, "seed": seed, "lost": outcome, "verdict": verdict})
    return scored_frame(rows)


def edges_of(table: pd.DataFrame) -> list[Edge]:
    return [Edge.from_plain(plain) for plain in table.attrs["map"]["edges"]]


def legend(figure: Any) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_the_boundary_lies_at_the_step_and_within_its_band() -> None:
    table = map_table(grid_of(lambda x, y, seed: float(x > 0.5)), "lr", "depth")
    (edge,) = edges_of(table)
    (line,) = edge.lines
    assert (line[:, 0] > 0.4).all()
    assert (line[:, 0] < 0.8).all()
    assert [line[:, 1].min(), line[:, 1].max()] == [1, 3]  # the range of the cells
    outline = np.concatenate(edge.band)
    assert outline[:, 0].min() < line[:, 0].min()
    assert outline[:, 0].max() > line[:, 0].max()
    fitted = table.set_index(["lr", "depth"])[["fitted", "fitted_low", "fitted_high"]]
    assert (fitted["fitted"].xs(0.2) < 0.1).all()
    assert (fitted["fitted"].xs(1.6) > 0.9).all()
    assert (fitted["fitted_low"] <= fitted["fitted"]).all()
    assert (fitted["fitted"] <= fitted["fitted_high"]).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_cells_that_agree_have_no_boundary(value: float) -> None:
    (edge,) = edges_of(map_table(grid_of(lambda x, y, seed: value), "lr", "depth"))
    assert edge == Edge([], [], [])
    figure = plot_map(grid_of(lambda x, y, seed: value), "lr", "depth", "lost")
    assert legend(figure) == []


def test_a_boundary_that_is_not_certain_is_not_drawn() -> None:
    """One seed of eight is lost at one point."""
    figure = plot_map(grid_of(lambda x, y, seed: float((x, y, seed) == (0.8, 2, 0))), "lr", "depth", "lost")
    assert "P(lost) = 1/2" not in legend(figure)
    assert "no boundary P(lost) = 1/2 is certain" in " ".join(figure.texts[0].get_text().split())
    assert "no boundary P(lost) = 1/2 is certain enough to be drawn" in figure.get_label()


def test_dashed_lines_without_a_solid_one_are_explained() -> None:
    """At the largest learning rate a little fewer than half of the seeds are lost."""
    figure = plot_map(grid_of(lambda x, y, seed: float(x > 1 and seed < 3)), "lr", "depth", "lost")
    assert legend(figure) == ["95% band of P(lost) = 1/2, simultaneous along it"]
    assert "P(lost) = 1/2 may be reached between the dashed lines; no boundary" in figure.get_label()


def test_the_boundary_ends_where_most_networks_cannot_be_judged() -> None:
    """It runs along depth 3.5, and would go on to the largest learning rate; some networks are judged everywhere."""

    def outcome(x: float, y: float, seed: int) -> float:
        return np.nan if x > 1 and seed > 1 else float(y > 3)

    depths = (1, 2, 3, 4, 5, 6)
    (whole,) = edges_of(map_table(grid_of(lambda x, y, seed: float(y > 3), ys=depths), "lr", "depth"))
    assert max(line[:, 0].max() for line in whole.lines) == pytest.approx(3.2)
    (edge,) = edges_of(map_table(grid_of(outcome, ys=depths), "lr", "depth"))
    assert edge.lines
    for part in (*edge.lines, *edge.band):
        assert (part[:, 0] < 1.6).all()


def test_points_that_cannot_be_judged_have_no_rate() -> None:
    table = map_table(grid_of(lambda x, y, seed: np.nan if x > 1 else float(x > 0.3)), "lr", "depth")
    assert table.loc[table["lr"] > 1, "fitted"].isna().all()


def test_cells_that_are_not_computed_yet_do_not_move_the_boundary() -> None:
    scores = grid_of(lambda x, y, seed: float(x > 0.5))
    requested = pd.concat(
        [scores[["cell", *FIELDS]].assign(cell=f"{more}-" + scores["cell"], seed=8 + more) for more in range(3)]
    )
    tables = [map_table(scores, "lr", "depth", requested=cells) for cells in (None, requested)]
    (alone,), (beside,) = map(edges_of, tables)
    assert len(alone.lines) == 1
    np.testing.assert_array_equal(beside.lines[0], alone.lines[0])
    np.testing.assert_array_equal(np.concatenate(beside.band), np.concatenate(alone.band))


def test_a_gap_in_an_axis_is_marked() -> None:
    xs = [0.1, 0.14, 0.2, 0.28, 2.8, 4.0, 5.6]
    (edge,) = edges_of(map_table(grid_of(lambda x, y, seed: float(x > 1), xs=xs), "lr", "depth"))
    assert edge.lines
    assert all(marks.all() for marks in edge.interpolated)
    figure = plot_map(grid_of(lambda x, y, seed: float(x > 1), xs=xs), "lr", "depth", "lost")
    assert "P(lost) = 1/2, across a gap between values" in legend(figure)


def test_panels_have_their_own_boundaries() -> None:
    first = grid_of(lambda x, y, seed: float(x > 0.3)).assign(delta=1.0)
    second = grid_of(lambda x, y, seed: 0.0).assign(delta=2.0)
    both = pd.concat([first, second.assign(cell="b" + second["cell"])], ignore_index=True)
    both.attrs = first.attrs
    table = map_table(both, "lr", "depth")
    assert [len(edge.lines) for edge in edges_of(table)] == [1, 0]
    some = table[table["delta"] == 2.0]
    assert "P(lost) = 1/2" not in legend(plot_map(some))
    assert "P(lost) = 1/2" in legend(plot_map(table))


def test_a_single_value_along_an_axis_has_a_line_across_it() -> None:
    (edge,) = edges_of(map_table(grid_of(lambda x, y, seed: float(x > 0.5), ys=(2,)), "lr", "depth"))
    (line,) = edge.lines
    assert line[0, 0] == line[1, 0]
    assert 0.4 < line[0, 0] < 0.8
    assert line[:, 1].tolist() == [1.5, 2.5]
    assert len(edge.band) == 2


def test_counts_need_no_fit() -> None:
    scores = grid_of(lambda x, y, seed: float(x > 0.5))
    table = map_table(scores, "lr", "depth", surface="counts")
    assert table["fitted"].isna().all()
    assert table.attrs["map"]["edges"] == []
    assert legend(plot_map(scores, "lr", "depth", "lost", surface="counts"))[0] == "P(lost) = 1/2"
    with pytest.raises(AnalysisError, match="surface = 'gam': must be one of gp, counts"):
        map_table(scores, "lr", "depth", surface="gam")


def test_many_points_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.plot.aggregate.MAX_FITTED_POINTS", 17)
    figure = plot_map(grid_of(lambda x, y, seed: float(x > 0.5)), "lr", "depth", "lost")
    assert legend(figure)[:2] == ["P(lost) = 1/2", "its 95% interval (Wilson)"]


def test_a_table_keeps_its_boundary_in_a_file(tmp_path: Path) -> None:
    table = map_table(grid_of(lambda x, y, seed: float(x > 0.5)), "lr", "depth")
    table.to_parquet(tmp_path / "table.parquet")
    again = pd.read_parquet(tmp_path / "table.parquet")
    (before,), (after,) = edges_of(table), edges_of(again)
    np.testing.assert_array_equal(before.lines[0], after.lines[0])
    assert edge_label("band") in legend(plot_map(again))


def failing(rng: np.random.Generator) -> pd.DataFrame:
    """Return scores of 8 seeds with 25 late tasks each, which fail at a rate that rises from 0 with lr."""
    scores = grid_of(lambda x, y, seed: np.nan if y == 3 and x > 1 else float(x > 1))
    rate = np.clip(np.log2(scores["lr"] / 0.4) / 4, 0, 1)
    failures = rng.binomial(25, rate).astype(float)
    return scores.assign(late_tasks=25, late_failures=failures, late_failure_rate=failures / 25)


def test_the_fitted_failure_rate_is_that_of_the_surface_of_failures() -> None:
    scores = failing(np.random.default_rng(0))
    table = map_table(scores, "lr", "depth", ["failure_rate", "lost"])
    rates = table[table["score"] == "failure_rate"].set_index(["lr", "depth"])
    judged = scores[scores["lost"].notna()]
    surface = fit_surface(
        judged[["lr", "depth"]], judged["late_failures"], judged["late_tasks"],
        clusters=judged["seed"], scales=("log", "linear"),
    )  # fmt: skip
    shown = rates[rates["n"] > 0]
    expected = np.column_stack(surface.rate(np.array(shown.index.to_list())))
    np.testing.assert_allclose(shown[["fitted", "fitted_low", "fitted_high"]], expected)
    assert rates.loc[rates["n"] == 0, "fitted"].isna().all()
    lost = map_table(scores, "lr", "depth", "lost")
    pd.testing.assert_frame_equal(table[table["score"] == "lost"].reset_index(drop=True), lost)


def test_points_without_a_failure_show_the_fitted_interval() -> None:
    """The bootstrap of 8 zeros is the interval from 0 to 0; that of the surface has a width."""
    scores = failing(np.random.default_rng(0))
    table = map_table(scores, "lr", "depth", "failure_rate").set_index(["lr", "depth"])
    assert table.loc[(0.2, 2), ["value", "low", "high"]].tolist() == [0, 0, 0]
    assert table.loc[(0.2, 2), "fitted_high"] > 0
    (norm, value) = Normalize(0, 1), VALUES["failure_rate"]
    grid, (column,) = columns_of(map_table(scores, "lr", "depth", "failure_rate"))
    texts = {line.kind: line.text for lines in writing_on(column.panels[0], value, norm).values() for line in lines}
    assert "fitted" in texts
    assert "interval" not in texts
    point = list(grid.y.values).index(2), list(grid.x.values).index(1.6)
    low, high = table.loc[(1.6, 2), ["fitted_low", "fitted_high"]]
    (written,) = (line.text for line in writing_on(column.panels[0], value, norm)[point] if line.kind == "fitted")
    assert written == f"{low:.2f}\N{EN DASH}{high:.2f}"
    figure = plot_map(scores, "lr", "depth", "failure_rate", width=12)
    assert "last line: pointwise 95% interval of the rate, by a surface fitted to the failed" in figure.get_label()
    counted = plot_map(scores, "lr", "depth", "failure_rate", surface="counts", width=12)
    assert "95% interval over seeds" in counted.get_label()
    with pytest.raises(AnalysisError, match="`scores` lacks late_failures, to which the failure rate is fitted"):
        map_table(scores.drop(columns="late_failures"), "lr", "depth", "failure_rate")


@pytest.mark.parametrize("surface", ["gp", "counts"])
def test_the_boundary_is_at_the_chosen_level(surface: str) -> None:
    """Three of eight seeds are lost from 0.4 on, all from 1.6 on."""
    scores = grid_of(lambda x, y, seed: float(x > 1 or (x > 0.3 and seed < 3)))
    lines = {}
    for level in (0.2, 0.8):
        figure = plot_map(scores, "lr", "depth", "lost", surface=surface, level=level)
        assert legend(figure)[0] == f"P(lost) = {level:g}"
        solid = [line.get_xdata() for line in figure.axes[0].get_lines() if line.get_linestyle() == "-"]
        lines[level] = np.median(np.concatenate(solid))
    assert lines[0.2] < 0.4 < 0.8 < lines[0.8] < 1.6


def test_a_level_is_kept_in_the_table_and_checked() -> None:
    scores = grid_of(lambda x, y, seed: float(x > 0.5))
    table = map_table(scores, "lr", "depth", level=0.25)
    assert "95% band of P(lost) = 0.25, simultaneous along it" in legend(plot_map(table))
    with pytest.raises(AnalysisError, match=r"this table has the boundary P\(lost\) = 0.25, not 0.5; call map_table"):
        plot_map(table, level=0.5)
    for level in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(AnalysisError, match=f"level = {level:g}: must be above 0 and below 1"):
            map_table(scores, "lr", "depth", level=level)
    never = grid_of(lambda x, y, seed: float((x, y, seed) == (0.8, 2, 0)))
    assert "no boundary P(lost) = 0.9 is certain" in plot_map(never, "lr", "depth", level=0.9).get_label()
