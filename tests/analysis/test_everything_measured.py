"""A small sweep that measures all there is: the analysis takes it, and so do the audit, compaction and the script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from report_tools import Report, change, set_criterion
from sweeping import compute_here

from analysis import load_cells, load_layers, load_tasks, map_table, plot_curves, plot_layers, plot_map, score
from analysis.data import iter_blocks, load_requested
from analysis.plot.variables import VALUES, metric_label
from analysis.report import write_report
from analysis.scoring import LossCriterion, symptom_table
from lop_sweep.components import batch_bytes
from lop_sweep.config import CellConfig
from lop_sweep.experiment import Experiment
from lop_sweep.metrics import METRICS, measured, measured_with, optional_metrics
from lop_sweep.planning.cost import task_seconds
from lop_sweep.script.results import results_frame
from lop_sweep.storage import Store
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.parquet import file_info, packs_of, read_tables, write_table
from lop_sweep.storage.schema import TASKS

PLAIN = CellConfig(width=6, samples=12, depth=2, steps=4, lr=0.4, fresh_baseline=3, tasks=30)
CELLS = [
    PLAIN.replace(seed=seed, depth=depth, metrics=optional_metrics(), test_samples=20, control_every=every)
    for seed in (1, 2, 3) for depth, every in ((1, 1), (2, 3))
]  # fmt: skip
DIVERGING = CELLS[1].replace(seed=1, lr=1.7e308)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return compute_here([*CELLS, DIVERGING], tmp_path_factory.mktemp("everything") / "sweep")


def test_the_audit_and_compaction_take_it(store: Store, tmp_path: Path) -> None:
    assert audit(store).findings == []
    columns = set(file_info(store.file("tasks", store.committed()[0])).columns)
    assert columns >= set(METRICS)
    plain = compute_here([PLAIN], tmp_path / "plain")
    assert not set(optional_metrics()) & set(file_info(plain.file("tasks", plain.committed()[0])).columns)
    copy = compute_here(CELLS[:2], tmp_path / "copy")
    before = load_tasks(copy.root).sort_values(["cell", "task"], ignore_index=True)
    compact(copy)
    assert audit(copy).findings == []
    pd.testing.assert_frame_equal(load_tasks(copy.root).sort_values(["cell", "task"], ignore_index=True), before)


def test_the_audit_finds_a_control_where_there_is_none(tmp_path: Path) -> None:
    store = compute_here([CELLS[1]], tmp_path / "sweep")
    path = store.file("tasks", store.committed()[0])
    table = read_tables([path], TASKS)
    place = table.column_names.index("control_end_ce")
    values = table["control_end_ce"].to_numpy().copy()
    values[2] = np.nan  # one that diverged
    write_table(path, table.set_column(place, TASKS.field("control_end_ce"), pa.array(values)), packs_of(path))
    assert audit(store).findings == []
    values[0] = 0.5
    write_table(path, table.set_column(place, TASKS.field("control_end_ce"), pa.array(values)), packs_of(path))
    assert any("control_end_ce is undefined" in str(finding) for finding in audit(store).findings)


def test_longer_sequences_continue_with_it(store: Store, tmp_path: Path) -> None:
    shorter, longer = CELLS[1].replace(tasks=4), CELLS[1].replace(tasks=9)
    extended = compute_here([shorter], tmp_path / "extended")
    compute_here([longer], extended.root)
    rows = load_tasks(extended.root, where={"tasks": [9]}).reset_index(drop=True)
    whole = load_tasks(compute_here([longer], tmp_path / "whole").root)
    pd.testing.assert_frame_equal(rows, whole, check_exact=True)
    of_store = load_tasks(store.root)
    of_store = of_store[of_store["cell"] == CELLS[1].id].head(9).reset_index(drop=True)
    for name in METRICS:
        assert [str(one) for one in rows[name]] == [str(one) for one in of_store[name]], name


def test_values_are_where_they_belong(store: Store) -> None:
    tasks, layers = load_tasks(store.root), load_layers(store.root)
    fine = tasks[tasks["cell"] != DIVERGING.id]
    for name, metric in METRICS.items():
        if metric.of_control:
            every = fine["task"] % fine["control_every"] == 0
            assert (fine[name].notna() == every).all()
        elif metric.per_layer:
            assert layers[layers["cell"] != DIVERGING.id][name].notna().all(), name
        else:
            assert fine[name].notna().all(), name


def test_every_value_has_a_score_and_a_map(store: Store) -> None:
    scored = score(store.root, last=10)
    fine = scored[scored["cell"] != DIVERGING.id]
    for name in METRICS:
        assert fine[f"late_{name}"].notna().all(), name
    for name, value in VALUES.items():
        if value.column != "onset":
            table = map_table(scored, "lr", "depth", name)
            assert table["value"].notna().any() or value.decidable_only, name
    figure = plot_map(
        scored, "lr", "depth", ["srank", "sharpness", "distance_from_init", "excess_paired", "late_control_end_ce"]
    )
    assert len(figure.axes) >= 5
    assert not symptom_table(scored).empty or not scored["lost"].notna().any()


@pytest.mark.parametrize("raw", [False, True])
def test_curves_and_layers_have_a_panel_for_each(store: Store, raw: bool) -> None:
    where = {"depth": [2], "lr": [PLAIN.lr]}
    cells, tasks = (load(store.root) for load in (load_cells, load_tasks))
    cells = cells[(cells["depth"] == 2) & (cells["lr"] == PLAIN.lr)]
    figure = plot_curves(cells, tasks, raw=raw)
    labels = [" ".join(axes.get_ylabel().split()) for axes in figure.axes]
    for name, metric in METRICS.items():
        shown = [
            axes for axes, label in zip(figure.axes, labels, strict=True) if label.startswith(metric_label(metric))
        ]
        assert bool(shown) == (raw or not name.endswith("_ce")), name
        for axes in shown:
            drawn = len(axes.get_lines()[0].get_xdata())
            assert drawn == (PLAIN.tasks // 3 if metric.of_control else PLAIN.tasks)
    layered = plot_layers(iter_blocks(store.root, where))
    assert sum(bool(axes.images) for axes in layered.axes) == sum(metric.per_layer for metric in METRICS.values())


def test_the_report_shows_everything_and_judges_pairs_as_python(report: Report, store: Store, tmp_path: Path) -> None:
    write_report(store.root, tmp_path / "report.html")
    page = report(tmp_path / "report.html", f"#x=lr&y=depth&point.x={PLAIN.lr}&point.y=2")
    rng = np.random.default_rng(0)
    for _ in range(12):
        criterion = LossCriterion(
            definition="paired" if rng.random() < 0.8 else "rate",
            last=None if rng.random() < 0.3 else int(rng.integers(1, 31)),
            margin=float(rng.choice([0.0, 0.02, 0.1])),
            factor=float(rng.choice([0.5, 1.0, 1.5])),
            chance=float(rng.uniform(0.1, 1.5)),
        )
        set_criterion(page, criterion)
        scored = score(store.root, criterion=criterion)
        for name in ("lost", "excess_paired", "late_control_end_ce", "sharpness", "verdict"):
            table = map_table(scored, "lr", "depth", [name], requested=load_requested(store.root))
            change(page, score=name)
            shown = pd.DataFrame(page.evaluate("window.lopReport.points()"))
            if name == "verdict":
                assert list(shown["name"]) == list(table["category"])
            elif name == "lost":
                assert list(shown["decidable"]) == list(table["n"])
                assert list(shown["lost"]) == list(table["lost"])
            else:
                values = [np.nan if value is None else float(value) for value in shown["value"]]
                np.testing.assert_allclose(values, table["value"], rtol=1e-5, err_msg=name)
    titles = page.inner_text("body")
    assert "control" in titles


def test_the_script_writes_its_columns_and_packs_know_its_cost() -> None:
    config = CELLS[1]
    frame = results_frame([Experiment([config]).run_task()])
    assert {"sharpness", "weight_norm_L1", "control_end_ce"} <= set(frame)
    for changes in ({"metrics": ["sharpness"]}, {"control_every": 1}, {"metrics": ["stable_rank"]}):
        assert task_seconds(PLAIN.replace(**changes), "float64") > task_seconds(PLAIN, "float64")
    sharp = PLAIN.replace(metrics=["sharpness"], width=100)
    assert batch_bytes(sharp, "float64") > 2 * batch_bytes(PLAIN.replace(width=100), "float64")
    assert task_seconds(sharp, "float64") > 2 * task_seconds(sharp.replace(metrics=[]), "float64")
    assert set(measured(config)) == set(METRICS)
    assert set(measured_with()) < set(METRICS)
