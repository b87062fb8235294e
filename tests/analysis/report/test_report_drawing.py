"""The drawing on the report's page: colours, marks, boundary, curves and bands, number by number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_store import MEASURED_VALUES, losing, write_store
from playwright.sync_api import Page
from report_tools import Report, change, id_of, points, set_criterion

from analysis.data import load_cells, load_requested, load_tasks
from analysis.plot import CATEGORIES, VALUES, map_table
from analysis.report import write_report
from analysis.scoring import LossCriterion, score
from lop_sweep.config import CellConfig
from lop_sweep.errors import AnalysisError


def traces(page: Page, condition: str) -> list[dict[str, Any]]:
    """Return the map's traces for which an expression in `t` is true."""
    return page.evaluate(f"JSON.parse(JSON.stringify(plot.data.filter(t => {condition})))")


def test_colours_end_where_those_of_paper_figures_do(report: Report, made: Path, made_file: Path):
    page, criterion = report(made_file, "#at.delta=1.5"), LossCriterion(margin=0.3, factor=4.0)
    set_criterion(page, criterion)
    scored = score(made, where={"delta": [1.5]}, criterion=criterion)
    table = map_table(scored, "lr", "depth", MEASURED_VALUES, requested=load_requested(made).query("delta == 1.5"))
    for name, value in ((name, VALUES[name]) for name in MEASURED_VALUES):
        change(page, score=name)
        values = table[table["score"] == name]["value"].to_numpy()
        norm = value.norm(values[np.isfinite(values)], criterion)
        ends = np.log10([norm.vmin, norm.vmax]) if value.scale == "log" else [norm.vmin, norm.vmax]
        (heat,) = traces(page, "t.type === 'heatmap'")
        np.testing.assert_allclose([heat["zmin"], heat["zmax"]], ends, rtol=1e-6, err_msg=name)
        drawn = np.log10(values) if value.scale == "log" else values
        shown = np.array(heat["z"], float).ravel()
        np.testing.assert_allclose(shown, np.clip(drawn, *ends), rtol=1e-6, atol=1e-9, err_msg=name)
        ours = [tuple(int(255 * part + 0.5) for part in value.colour_map()(share)[:3]) for share in (0.0, 0.5, 1.0)]
        theirs = [heat["colorscale"][index][1] for index in (0, len(heat["colorscale"]) // 2, -1)]
        assert [tuple(bytes.fromhex(colour[1:])) for colour in theirs] == ours, name


def test_points_without_values_are_hatched_few_seeds_ringed(report: Report, made_file: Path):
    page = report(made_file, "#at.delta=0")
    for name in ("excess", "saturation"):
        change(page, score=name)
        shown, axes = points(page), page.evaluate("window.lopReport.axes()")
        columns = len(axes["x"])
        crossed, waiting = traces(page, "t.type === 'bar'")
        kinds = {
            "x": (crossed, (shown["cells"] > 0) & (shown["defined"] == 0)),
            "/": (waiting, (shown["cells"] == 0) & (shown["missing"] > 0)),
        }
        for shape, (bars, expected) in kinds.items():
            assert bars["marker"]["pattern"]["shape"] == shape
            middles = [(x, base + y / 2) for x, base, y in zip(bars["x"], bars["base"], bars["y"], strict=True)]
            assert sorted(page.evaluate(AT_PLACES, middles)) == sorted(np.flatnonzero(expected))
        (rings,) = traces(page, "t.mode === 'markers'")
        few = np.flatnonzero((shown["defined"] > 0) & (shown["defined"] < 3))
        assert sorted(page.evaluate(AT_PLACES, list(zip(rings["x"], rings["y"], strict=True)))) == sorted(few)
    assert len(few) > 0
    assert columns == 4


AT_PLACES = """places => {
    const within = (edges, value) => edges.findLastIndex(edge => edge <= value);
    const [x, y] = [plot.data[0].x, plot.data[0].y];
    return places.map(([left, top]) => within(y, top) * (x.length - 1) + within(x, left));
}"""
"""From places in the map's coordinates to the indices of their points."""


def test_late_values_follow_the_chosen_window(report: Report, made: Path, tmp_path: Path):
    write_report(made, tmp_path / "report.html", last=3)
    page, requested = report(tmp_path / "report.html", "#at.delta=1.5"), load_requested(made).query("delta == 1.5")
    for criterion in (LossCriterion(last=3), LossCriterion(), LossCriterion(last=7), LossCriterion(last=22)):
        set_criterion(page, criterion)
        scored = score(made, where={"delta": [1.5]}, criterion=criterion)
        for name in ("late_ce", "saturation", "grad_norm", "effective_rank"):
            change(page, score=name)
            table = map_table(scored, "lr", "depth", name, requested=requested)
            np.testing.assert_allclose(points(page)["value"].astype(float), table["value"], rtol=1e-5)


def test_late_means_of_blocks_weigh_the_first_block(
    report: Report, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("analysis.report.sequences.MAX_CURVE_VALUES", 1)  # 22 tasks in 11 blocks
    write_report(made, tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#at.delta=1.5&last=3&score=saturation")
    cell = id_of(made, lr=0.4, depth=2, seed=0)
    values = load_tasks(made, where={"delta": [1.5]}).query("cell == @cell")["saturation"].to_numpy()
    blocks = values.reshape(11, 2).mean(axis=1)
    index = list(load_cells(made)["cell"]).index(cell)
    late = page.evaluate("window.lopReport.scores('late_saturation')")[index]
    assert late == pytest.approx((blocks[-1] * 2 + blocks[-2]) / 3, rel=1e-5)
    assert "rough: late values include" in page.inner_text("#legend")


def of_curves(page: Page, yaxis: str = "y") -> list[dict[str, Any]]:
    return page.evaluate(f"JSON.parse(JSON.stringify(curves.data.filter(t => t.yaxis === '{yaxis}')))")


def rising(config: CellConfig, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return losses with a level per seed; seed 3 diverges where lr is 0.4."""
    final = (1 + config.seed) * np.linspace(0.01, 0.02, config.tasks) * rng.lognormal(0, 0.1, config.tasks)
    if config.lr == 0.4 and config.seed == 3:
        final[5:] = np.nan
    return final, 0.01


@pytest.mark.parametrize(("seeds", "ends"), [(6, (0, 1)), (9, (0.1, 0.9))])
def test_many_seeds_are_a_median_and_a_band(report: Report, tmp_path: Path, seeds: int, ends: tuple[float, float]):
    cells = [CellConfig(tasks=12, depth=2, lr=lr, seed=seed) for lr in (0.1, 0.4) for seed in range(seeds)]
    folder = write_store(tmp_path / "sweep", cells, rising)
    write_report(folder, tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#x=lr&point.x=0.1&point.y=2")
    low, high, median = of_curves(page)[:3]
    tasks = load_tasks(folder, where={"lr": [0.1]}).pivot(index="task", columns="seed", values="end_ce")
    for trace, share in ((low, ends[0]), (high, ends[1]), (median, 0.5)):
        np.testing.assert_allclose(np.array(trace["y"], float), tasks.quantile(share, axis=1), rtol=1e-9)
    assert ("range" if seeds == 6 else "10th to 90th percentile") in page.inner_text("#curve-note")
    change(page, point={"x": 1, "y": 0})
    diverged = of_curves(page)[:3]
    for trace in diverged:  # not a median over the seeds that are left
        assert [value is None for value in trace["y"]] == [False] * 5 + [True] * 7
    assert "up to the first that diverged" in page.inner_text("#curve-note")


def test_bands_are_over_cells_of_one_length(report: Report, tmp_path: Path):
    cells = [
        CellConfig(tasks=tasks, depth=depth, lr=lr, seed=seed)
        for tasks in (6, 12) for depth in (1, 2) for lr in (0.1, 0.2) for seed in range(6)
    ]  # fmt: skip
    folder = write_store(tmp_path / "sweep", cells, rising)
    write_report(folder, tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#x=lr&y=depth&at.tasks=all&point.x=0.1&point.y=2")
    chosen = load_cells(folder).query("lr == 0.1 and depth == 2")
    rows = load_tasks(folder, ["cell", "task", "end_ce"])
    for length, group in chosen.groupby("tasks"):
        change(page, cell=group["cell"].iloc[0])
        some = rows[rows["cell"].isin(group["cell"])]
        expected = some.pivot(index="task", columns="cell", values="end_ce").median(axis=1)
        median = of_curves(page)[2]
        np.testing.assert_allclose(np.array(median["y"], float), expected)
        assert f"over the 6 cells of {length} tasks" in page.inner_text("#curve-note")


def test_fresh_band_and_onsets_are_drawn_where_they_are(report: Report, made: Path, made_file: Path):
    page = report(made_file, "#at.delta=1.5&point.x=0.8&point.y=3")
    scored = score(made).query("delta == 1.5 and lr == 0.8 and depth == 3").sort_values("seed")
    cells = load_cells(made).set_index("cell").loc[scored["cell"]]
    low, high, mean, onsets = of_curves(page)[-4:]
    quantiles = np.mean([np.quantile(losses, [0.1, 0.9]) for losses in cells["fresh_ce"]], axis=0)
    np.testing.assert_allclose([low["y"][0], high["y"][0]], quantiles, rtol=1e-6)
    assert mean["y"][0] == pytest.approx(scored["fresh_mean_ce"].mean())
    seen = scored[scored["onset"].notna()]
    assert len(seen) > 0
    assert onsets["x"] == list(seen["onset"])
    losses = load_tasks(made).set_index(["cell", "task"])["end_ce"]
    expected = [losses[cell, int(task)] for cell, task in zip(seen["cell"], seen["onset"], strict=True)]
    np.testing.assert_allclose(onsets["y"], expected)


def test_every_cell_of_a_point_can_be_chosen(report: Report, tmp_path: Path):
    """Seeds may equal indices of cells, and a pooled slice has several cells per seed."""
    cells = [
        CellConfig(tasks=4, lr=lr, depth=depth, delta=delta, seed=seed)
        for lr in (0.1, 0.4) for depth in (1, 2) for delta in (0.0, 1.0) for seed in (1, 2, 3)
    ]  # fmt: skip
    folder = write_store(tmp_path / "sweep", cells, losing)
    write_report(folder, tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#x=lr&y=depth&at.delta=all&point.x=0.4&point.y=1")
    wanted = {cell.id: cell for cell in cells if (cell.lr, cell.depth) == (0.4, 1)}
    options = page.eval_on_selector_all("#seed option", "options => options.map(option => option.value)")
    assert sorted(options) == sorted(wanted)
    for cell in options:
        page.select_option("#seed", cell)
        page.evaluate("async () => { for (let i = 0; i < 2; i += 1) await new Promise(requestAnimationFrame); }")
        command = page.inner_text("#command")
        assert f"--seed {wanted[cell].seed} " in command
        assert ("--delta 0 " in command) == (wanted[cell].delta == 0)
        assert f"Cell {cell}." in page.inner_text("#provenance")


def test_command_says_what_else_the_cell_was_computed_with(report: Report, tmp_path: Path):
    cells = [CellConfig(tasks=2, depth=2, lr=0.1, seed=seed) for seed in (0, 1)]
    write_report(write_store(tmp_path / "sweep", cells, losing, dtype="float32"), tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#x=lr&point.x=0.1&point.y=2")
    assert "--dtype float32" in page.inner_text("#command")


def test_saved_picture_says_what_it_shows(report: Report, made_file: Path):
    page = report(made_file, "#at.delta=1.5&score=lost&margin=0.25")
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename.endswith(".png")
    figure = page.evaluate("window.lop.figureToSave('A title', ['delta = 1.5', 'a < b'])")
    assert figure["layout"]["title"]["text"] == "A title"
    assert figure["layout"]["annotations"][0]["text"] == "delta = 1.5<br>a &lt; b"
    assert figure["layout"]["height"] > page.evaluate("plot.layout.height") + 60
    long = page.evaluate("window.lop.figureToSave('', ['word '.repeat(200)]).layout.annotations[0].text")
    assert max(map(len, long.split("<br>"))) * 5 < page.evaluate("plot.layout.width")


def test_invalid_thresholds_are_named(report: Report, made_file: Path):
    page = report(made_file)
    page.fill("#margin", "-1")
    assert "Margin must be a number of at least 0" in page.inner_text("#invalid")
    page.fill("#hold", "0")
    assert "Hold must be a whole number of at least 1" in page.inner_text("#invalid")
    page.fill("#margin", "0.2")
    page.fill("#hold", "2")
    assert page.inner_text("#invalid") == ""


def test_counts_are_on_what_is_lost_only(report: Report, made_file: Path):
    page = report(made_file, "#at.delta=1.5&score=first_symptom")
    (drawn,) = traces(page, "t.name === 'texts'")
    at = page.evaluate(AT_PLACES, list(zip(drawn["x"], drawn["y"], strict=True)))
    shown = points(page)
    lost = shown["lost"] > 0
    assert lost.any()
    assert dict(zip(at, drawn["text"], strict=True)) == {
        point: f"{shown['number'][point]}/{shown['lost'][point]}" for point in np.flatnonzero(lost)
    }


def test_categories_have_their_colours(report: Report, made_file: Path):
    page = report(made_file, "#at.delta=1.5&score=verdict")
    (heat,) = traces(page, "t.type === 'heatmap'")
    assert heat["colorbar"]["ticktext"] == list(CATEGORIES["verdict"].colours)
    assert [colour for _, colour in heat["colorscale"][::2]] == list(CATEGORIES["verdict"].colours.values())


def test_more_late_tasks_than_there_are_is_an_error(made: Path, tmp_path: Path):
    with pytest.raises(AnalysisError, match="no cell here has more than 22 tasks"):
        write_report(made, tmp_path / "report.html", last=23)


def test_too_short_sequences_are_so_on_the_page_too(report: Report, tmp_path: Path):
    cells = [CellConfig(tasks=tasks, depth=2, lr=lr) for tasks in (3, 9) for lr in (0.1, 0.4)]
    folder = write_store(tmp_path / "sweep", cells, losing)
    write_report(folder, tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#x=lr&y=tasks&score=verdict")
    for criterion in (LossCriterion("trend"), LossCriterion("onset", hold=5)):
        set_criterion(page, criterion)
        verdicts = score(folder, criterion=criterion).sort_values(["tasks", "lr"])["verdict"]
        assert list(points(page)["name"]) == list(verdicts)
        assert list(verdicts[:2]) == ["too short", "too short"]
