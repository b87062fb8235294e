"""The report in a real browser, from disk: it shows the numbers that Python computes, and every control works.

Needs Chromium: the one on the PATH, or the one that the environment variable LOP_CHROMIUM names.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_store import MEASURED_VALUES, losing, write_store
from playwright.sync_api import Browser, Page
from report_tools import Report, change, id_of, points, set_criterion, wait

from analysis.data import load_cells, load_requested, load_tasks
from analysis.plot import CATEGORIES, map_table
from analysis.report import write_report
from analysis.scoring import VERDICTS, LossCriterion, score, wilson
from lop_sweep.config import FIELDS, CellConfig

CRITERIA = [
    LossCriterion(),
    LossCriterion(margin=0.3, factor=4.0),
    LossCriterion(last=3),
    LossCriterion(definition="onset", hold=2, recover=4),
    LossCriterion(definition="trend", margin=0.05),
    LossCriterion(chance=0.4, hold=5, recover=3, margin=0.0, factor=0.5, last=20),
]


def expected(directory: Path, criterion: LossCriterion, score_name: str) -> np.ndarray:
    """Return the values of the map of depth over lr where delta is 1.5, as figures have them."""
    scored = score(directory, where={"delta": [1.5]}, criterion=criterion)
    requested = load_requested(directory).query("delta == 1.5")
    return map_table(scored, "lr", "depth", score_name, requested=requested)["value"].to_numpy()


def select_point(page: Page, x: int, y: int) -> None:
    place = page.evaluate("point => window.lopReport.placeOf(point)", {"x": x, "y": y})
    page.mouse.click(place["left"], place["top"])
    page.locator("#details h2").wait_for()


@pytest.mark.parametrize("criterion", CRITERIA, ids=str)
def test_map_shows_what_python_computes_for_every_score(
    report: Report, made: Path, made_file: Path, criterion: LossCriterion
):
    page = report(made_file)
    names = [*MEASURED_VALUES, *CATEGORIES]
    requested = load_requested(made)
    table = map_table(score(made, criterion=criterion), "lr", "depth", names, requested=requested)
    wanted = [(name, delta) for name in names for delta in (0.0, 1.5)]
    set_criterion(page, criterion)
    shown = page.evaluate(
        "wanted => wanted.map(([score, delta]) => window.lopReport.pointsOf({score, at: {delta}}))",
        [(name, int(delta > 0)) for name, delta in wanted],
    )
    for (name, delta), of_page in zip(wanted, map(pd.DataFrame, shown), strict=True):
        _compare(of_page, table[(table["score"] == name) & (table["delta"] == delta)], criterion)


def _compare(shown: pd.DataFrame, table: pd.DataFrame, criterion: LossCriterion) -> None:
    name = table["score"].iloc[0]
    for column, of_table in {"cells": "cells", "decidable": "n", "lost": "lost", "defined": "defined"}.items():
        np.testing.assert_array_equal(shown[column], table[of_table], err_msg=f"{name} {column}")
    if name in CATEGORIES:
        assert list(shown["name"]) == list(table["category"])
        np.testing.assert_array_equal(shown["number"], table["matching"])
        np.testing.assert_array_equal(shown["lead"].astype(float), table["lead"])
    else:
        tolerance = _tolerance(name, criterion)
        np.testing.assert_allclose(
            shown["value"].astype(float), table["value"], rtol=tolerance, atol=1e-12, err_msg=name
        )


def _tolerance(name: str, criterion: LossCriterion) -> float:
    """Return the relative tolerance: metrics other than the final CE are float32 where the page takes late means."""
    single = criterion.last is not None and not name.startswith(("excess", "log_ratio", "late_ce"))
    return 1e-5 if single else 1e-9


def test_single_precision_changes_no_count(report: Report, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("analysis.report.sequences.MAX_EXACT_ROWS", 10)
    write_report(made, tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#at.delta=1.5&score=lost")
    for criterion in (LossCriterion(margin=0.2, last=4), LossCriterion(definition="onset", hold=2, recover=4)):
        set_criterion(page, criterion)
        np.testing.assert_array_equal(points(page)["value"].astype(float), expected(made, criterion, "lost"))


def test_drawn_heat_map_is_the_points(report: Report, made_file: Path):
    page = report(made_file)
    change(page, score="saturation")
    drawn = page.evaluate("document.getElementById('plot').data[0].z")
    shown = points(page)["value"].astype(float).to_numpy().reshape(3, 4)
    np.testing.assert_array_equal(np.array(drawn, float), shown)
    assert np.isnan(shown[0, 0])


def test_every_finished_cell_of_a_real_sweep_is_there(report: Report, store_dir: Path, tmp_path: Path):
    write_report(store_dir, tmp_path / "report.html")
    page = report(tmp_path / "report.html")
    found = 0
    for index in range(2):
        change(page, at={"delta": index})
        found += int(points(page)["cells"].sum())
    assert found == len(load_cells(store_dir)) == 24
    assert "diverged" in page.inner_text("#summary")


def test_clicked_point_shows_its_own_numbers(report: Report, made: Path, made_file: Path):
    page = report(made_file, "#at.delta=1.5")
    select_point(page, 2, 1)
    scored = score(made)
    mine = scored.query("lr == 0.8 and depth == 2 and delta == 1.5").set_index("seed").sort_index()
    assert page.inner_text("#details h2") == "lr = 0.8, depth = 2, delta = 1.5"
    rows = page.eval_on_selector_all(
        "#seeds tbody tr", "rows => rows.map(row => [row.dataset.cell, ...[...row.cells].map(c => c.textContent)])"
    )
    assert [row[0] for row in rows] == list(mine["cell"])
    assert [int(row[1]) for row in rows] == list(mine.index)
    assert [row[2] for row in rows] == list(mine["verdict"])
    assert [_number(row[3]) for row in rows] == pytest.approx(list(mine["excess"]), rel=6e-3)
    onsets = [f"task {task:.0f}" if task > 0 else "> 22" for task in mine["onset"]]
    assert [row[5] for row in rows] == onsets
    assert [row[6] for row in rows] == list(mine["first_symptom"])
    low, high = wilson(mine["lost"].sum(), len(mine))
    facts = page.inner_text("#facts")
    assert f"{mine['lost'].sum():.0f} of 5 networks, 95% interval {100 * low:.0f}% to {100 * high:.0f}%" in facts


def _number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))


def test_curves_and_layers_are_those_of_the_cells(report: Report, made: Path, made_file: Path):
    page = report(made_file, f"#at.delta=1.5&point.x=0.4&point.y=3&cell={id_of(made, lr=0.4, depth=3, seed=2)}")
    tasks = load_tasks(made).query("lr == 0.4 and depth == 3 and delta == 1.5")
    drawn = {
        trace["name"]: trace
        for trace in page.evaluate(
            "curves.data.filter(t => t.yaxis === 'y' && t.name).map(({name, x, y}) => ({name, x, y}))"
        )
    }
    for seed, rows in tasks.groupby("seed"):
        np.testing.assert_array_equal(drawn[f"seed {seed}"]["y"], rows["end_ce"])
        np.testing.assert_array_equal(drawn[f"seed {seed}"]["x"], rows["task"])
    fresh = load_cells(made).query("lr == 0.4 and depth == 3 and delta == 1.5")["fresh_mean_ce"].mean()
    assert drawn["fresh networks"]["y"] == pytest.approx([fresh, fresh])
    layers = page.evaluate("layers.data.map(trace => trace.z)")
    rows = tasks.query("seed == 2")
    for drawn_layers, metric in zip(layers, ("effective_rank", "duplicate_fraction"), strict=True):
        np.testing.assert_allclose(drawn_layers, np.stack(rows[metric]).T, rtol=1e-6)


def test_controls_change_the_map_and_the_address(report: Report, made: Path, made_file: Path):
    page = report(made_file)
    page.select_option("#score", "lost")
    page.select_option("#definition", "onset")
    page.fill("#margin", "0.25")
    page.fill("#factor", "2")
    page.fill("#hold", "2")
    page.fill("#recover", "6")
    page.select_option("#at-delta", label="1.5")
    wait(page, "location.hash.includes('at.delta=1.5') && location.hash.includes('recover=6')")
    criterion = LossCriterion(definition="onset", margin=0.25, factor=2.0, hold=2, recover=6)
    np.testing.assert_allclose(points(page)["value"].astype(float), expected(made, criterion, "lost"))
    assert page.inner_text("#sentence").rstrip(".").lower() == str(criterion).lower()
    page.fill("#last", "0")
    assert page.get_attribute("#last", "aria-invalid") == "true"
    page.fill("#last", "")
    assert page.get_attribute("#last", "aria-invalid") == "false"
    page.click("#reset")
    wait(page, "location.hash.includes('margin=0.1&')")
    assert page.evaluate("window.lopReport.state().criterion.definition") == "rate"


def test_address_restores_the_view(report: Report, made: Path, made_file: Path):
    page = report(made_file)
    page.select_option("#x", "delta")
    page.select_option("#y", "lr")
    page.select_option("#at-depth", label="3")
    page.select_option("#score", "grad_norm")
    page.fill("#last", "4")
    page.select_option("#theme", "dark")
    wait(page, "location.hash.includes('theme=dark')")
    select_point(page, 1, 2)
    page.select_option("#seed", label="3")
    wait(page, f"location.hash.includes('cell={id_of(made, lr=0.8, depth=3, seed=3)}')")
    address, state, shown = page.url, page.evaluate("window.lopReport.state()"), points(page)
    report(made_file, "#" + address.split("#")[1], fresh=True)
    assert page.evaluate("window.lopReport.state()") == state
    assert page.inner_text("#details h2") == "delta = 1.5, lr = 0.8, depth = 3"
    assert page.input_value("#last") == "4"
    pd.testing.assert_frame_equal(points(page), shown)
    page.evaluate("location.hash = '#score=lost&x=nonsense&margin=-3'")
    wait(page, "window.lopReport.state().score === 'lost'")
    assert page.evaluate("window.lopReport.state().criterion.margin") == 0.1


def test_an_address_that_is_entered_while_the_page_writes_its_own_counts(report: Report, made_file: Path):
    page = report(made_file)
    page.evaluate(
        """() => new Promise((done) => {
          const later = window.setTimeout;
          window.setTimeout = (write) => {
            window.setTimeout = later;
            location.hash = '#score=lost';
            write(); // before the event of the new address
            done();
          };
          document.querySelector('#theme').value = 'dark';
          document.querySelector('#theme').dispatchEvent(new Event('change', { bubbles: true }));
        })"""
    )
    wait(page, "window.lopReport.state().score === 'lost'")


def test_keyboard_moves_selects_and_closes(report: Report, made_file: Path):
    page = report(made_file, "#at.delta=1.5")
    page.focus("#map")
    for key in ("ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    said = page.text_content("#live") or ""
    assert said.startswith("lr = 0.4, depth = 1, delta = 1.5. excess: ")
    assert "95% interval" in said
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.locator("#details h2").wait_for()
    assert page.inner_text("#details h2") == "lr = 0.4, depth = 2, delta = 1.5"
    page.keyboard.press("Escape")
    page.locator("#details").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.id") == "map"


def test_hover_names_missing_few_and_untrainable_points(report: Report, made_file: Path):
    page = report(made_file, "#at.delta=0&score=saturation")

    def tip(x: int, y: int) -> str:
        place = page.evaluate("point => window.lopReport.placeOf(point)", {"x": x, "y": y})
        page.mouse.move(place["left"], place["top"])
        return page.inner_text("#tip")

    assert "5 cells not computed yet" in tip(0, 0)
    assert "not reliable" in tip(0, 1)
    shown = points(page)
    failing = [verdicts[VERDICTS.index("untrainable")] for verdicts in shown["verdicts"]]
    point = int(np.argmax(failing))
    assert f"{failing[point]} untrainable" in tip(point % 4, point // 4)
    assert "not computed yet" in page.inner_text("#legend")
    assert "fewer than 3 seeds" in page.inner_text("#legend")
    change(page, score="excess")
    assert "undecidable here" in tip(0, 1)


def test_command_runs_the_very_cell_again(report: Report, made: Path, made_file: Path):
    from lop_sweep.cli import make_parser

    for seed in (3, 2**62 + 1):
        cell = id_of(made, lr=1.6, depth=3, seed=seed)
        page = report(made_file, f"#at.delta=1.5&point.x=1.6&point.y=3&cell={cell}")
        words = shlex.split(page.inner_text("#command"))
        assert words[:2] == ["lop-sweep", "run"]
        options = vars(make_parser().parse_args(words[1:]))
        cell = CellConfig(**{name: options[name] for name in FIELDS if options.get(name) is not None})
        assert cell == CellConfig(depth=3, lr=1.6, delta=1.5, seed=seed, tasks=22, width=8, fresh_baseline=3)
    page.click("#copy")
    wait(page, "document.getElementById('copy').textContent !== 'Copy'")


def test_dark_and_light_follow_the_system_and_the_choice(report: Report, made_file: Path):
    page = report(made_file, scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.select_option("#theme", "light")
    wait(page, f"{background} === 'rgb(255, 255, 255)'")
    assert dark == "rgb(18, 22, 28)"
    report(made_file, "#theme=dark", scheme="light")
    assert page.evaluate(background) == dark


def test_map_and_controls_fit_a_laptop_screen(report: Report, made_file: Path):
    page = report(made_file, "#at.delta=1.5&point.x=0.4&point.y=2")
    assert page.evaluate(
        "document.documentElement.scrollHeight <= innerHeight && document.documentElement.scrollWidth <= innerWidth"
    )
    assert page.evaluate(
        "controls.scrollHeight <= controls.clientHeight && controls.scrollWidth <= controls.clientWidth"
    )
    assert page.evaluate("document.getElementById('map').getBoundingClientRect().width") > 400


CLIPPED = """() => {
  const context = document.createElement('canvas').getContext('2d');
  const isClipped = (element) => {
    const style = getComputedStyle(element);
    context.font = style.font;
    const texts = { SELECT: () => [...element.options].map((option) => option.textContent),
                    INPUT: () => [element.placeholder, element.value] }[element.tagName]?.() ?? [element.textContent];
    const arrows = element.tagName === 'BUTTON' ? 0 : 18;
    const room = element.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - arrows;
    return Math.max(...texts.map((text) => context.measureText(text).width)) > room + 1;
  };
  const fields = [...document.querySelectorAll('header select, #controls select, #controls input, #controls button')];
  const parts = [...document.querySelectorAll('h1, #origin, #controls, #controls label')];
  return [
    ...fields.filter((one) => one.type !== 'checkbox' && one.offsetParent && isClipped(one)),
    ...parts.filter((one) => one.offsetParent && one.scrollWidth > one.clientWidth),
  ].map((one) => one.id || one.textContent);
}"""
"""Names what has less room than its text takes."""


@pytest.mark.parametrize(("width", "scheme"), [(1366, "light"), (390, "dark")])
def test_no_text_is_clipped_in_the_form(width: int, scheme: str, report: Report, tmp_path: Path):
    noise = {"mitigation": "gradient_noise", "tasks": 22, "width": 8, "fresh_baseline": 3}
    cells = [
        CellConfig(depth=depth, lr=lr, gradient_noise_scale=scale, seed=seed, **noise)
        for depth in (1, 2) for lr in (0.1, 0.2) for scale in (0.01, 0.02) for seed in (0, 1)
    ]  # fmt: skip
    path = tmp_path / "named.html"
    write_report(write_store(tmp_path / "sweep", cells, losing), path)
    page = report(path, "#y=gradient_noise_scale", scheme=scheme)
    try:
        page.set_viewport_size({"width": width, "height": 768})
        assert page.locator("#chance").get_attribute("placeholder") == "guessing level"
        assert page.evaluate(CLIPPED) == []
    finally:
        page.set_viewport_size({"width": 1366, "height": 768})


ODD: dict[str, tuple[list[CellConfig], Callable[..., tuple[np.ndarray, float]], str]] = {
    "one cell": ([CellConfig(tasks=1, depth=1)], losing, "1 cell on this map"),
    "all diverged": (
        [CellConfig(tasks=5, depth=d, seed=s) for d in (1, 2) for s in (0, 1)],
        lambda config, rng: (np.full(config.tasks, np.nan), math.nan),
        "4 diverged",
    ),
    "no baseline": (
        [CellConfig(tasks=5, lr=lr, fresh_baseline=0) for lr in (0.1, 0.2)],
        lambda config, rng: (np.ones(config.tasks), 0.0),
        "2 no baseline",
    ),
    "lengths and depths": (
        [CellConfig(tasks=t, depth=d, seed=s) for t in (3, 9) for d in (1, 4) for s in (0, 1)],
        losing,
        "8 cells on this map",
    ),
    "exact zeros": (
        [CellConfig(tasks=6, lr=lr, seed=s) for lr in (0.1, 0.2) for s in (0, 1)],
        lambda config, rng: (np.zeros(config.tasks), 0.1),
        "4 undecided",
    ),
    "random search": (
        [CellConfig(tasks=4, lr=0.01 * 1.05**i, delta=0.05 * (i * 37 % 90), depth=1 + i % 3) for i in range(90)],
        losing,
        "90 cells on this map",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_sweeps_are_shown(report: Report, tmp_path: Path, name: str):
    cells, sequences, said = ODD[name]
    write_report(write_store(tmp_path / "sweep", cells, sequences), tmp_path / "report.html")
    page = report(tmp_path / "report.html")
    fragment = {"lengths and depths": "#x=tasks&y=depth", "random search": "#at.depth=all"}.get(name)
    if fragment:
        page.evaluate(f"location.hash = {fragment!r}")
    wait(page, f"document.getElementById('summary').textContent.includes({said!r})")
    for name in ("excess", "onset", "grad_norm", "verdict"):
        change(page, score=name)
    filled, columns = np.flatnonzero(points(page)["cells"]), page.evaluate("window.lopReport.axes().x.length")
    select_point(page, int(filled[0] % columns), int(filled[0] // columns))
    assert page.locator("#seeds tbody tr").count() >= 1


def test_page_says_that_sequences_are_block_means(
    report: Report, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in (
        ("MAX_FULL_ROWS", 100),
        ("MAX_EXACT_ROWS", 100),
        ("MAX_CURVE_VALUES", 1),
        ("MAX_LAYER_VALUES", 1),
    ):
        monkeypatch.setattr(f"analysis.report.sequences.{name}", value)
    write_report(made, tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#definition=onset&score=onset&at.delta=1.5&point.x=0.4&point.y=2")
    assert page.evaluate("window.lopReport.state().criterion.definition") == "rate"
    assert page.evaluate("window.lopReport.state().score") == "excess"
    assert page.is_disabled("#last")
    assert "means over up to 2 tasks" in page.inner_text("#resolution")
    assert "Failed tasks are counted by the thresholds" in page.inner_text("#resolution")
    for criterion, shown in ((LossCriterion(margin=0.3), LossCriterion()), (LossCriterion("mean", margin=0.3),) * 2):
        set_criterion(page, criterion)
        for name in ("lost", "failure_rate", "excess", "rank_collapse"):
            change(page, score=name)
            rates = name == "failure_rate"  # counted as the report was made
            values = expected(made, LossCriterion() if rates else shown, name)
            np.testing.assert_allclose(points(page)["value"].astype(float), values, rtol=1e-9)


def test_browser_without_decompression_gets_a_message(browser: Browser, made_file: Path):
    page = browser.new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto(made_file.as_uri())
    page.evaluate("window.lopReport.ready")
    assert "DecompressionStream" in page.inner_text("#problem")
    page.close()
