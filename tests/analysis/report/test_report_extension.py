"""The report with configuration fields and metrics that do not exist yet: it needs no change for them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_tools import Report, change, id_of, points, replace_everywhere, wait

from analysis.data import Block, blocks_of, load_cells, load_requested
from analysis.plot import VALUES, map_table
from analysis.plot.variables import MapValue
from analysis.report import write_report
from analysis.report.axes import map_fields
from analysis.scoring import LossCriterion, score, score_block
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.metrics import METRICS, TaskMetric, measured_with

NAMES = ("all", "it's <b>bold</b>")
"""Values of a string field that are keywords or markup elsewhere."""


@dataclass
class MadeMetric(TaskMetric):
    """A metric between 0 and 1."""

    name: str
    label: str
    per_layer: bool
    unit: str = "share"

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        return 0.0, 1.0


def with_categories(cells: pd.DataFrame) -> pd.DataFrame:
    """Add a string that depends on the seed, and a boolean that depends on the depth."""
    return cells.assign(schedule=np.where(cells["seed"] % 2 == 0, *NAMES), centred=cells["depth"] > 1)


@pytest.fixture
def categories(monkeypatch: pytest.MonkeyPatch) -> None:
    """A string field and a boolean field, in every module."""
    text = replace(FIELDS["relabel"], name="schedule", type=str, default="constant", label="schedule", since="0.2")
    flag = replace(text, name="centred", type=bool, default=False, label="centred")
    replace_everywhere(monkeypatch, FIELDS, {**FIELDS, "schedule": text, "centred": flag})
    for loader in (load_cells, load_requested):
        replace_everywhere(monkeypatch, loader, lambda *args, loader=loader, **more: with_categories(loader(*args)))


@pytest.fixture
def category_page(categories: None, made: Path, tmp_path: Path) -> Path:
    write_report(made, tmp_path / "report.html")
    return tmp_path / "report.html"


def test_categories_are_axes(categories: None):
    cells = [CellConfig(lr=lr, seed=seed, depth=depth).model_dump() for lr, seed, depth in ((1, 2, 2), (2, 3, 1))]
    _, _, schedule, centred = map_fields(with_categories(pd.DataFrame(cells)))
    assert (schedule.scale, schedule.values, schedule.names) == ("category", list(NAMES), list(NAMES))
    assert (centred.scale, centred.values, centred.names) == ("category", [False, True], ["false", "true"])
    assert centred.positions == [0, 1]
    assert centred.edges == [-0.5, 0.5, 1.5]


@pytest.mark.usefixtures("categories")
def test_map_over_categories_is_pythons(report: Report, made: Path, category_page: Path):
    requested = with_categories(load_requested(made))
    table = map_table(score(made), "schedule", "centred", ["lost", "excess", "verdict"], requested=requested)
    page = report(category_page, "#x=schedule&y=centred&at.lr=0.4&at.delta=1.5&at.depth=2")
    for name in ("lost", "excess", "verdict"):
        change(page, score=name)
        rows = table[(table["score"] == name) & (table["lr"] == 0.4) & (table["delta"] == 1.5) & (table["depth"] == 2)]
        shown = points(page).set_index(pd.MultiIndex.from_product([[False, True], NAMES]))
        for _, row in rows.iterrows():
            point = shown.loc[(row["centred"], row["schedule"])]
            assert (point["cells"], point["decidable"], point["lost"]) == (row["cells"], row["n"], row["lost"])
            if name == "verdict":
                assert point["name"] == row["category"]
            else:
                np.testing.assert_allclose(float(point["value"]), row["value"])
    assert (shown["cells"] > 0).sum() == (rows["cells"] > 0).sum() > 0
    assert page.evaluate("plot.layout.xaxis.title.text") == "schedule"
    assert page.evaluate("plot.layout.xaxis.ticktext") == ["all", "it&#39;s &lt;b&gt;bold&lt;/b&gt;"]
    assert page.evaluate("document.querySelectorAll('#plot b, #tip b, #details b').length") == 0


def test_category_called_all_is_not_the_pooled_slice(report: Report, category_page: Path):
    page = report(category_page, "#x=lr&y=depth&at.delta=1.5&at.schedule=all")
    pooled = points(page)["cells"].sum()
    page.select_option("#at-schedule", label="all")
    wait(page, "location.hash.includes('at.schedule=%22all%22')")
    state, address = page.evaluate("window.lopReport.state()"), page.url
    some = points(page)["cells"].sum()
    assert state["at"]["schedule"] == 0
    assert 0 < some < pooled
    report(category_page, "#" + address.split("#")[1], fresh=True)
    assert page.evaluate("window.lopReport.state()") == state


def test_categories_in_details_and_command(report: Report, made: Path, category_page: Path):
    cell = id_of(made, lr=0.4, depth=3, seed=1)
    fragment = f"#x=lr&y=depth&at.delta=1.5&at.schedule={NAMES[1]}&point.x=0.4&point.y=3&cell={cell}"
    page = report(category_page, fragment)
    assert page.inner_text("#point-name") == f"lr = 0.4, depth = 3, delta = 1.5, schedule = {NAMES[1]}"
    assert NAMES[1] in page.inner_text("#configuration")
    words = shlex.split(page.inner_text("#command"))
    assert words[words.index("--schedule") + 1] == NAMES[1]
    assert words[words.index("--centred") + 1] == "true"
    place = page.evaluate("window.lopReport.placeOf({x: 1, y: 2})")
    page.mouse.move(place["left"], place["top"])
    assert f"schedule = {NAMES[1]}" in page.inner_text("#tip")


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric per layer, and one that was not measured, in every module."""
    layered, absent = MadeMetric("quiet_units", "quiet units", True), MadeMetric("step_norm", "norm of a step", False)
    names = measured_with()
    replace_everywhere(monkeypatch, METRICS, {**METRICS, "quiet_units": layered, "step_norm": absent})

    def measured(cells: pd.DataFrame, directory: Path, *_: object) -> Iterator[Block]:
        for block in blocks_of(cells, directory, names):
            more = {
                "quiet_units": block.metrics["effective_rank"] / 20,
                "step_norm": np.full_like(block.metrics["final_ce"], np.nan),
            }
            yield Block(block.cells, {**block.metrics, **more})

    replace_everywhere(monkeypatch, blocks_of, measured)


