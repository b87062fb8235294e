"""The fitted surfaces of a report: they are those of the map, and the page draws them without computing any."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_store import write_store
from playwright.sync_api import Page
from report_tools import Report, change, points, set_criterion

from analysis.data import load_requested
from analysis.plot import Edge, map_table
from analysis.plot.aggregate import other_fields, panel_cells, placed_cells
from analysis.plot.axes import Grid, axis_of
from analysis.plot.edge import fit_lost, fit_panel
from analysis.report import write_report
from analysis.report.data import ReportData, collect
from analysis.report.lookup import MAX_TABULATED, interval_arrays
from analysis.report.surfaces import LEVELS
from analysis.scoring import LossCriterion, score, wilson
from analysis.surface import boundary_band, fit_surface
from lop_sweep.config import CellConfig

LRS, DEPTHS, DELTAS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6), (1, 2, 3, 4), (0.0, 1.5)
PARTS = ("line", "gap", "band")


def stepped(config: CellConfig, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return losses of which the late ones fail beyond a step in lr, which lies lower where networks are deep.

    Fresh networks of depth 4 fail where delta is 0.
    """
    losses = 0.05 * rng.lognormal(0, 0.1, config.tasks)
    edge = 0.6 / config.depth**0.5
    late = rng.random(config.tasks) < 1 / (1 + (edge / config.lr) ** 4)
    losses[late & (np.arange(config.tasks) >= config.tasks // 2)] += 1.0
    return losses, 2.0 if config.depth == 4 and config.delta == 0 else 0.05


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lr x depth x delta x 4 seeds; one point is not finished."""
    cells = [
        CellConfig(lr=lr, depth=depth, delta=delta, seed=seed, tasks=80, width=8, fresh_baseline=20)
        for lr, depth, delta, seed in itertools.product(LRS, DEPTHS, DELTAS, range(4))
    ]
    missing = [cell for cell in cells if (cell.lr, cell.depth) == (0.05, 1)]
    finished = [cell for cell in cells if cell not in missing]
    return write_store(tmp_path_factory.mktemp("stepped") / "sweep", finished, stepped, missing)


@pytest.fixture(scope="module")
def collected(sweep: Path) -> ReportData:
    return collect(sweep, LossCriterion())


@pytest.fixture(scope="module")
def file(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(sweep, path)
    return path


@pytest.fixture(scope="module")
def scored(sweep: Path) -> pd.DataFrame:
    return score(sweep)


@pytest.fixture(scope="module")
def table(sweep: Path, scored: pd.DataFrame) -> pd.DataFrame:
    return map_table(scored, "lr", "depth", requested=load_requested(sweep))


def fit_of(data: ReportData, x: str = "lr", y: str = "depth", **at: int) -> dict[str, Any]:
    (fit,) = [
        fit
        for fit in data.about["surfaces"]["fits"]
        if (fit["x"], fit["y"]) == (x, y) and at.items() <= fit["at"].items()
    ]
    return fit


def rates_of(data: ReportData, fit: dict[str, Any], name: str, size: int = 24) -> np.ndarray:
    array = data.arrays[f"fit.{name}"]
    assert isinstance(array, np.ndarray)
    return array[fit["start"] : fit["start"] + 3 * size].reshape(3, size)


def lines_of(data: ReportData, fit: dict[str, Any], level: float, part: str) -> np.ndarray:
    start, end = fit["boundaries"][LEVELS.index(level)][part]
    return np.column_stack([data.arrays[f"fit.{axis}"][start:end] for axis in "xy"])  # type: ignore[index]


def on_page(lines: list[np.ndarray]) -> np.ndarray:
    """Return lines of a map in the page's coordinates, on which lr is its logarithm, with NaN after each."""
    placed = [np.vstack([np.column_stack([np.log10(x), y]), [[np.nan, np.nan]]]) for x, y in (line.T for line in lines)]
    return np.concatenate([np.empty((0, 2)), *placed])


@pytest.mark.parametrize("delta", DELTAS)
def test_rates_and_boundary_are_those_of_the_map(collected: ReportData, table: pd.DataFrame, delta: float):
    fit = fit_of(collected, delta=DELTAS.index(delta))
    rows = table[table["delta"] == delta]
    expected = rows[["fitted", "fitted_low", "fitted_high"]].to_numpy().T
    np.testing.assert_allclose(rates_of(collected, fit, "lost"), expected, rtol=1e-6)
    assert np.isnan(expected).any()
    (plain,) = [edge for edge in table.attrs["map"]["edges"] if edge["key"] == {"delta": delta}]
    pieces = Edge.from_plain(plain).pieces()
    assert pieces["line"]
    assert pieces["band"]
    for part in PARTS:
        drawn = lines_of(collected, fit, 0.5, part)
        np.testing.assert_allclose(drawn, on_page(pieces[part]), rtol=1e-5, atol=1e-6)


def test_every_level_has_the_boundary_of_the_surface(collected: ReportData, sweep: Path, scored: pd.DataFrame):
    """Against `boundary_band` itself, at the resolution of the map."""
    fit = fit_of(collected, delta=1)
    cells = scored[scored["delta"] == 1.5]
    grid = Grid(axis_of(pd.Series(LRS, name="lr")), axis_of(pd.Series(DEPTHS, name="depth")))
    surface = fit_surface(
        cells[["lr", "depth"]], cells["lost"], np.ones(len(cells)), clusters=cells["seed"], scales=("log", "linear")
    )
    fine = (
        np.exp(np.interp(np.linspace(0, 5, 31), range(6), np.log(LRS))),
        np.interp(np.linspace(0, 3, 19), range(4), DEPTHS),
    )
    levels = {}
    for level in LEVELS:
        drawn = lines_of(collected, fit, level, "line")
        expected = boundary_band(surface, fine, level)
        np.testing.assert_allclose(drawn, on_page(expected.lines), rtol=1e-5, atol=1e-6)
        levels[level] = np.nanmean(drawn[:, 0]) if len(drawn) else np.nan
    assert levels[0.25] < levels[0.5] < levels[0.75]
    index = np.searchsorted(LRS, cells["lr"]) + 6 * np.searchsorted(DEPTHS, cells["depth"])
    rates = fit_lost(cells, index, grid).rates()
    np.testing.assert_allclose(rates_of(collected, fit, "lost"), rates, rtol=1e-6)


def test_failure_rate_is_fitted_to_the_failed_late_tasks(collected: ReportData, sweep: Path, scored: pd.DataFrame):
    cells = placed_cells(scored, load_requested(sweep))
    grid, panels = panel_cells(cells, "lr", "depth", other_fields(cells, "lr", "depth"))
    on_map = map_table(scored, "lr", "depth", "failure_rate", requested=load_requested(sweep))
    for number, panel in enumerate(panels):
        own = panel.cells
        failures = own["late_failures"].where(own["lost"].notna()).to_numpy(float)
        rates = fit_panel(own, failures, own["late_tasks"].to_numpy(float), panel.index, grid).rates()
        shown = rates_of(collected, fit_of(collected, delta=number), "failures")
        np.testing.assert_allclose(shown, rates, rtol=1e-6)
        rows = on_map[on_map["delta"] == DELTAS[number]]
        np.testing.assert_allclose(shown, rows[["fitted", "fitted_low", "fitted_high"]].to_numpy().T, rtol=1e-6)
        mean = own[own["lost"].notna()].groupby(["depth", "lr"])["late_failure_rate"].mean()
        assert np.abs(shown[0][~np.isnan(shown[0])] - mean).max() < 0.15
    assert np.isnan(shown).sum() == 3  # the point that is not computed
    assert np.isnan(rates_of(collected, fit_of(collected, delta=0), "failures")[0, 18:]).all()  # untrainable


def test_opening_panels_are_fitted_first_up_to_the_limits(sweep: Path, monkeypatch: pytest.MonkeyPatch):
    def fitted() -> list[tuple[str, str]]:
        fits = collect(sweep, LossCriterion()).about["surfaces"]["fits"]
        return [(fit["x"], fit["y"]) for fit in fits]

    pairs = fitted()
    assert pairs == [("lr", "depth")] * 2 + [("depth", "delta")] * 6 + [("lr", "delta")] * 4
    monkeypatch.setattr("analysis.report.surfaces.MAX_PANELS", 3)
    assert fitted() == pairs[:3]
    monkeypatch.setattr("analysis.report.surfaces.MAX_POINTS", 48)
    assert fitted() == pairs[:2]
    monkeypatch.setattr("analysis.report.surfaces.MAX_CELLS", 10)
    assert fitted() == pairs[:1]
    monkeypatch.setattr("analysis.plot.aggregate.MAX_FITTED_POINTS", 23)
    assert ("lr", "depth") not in fitted()


def test_intervals_in_percent_are_wilsons():
    arrays = interval_arrays(MAX_TABULATED)
    pairs = [(k, n) for n in range(1, MAX_TABULATED + 1) for k in range(n + 1)]
    low, high = wilson(*np.array(pairs).T)
    np.testing.assert_array_equal(arrays["interval.low"], np.rint(100 * low))
    np.testing.assert_array_equal(arrays["interval.high"], np.rint(100 * high))


def drawn_on(page: Page) -> dict[str, np.ndarray]:
    """Return the parts of the boundary that the map shows."""
    script = "plot.data.filter(t => t.mode === 'lines' && t.name).map(t => [t.name, Array.from(t.x), Array.from(t.y)])"
    return {name: np.column_stack([x, y]).astype(float) for name, x, y in page.evaluate(script)}


def test_page_draws_the_boundary_at_the_chosen_level(report: Report, file: Path, collected: ReportData):
    page = report(file, "#at.delta=1.5&score=lost")
    fit = fit_of(collected, delta=1)
    for index, level in enumerate(LEVELS):
        page.select_option("#level", str(index))
        change(page, level=index)
        drawn = drawn_on(page)
        for part in PARTS:
            expected = lines_of(collected, fit, level, part)
            np.testing.assert_array_equal(drawn.get(part, np.empty((0, 2))), expected)
    assert {"line", "band"} <= set(drawn_on(report(file, "#at.delta=1.5&level=0.5")))
    assert "95% band of P(lost) = 1/2, simultaneous along it" in page.inner_text("#legend")
    report(file, "#at.delta=1.5&level=0.25")
    assert page.evaluate("window.lopReport.state().level") == 1
    assert "P(lost) = 0.25" in page.inner_text("#legend")
    caption = page.evaluate("window.lopReport.caption()")
    assert "line: P(lost) = 0.25; dashed: 95% band of P(lost) = 0.25, simultaneous along it" in caption
    change(page, boundary=False)
    assert drawn_on(page) == {}


def test_a_band_without_a_line_is_explained(report: Report, tmp_path: Path):
    """As on a map: at the largest learning rate a little fewer than half of the seeds are lost."""

    def few(config: CellConfig, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        losses = 0.05 * rng.lognormal(0, 0.1, config.tasks)
        losses[config.tasks // 2 :] += float(config.lr > 1 and config.seed < 3)
        return losses, 0.05

    cells = [
        CellConfig(lr=lr, depth=depth, seed=seed, tasks=40, width=8, fresh_baseline=20)
        for lr, depth, seed in itertools.product(LRS, DEPTHS, range(8))
    ]
    write_report(write_store(tmp_path / "sweep", cells, few), tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#score=lost&level=0.5")
    assert set(drawn_on(page)) == {"band"}
    expected = "P(lost) = 1/2 may be reached between the dashed lines; no boundary is certain enough to be drawn"
    assert page.locator("#legend li").all_inner_texts()[-2:] == [expected, "k/n: k of n networks lost plasticity"]


def test_swapped_axes_have_the_same_boundary_and_rates(report: Report, file: Path, collected: ReportData):
    page = report(file, "#x=depth&y=lr&at.delta=1.5&score=fitted_lost")
    fit = fit_of(collected, delta=1)
    np.testing.assert_array_equal(drawn_on(page)["line"], lines_of(collected, fit, 0.5, "line")[:, ::-1])
    shown = points(page)[["value", "low", "high"]].to_numpy(float).T.reshape(3, 6, 4)
    expected = rates_of(collected, fit, "lost").reshape(3, 4, 6).transpose(0, 2, 1)
    np.testing.assert_array_equal(shown, expected)


def test_other_thresholds_have_no_fitted_numbers(report: Report, file: Path, collected: ReportData):
    page = report(file, "#at.delta=1.5&score=fitted_failure_rate&point.x=0.4&point.y=2")
    shown = points(page)[["value", "low", "high"]].to_numpy(float).T
    np.testing.assert_array_equal(shown, rates_of(collected, fit_of(collected, delta=1), "failures"))
    assert "fitted P(lost)" in page.inner_text("#facts")
    for other in (LossCriterion(margin=0.3), LossCriterion("mean")):
        set_criterion(page, other)
        assert drawn_on(page) == {}
        assert points(page)["value"].isna().all()
        assert "fitted P(lost)" not in page.inner_text("#facts")
        assert "they belong to the definition and the thresholds that this report was made with" in page.inner_text(
            "#legend"
        )
    set_criterion(page, LossCriterion(recover=7))  # which failure rates do not use
    assert "line" in drawn_on(page)
    change(page, at={"delta": -1})
    assert drawn_on(page) == {}
    assert "pooled slices are not fitted" in page.inner_text("#legend")


def test_failure_rates_of_other_definitions_need_their_own_thresholds(report: Report, sweep: Path, tmp_path: Path):
    """Verdicts by the trend do not depend on the factor, but the failure rate does."""
    write_report(sweep, tmp_path / "report.html", definition="trend")
    page = report(tmp_path / "report.html", "#at.delta=1.5&score=fitted_failure_rate")
    assert points(page)["value"].notna().any()
    set_criterion(page, LossCriterion("trend", factor=3.0))
    assert points(page)["value"].isna().all()
    change(page, score="fitted_lost")
    assert points(page)["value"].notna().any()


def test_slices_that_were_not_fitted_say_so(
    report: Report, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("analysis.report.surfaces.MAX_PANELS", 1)
    write_report(sweep, tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#score=lost")
    assert page.evaluate("window.lopReport.state().at.delta") == 1
    assert "line" in drawn_on(page)
    change(page, at={"delta": 0})
    assert drawn_on(page) == {}
    assert "this slice is beyond the limits" in page.inner_text("#legend")
