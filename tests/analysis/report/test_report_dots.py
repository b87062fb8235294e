"""The report of a random search, as dots at exact values, and the texts of maps: nothing dropped or overprinted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_store import losing, write_store
from playwright.sync_api import Page
from report_tools import Report, change

from analysis.data import load_cells
from analysis.plot import map_table
from analysis.report import write_report
from analysis.scoring import score
from lop_sweep.config import CellConfig


def steep(config: CellConfig, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return losses that rise for good where the learning rate is above 0.1."""
    final = 0.05 * rng.lognormal(0, 0.3, config.tasks)
    if config.lr > 0.1:
        final[4:] += 1.0
    return final, 0.03


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learning rate and delta drawn at random, depth and width chosen; two seeds, 22 tasks."""
    rng = np.random.default_rng(0)
    cells = []
    for _ in range(40):
        lr, delta = float(np.exp(rng.uniform(np.log(1e-3), np.log(3)))), float(rng.uniform(0.5, 3))
        depth, width = int(rng.choice([1, 2])), int(rng.choice([8, 16]))
        cells += [
            CellConfig(lr=lr, delta=delta, depth=depth, width=width, seed=seed, tasks=22, fresh_baseline=3)
            for seed in (0, 1)
        ]
    return write_store(tmp_path_factory.mktemp("searched") / "sweep", cells, steep)


@pytest.fixture(scope="module")
def searched_file(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "searched.html"
    write_report(searched, path)
    return path


def trace(page: Page, name: str) -> list[dict[str, Any]]:
    return page.evaluate(f"JSON.parse(JSON.stringify(plot.data.filter(t => t.name === '{name}')))")


def test_sampled_fields_are_slices_that_open_pooled(report: Report, searched_file: Path):
    page = report(searched_file, "#x=lr&y=depth")
    assert page.input_value("#at-delta") == "-1"
    assert page.input_value("#at-width") in ("0", "1")
    page = report(searched_file, "#x=lr&y=delta")
    assert page.locator("#slices select").count() == 2


def test_dots_are_at_the_values_of_the_configurations(report: Report, searched: Path, searched_file: Path):
    page = report(searched_file, "#x=lr&y=depth&at.width=16&at.delta=all&score=late_ce")
    table = map_table(score(searched, where={"width": [16]}), "lr", "depth", "late_ce", surface="counts")
    (dots,) = trace(page, "dots")
    drawn = np.column_stack([dots["x"], dots["y"], dots["marker"]["color"]])
    expected = np.column_stack([np.log10(table["lr"]), table["depth"], np.log10(table["value"])])
    np.testing.assert_allclose(drawn[np.lexsort(drawn.T)], expected[np.lexsort(expected.T)], rtol=1e-5)
    ends = [dots["marker"]["cmin"], dots["marker"]["cmax"]]
    np.testing.assert_allclose(ends, [expected[:, 2].min(), expected[:, 2].max()], rtol=1e-5)
    assert "dots: configurations at their own values" in page.inner_text("#legend")
    assert "k/n" not in page.inner_text("#legend")


def test_the_boundary_among_dots_is_that_of_the_map(report: Report, searched: Path, searched_file: Path):
    page = report(searched_file, "#x=lr&y=depth&at.width=16&at.delta=all")
    table = map_table(score(searched, where={"width": [16]}), "lr", "depth")
    (edge,) = table.attrs["map"]["edges"]
    lines = np.concatenate([np.array(line) for line in edge["lines"]])
    known = np.array(page.evaluate("Array.from(plot.data.find(t => t.name === 'line').x)"), float)
    np.testing.assert_allclose(known[~np.isnan(known)], np.log10(lines[:, 0]), rtol=1e-5)


def test_a_map_without_bins_has_no_dots(report: Report, made_file: Path):
    page = report(made_file, "#x=lr&y=depth")
    assert trace(page, "dots") == []
    assert "dots:" not in page.inner_text("#legend")


@pytest.mark.parametrize("width", [1366, 700, 390])
def test_tick_labels_of_the_page_never_overlap(report: Report, tmp_path: Path, width: int):
    rates = (0.05, 0.1, 0.11, 0.12, 0.125, 0.13, 0.8, 1.6)
    cells = [CellConfig(lr=lr, depth=depth, tasks=22, fresh_baseline=3) for lr in rates for depth in (1, 2)]
    write_report(write_store(tmp_path / "sweep", cells, steep), tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#x=lr&y=depth")
    page.set_viewport_size({"width": width, "height": 768})
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    sides = page.evaluate(
        "[...plot.querySelectorAll('.xtick text')].map(one => one.getBoundingClientRect()).map(b => [b.left, b.right])"
    )
    page.set_viewport_size({"width": 1366, "height": 768})
    assert len(sides) >= 2
    assert all(one[1] < other[0] for one, other in pairwise(sorted(sides)))


LINES_ON_SCREEN = """() => {
    const { xaxis, yaxis, _size: size } = plot._fullLayout;
    const box = plot.getBoundingClientRect();
    const onScreen = (x, y) => [box.left + size.l + xaxis.l2p(x), box.top + size.t + yaxis.l2p(y)];
    const parts = plot.data.filter(t => ['line', 'gap', 'band'].includes(t.name));
    return parts.map(t => Array.from(t.x).map((x, i) => onScreen(x, t.y[i])));
}"""
"""The lines of the boundary, each (points, 2) in pixels, with null at their ends."""


def test_counts_are_clear_of_the_boundary(report: Report, tmp_path: Path):
    cells = [
        CellConfig(lr=0.025 * 2**step, depth=depth, seed=seed, tasks=22, fresh_baseline=3)
        for step in range(6) for depth in (1, 2, 3) for seed in range(3)
    ]  # fmt: skip
    write_report(write_store(tmp_path / "sweep", cells, steep), tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#x=lr&y=depth")
    (texts,) = trace(page, "texts")
    assert set(texts["text"]) == {"0/3", "3/3"}
    boxes = page.evaluate("[...plot.querySelectorAll('.textpoint')].map(one => one.getBoundingClientRect().toJSON())")
    lines = [np.array(line, float) for line in page.evaluate(LINES_ON_SCREEN)]
    assert len(boxes) == 18
    assert lines
    ends = np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in lines])
    places = (ends[:, :1] + np.linspace(0, 1, 50)[:, None] * (ends[:, 1:] - ends[:, :1])).reshape(-1, 2)
    places = places[~np.isnan(places).any(axis=1)]
    assert len(places) > 50
    for box in boxes:
        inside = (
            (places[:, 0] > box["left"]) & (places[:, 0] < box["right"])
            & (places[:, 1] > box["top"]) & (places[:, 1] < box["bottom"])
        )  # fmt: skip
        assert not inside.any()
    change(page, numbers=False)
    assert trace(page, "texts") == []


def test_a_single_onset_has_a_single_tick(report: Report, tmp_path: Path):
    def once(config: CellConfig, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        return np.where(np.arange(config.tasks) >= (9 if config.lr == 0.4 else 99), 1.0, 0.01), 0.01

    cells = [CellConfig(lr=lr, depth=depth, tasks=22, fresh_baseline=3) for lr in (0.1, 0.4) for depth in (1, 2)]
    write_report(write_store(tmp_path / "sweep", cells, once), tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#x=lr&y=depth&score=onset")
    bar = page.evaluate("JSON.parse(JSON.stringify(plot.data[0].colorbar))")
    assert (bar["tickvals"], bar["ticktext"]) == ([10], ["10"])
    change(page, score="late_ce")
    assert page.evaluate("plot.data[0].colorbar.tickvals.length") > 1


def test_values_beyond_the_colours_are_named(report: Report, tmp_path: Path):
    cells = [CellConfig(lr=lr, depth=depth, tasks=22, fresh_baseline=3) for lr in (0.05, 0.4) for depth in (1, 2)]
    write_report(write_store(tmp_path / "sweep", cells, steep), tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#x=lr&y=depth&score=excess")
    assert "values beyond the colours: up to 1" in page.inner_text("#legend")
    change(page, score="lost")
    assert "beyond the colours" not in page.inner_text("#legend")


def test_tiny_numbers_leave_room_for_the_label_of_the_bar(report: Report, tmp_path: Path):
    cells = [CellConfig(lr=lr, depth=depth, tasks=22, fresh_baseline=3) for lr in (0.05, 0.1) for depth in (1, 2)]

    def creeping(config: CellConfig, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        return 0.01 + 1e-5 * config.depth * (0.15 - config.lr) * np.arange(config.tasks), 0.01

    write_report(write_store(tmp_path / "sweep", cells, creeping), tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#x=lr&y=depth&score=slope")
    right = "one => one.getBoundingClientRect().right"
    title, figure = (page.locator(of).evaluate(right) for of in ("#plot .cbtitle text", "#plot"))
    assert title <= figure
    assert "µ" not in page.locator("#plot .cbaxis").text_content()


def test_the_page_says_that_points_can_be_clicked(report: Report, made_file: Path):
    assert "Click or tap it for its curves" in report(made_file).inner_text("#hint")


def test_curves_explain_only_the_lines_that_they_have(report: Report, tmp_path: Path):
    cells = [CellConfig(lr=lr, depth=depth, tasks=22, fresh_baseline=0) for lr in (0.05, 0.4) for depth in (1, 2)]
    write_report(write_store(tmp_path / "bare", cells, losing), tmp_path / "bare.html")
    page = report(tmp_path / "bare.html", "#x=lr&y=depth&point.x=0.05&point.y=1")
    note = page.inner_text("#curve-note")
    assert "One line per seed." in note
    assert "Dashed" not in note
    assert "Triangles" not in note
    cells = [CellConfig(lr=lr, depth=depth, tasks=22, fresh_baseline=3) for lr in (0.05, 0.4) for depth in (1, 2)]
    folder = write_store(tmp_path / "full", cells, steep)
    write_report(folder, tmp_path / "full.html")
    page = report(tmp_path / "full.html", "#x=lr&y=depth&point.x=0.05&point.y=1")
    assert "Dashed: mean of the fresh networks" in page.inner_text("#curve-note")
    assert "Triangles" not in page.inner_text("#curve-note")
    change(page, point={"x": 1, "y": 0})
    assert "Triangles: onsets." in page.inner_text("#curve-note")
    assert len(load_cells(folder)) == 4