@pytest.mark.usefixtures("metrics")
def test_new_metrics_are_curves_layers_and_scores(report: Report, made: Path, tmp_path: Path):
    write_report(made, tmp_path / "report.html")
    cell = id_of(made, lr=0.4, depth=3, seed=2)
    page = report(tmp_path / "report.html", f"#at.delta=1.5&point.x=0.4&point.y=3&cell={cell}&score=quiet_units")
    scored = score(made, where={"delta": [1.5]})
    table = map_table(scored, "lr", "depth", "quiet_units", requested=load_requested(made).query("delta == 1.5"))
    np.testing.assert_allclose(points(page)["value"].astype(float), table["value"])
    labels = page.evaluate("curves.layout.annotations.map(annotation => annotation.text)")
    label = "quiet units (share), mean over layers"
    assert label in labels
    assert labels[labels.index("norm of a step (share)") + 1] == "not measured"
    assert labels.count("not measured") == 1
    *_, (block,) = ([b for b in blocks_of(load_cells(made), made, ["effective_rank"]) if cell in set(b.cells["cell"])],)
    values = block.metrics["effective_rank"][list(block.cells["cell"]).index(cell)] / 20
    drawn = page.evaluate("layers.data.map(trace => trace.z)")
    assert len(drawn) == 3
    np.testing.assert_allclose(drawn[2], values.T, rtol=1e-6)
    assert page.evaluate("[layers.data[2].zmin, layers.data[2].zmax]") == [0, 1]
    number = labels[: labels.index(label)].count("not measured") + labels.index(label)
    curves = page.evaluate(f"curves.data.filter(t => t.yaxis === 'y{number + 1}').map(({{name, y}}) => [name, y])")
    np.testing.assert_allclose(dict(curves)["seed 2"], values.mean(axis=1), rtol=1e-6)
    facts = page.inner_text("#facts")
    assert "late norm of a step\nnot measured" in facts
    change(page, score="step_norm")
    assert "undefined: not measured, or all seeds diverged" in page.inner_text("#legend")


def test_new_score_needs_no_change_of_the_report(
    report: Report, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is shown as under the report's criterion."""
    spread = MapValue("late_spread", "spread of the final CE over late tasks", "nats", "log")

    def with_spread(block: Block, criterion: LossCriterion, slopes: bool = True) -> pd.DataFrame:
        return score_block(block, criterion, slopes).assign(late_spread=block.metrics["final_ce"][:, -5:].std(axis=1))

    replace_everywhere(monkeypatch, score_block, with_spread)
    replace_everywhere(monkeypatch, VALUES, {**VALUES, "late_spread": spread})
    write_report(made, tmp_path / "report.html")
    page = report(tmp_path / "report.html", "#at.delta=1.5&score=late_spread")
    scored = score(made, where={"delta": [1.5]})
    table = map_table(scored, "lr", "depth", "late_spread", requested=load_requested(made).query("delta == 1.5"))
    np.testing.assert_allclose(points(page)["value"].astype(float), table["value"])
