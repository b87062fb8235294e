"""A new metric and a new configuration field are one declaration each, and everything else derives from them.

A copy of the packages gets a made-up metric (one class in a module of `lop_sweep/metrics`) and a made-up string field
(one line in `lop_sweep/config.py`), both newer than the first release. The commands of the copy must show them in
sweeps, audits, maps, curves, scores and the report, and must go on with a directory of the code as it is.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from sweeping import sweep, write_space

ROOT = Path(__file__).parents[1]
FIELD = '''
    schedule: str = declare(
        "constant", "how the learning rate changes", label="learning-rate schedule", packable=True, since="0.2",
        choices=("constant", "linear"),
    )
'''  # fmt: skip
METRIC = '''
@register("metric", "active_share")
class ActiveShare(TaskMetric):
    """Share of activations above zero."""

    label, unit, since = "active units", "share", "0.2"

    def compute(self, task: Observation) -> Array:
        """Return the share over layers, points and units, (P,)."""
        xp = array_namespace(task.post)
        return xp.mean(xp.astype(task.post > 0, xp.float64), axis=(-3, -2, -1))

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return the range of a share."""
        return 0.0, 1.0


'''
CELLS = {
    "width": 6, "samples": 12, "steps": 5, "fresh_baseline": 2, "lr": "tune.grid_search([0.05, 0.1])",
    "depth": "tune.grid_search([1, 2])", "seed": "tune.grid_search([1, 2])",
}  # fmt: skip
SCHEDULES = "tune.grid_search(['constant', 'linear'])"


def insert_before(path: Path, marker: str, text: str) -> None:
    content = path.read_text()
    assert content.count(marker) == 1, (path, marker)
    path.write_text(content.replace(marker, text + marker))


class Copy:
    """The packages with the new declarations, and their commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for package in ("lop_sweep", "analysis", "search_spaces"):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        insert_before(folder / "lop_sweep" / "config.py", "\n    def __init__(self, /, **fields", FIELD)
        with open(folder / "lop_sweep" / "metrics" / "protocol.py", "a") as module:
            module.write("\n" + METRIC)

    def try_to(self, *command: object) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        arguments = [sys.executable, *map(str, command)]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=300, cwd=self.folder, env=environment)

    def run(self, *command: object) -> str:
        """Run Python with these arguments and return what it prints."""
        result = self.try_to(*command)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def sweep(self, space: Path, out: Path) -> str:
        return self.run("-m", "lop_sweep", "sweep", space, "--out", out, "--cpus", 2, "--no-progress")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("copy"))


@pytest.fixture(scope="module")
def swept(copy: Copy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of the copy, with the field as an axis."""
    folder = tmp_path_factory.mktemp("swept")
    space = write_space(folder / "space.py", ["seed", "schedule"], tasks=8, schedule=SCHEDULES, **CELLS)
    assert "16 of 16 cells finished" in copy.sweep(space, folder / "out")
    return folder / "out"


FIGURES = {
    "axis.svg": ["map", "--x", "schedule", "--y", "lr"],
    "panels.svg": ["map", "--x", "lr", "--y", "depth"],
    "linear.csv": ["scores", "--where", "schedule=linear"],
    "curves.svg": ["curves", "--where", "depth=1", "--where", "lr=0.1"],
    "scores.csv": ["scores"],
    "report.html": ["report"],
}


@pytest.fixture(scope="module")
def drawn(copy: Copy, swept: Path) -> Path:
    """The folder of what commands make of the sweep, all in one process, which imports Matplotlib once."""
    folder = copy.folder / "drawn"
    folder.mkdir()
    commands = [[name, str(swept), *options, "--out", str(folder / file)] for file, (name, *options) in FIGURES.items()]
    code = "import json, sys; from analysis.cli import main; sys.exit(max(map(main, json.loads(sys.argv[1]))))"
    copy.run("-c", code, json.dumps(commands))
    return folder


@pytest.fixture(scope="module")
def extended(copy: Copy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of the code as it is, which the copy extends by values of the field and by tasks."""
    folder = tmp_path_factory.mktemp("extended")
    first = sweep(write_space(folder / "first.py", ["seed"], tasks=8, **CELLS), folder / "out", "--no-progress")
    assert first.returncode == 0, first.stderr
    assert "no problem" in copy.run("-m", "lop_sweep", "audit", folder / "out")
    space = write_space(folder / "second.py", ["seed"], tasks="tune.grid_search([8, 12])", schedule=SCHEDULES, **CELLS)
    assert "32 of 32 cells finished, 0 diverged, 0 missing; 24 computed now" in copy.sweep(space, folder / "out")
    return folder / "out"


def texts(figure: Path) -> list[str]:
    """What an SVG figure says; Matplotlib writes each text into a comment beside its glyphs."""
    return re.findall(r"<!-- (.*?) -->", figure.read_text())


def test_both_are_columns_of_the_results(swept: Path) -> None:
    tasks, cells = pd.read_parquet(swept / "tasks"), pd.read_parquet(swept / "cells")
    assert len(tasks) == 16 * 8
    assert tasks["active_share"].between(0, 1).all()
    assert tasks["active_share"].nunique() > 10
    assert tasks["schedule"].value_counts().to_dict() == {"constant": 64, "linear": 64}
    assert cells["schedule"].value_counts().to_dict() == {"constant": 8, "linear": 8}


def test_the_audit_checks_both(copy: Copy, swept: Path) -> None:
    assert "16 cells, 128 rows of tasks: no problem" in copy.run("-m", "lop_sweep", "audit", swept)


def test_the_status_counts_by_the_field(copy: Copy, swept: Path) -> None:
    status = json.loads(copy.run("-m", "lop_sweep", "status", swept, "--json"))
    assert '"linear"' in json.dumps(status)


def test_the_field_is_an_axis_of_a_map(drawn: Path) -> None:
    found = texts(drawn / "axis.svg")
    assert {"constant", "linear"} <= set(found)
    assert "learning-rate schedule" in found


def test_the_field_makes_panels_of_a_map(drawn: Path) -> None:
    titles = " ".join(texts(drawn / "panels.svg"))
    assert re.search(r"schedule\W+constant", titles)
    assert re.search(r"schedule\W+linear", titles)


def test_the_field_selects_cells(copy: Copy, swept: Path, drawn: Path) -> None:
    assert pd.read_csv(drawn / "linear.csv")["schedule"].tolist() == ["linear"] * 8
    refused = copy.try_to("-m", "analysis", "scores", swept, "--where", "schedule=cosine", "--out", drawn / "none.csv")
    assert refused.returncode == 2
    assert "constant, linear" in refused.stderr


def test_curves_have_a_panel_of_the_metric(drawn: Path) -> None:
    found = " ".join(texts(drawn / "curves.svg"))
    assert "active units" in found
    assert re.search(r"schedule\W+linear", found)


def test_scores_summarise_the_metric(swept: Path, drawn: Path) -> None:
    scores = pd.read_csv(drawn / "scores.csv").set_index("cell")
    tasks = pd.read_parquet(swept / "tasks")
    late = tasks[tasks["task"] > 6].groupby("cell")["active_share"].mean()
    pd.testing.assert_series_equal(scores["late_active_share"].sort_index(), late, check_names=False)
    assert set(scores["schedule"]) == {"constant", "linear"}


def test_the_report_knows_both(drawn: Path) -> None:
    page = (drawn / "report.html").read_text()
    match = re.search(r'<script type="[^"]*" id="about">(.*?)</script>', page, re.DOTALL)
    assert match
    about = json.loads(match[1])
    (known,) = [field for field in about["config"] if field["name"] == "schedule"]
    assert known["default"] == "constant"
    (field,) = [field for field in about["fields"] if field["name"] == "schedule"]
    assert field["values"] == ["constant", "linear"]
    (metric,) = [metric for metric in about["metrics"] if metric["name"] == "active_share"]
    assert metric["label"].startswith("active units")


def test_the_script_has_a_flag_for_the_field(copy: Copy) -> None:
    run = ("-m", "lop_sweep", "run", "--width", 5, "--depth", 1, "--tasks", 2, "--fresh_baseline", 0, "--no-progress")
    copy.run(*run, "--schedule", "linear", "--engine", "reference", "--out", copy.folder / "one")
    refused = copy.try_to(*run, "--schedule", "cosine", "--out", copy.folder / "two")
    assert refused.returncode == 2
    assert "must be one of constant, linear" in refused.stderr


def test_the_reference_computes_the_metric(copy: Copy) -> None:
    code = (
        "from lop_sweep import CellConfig, Experiment, ReferenceExperiment\n"
        "config = CellConfig(width=5, depth=2, tasks=2, lr=0.1)\n"
        "ours, reference = Experiment([config]), ReferenceExperiment(config)\n"
        "print(*(float(one.run_task()['active_share'][0]) for _ in range(2) for one in (ours, reference)))\n"
    )
    first, same, second, also = map(float, copy.run("-c", code).split())
    assert 0 < first == pytest.approx(same)
    assert 0 < second == pytest.approx(also)


@pytest.mark.long  # tests/storage/test_additive_schema.py does the same in one process every day
def test_an_older_directory_is_extended(copy: Copy, extended: Path) -> None:
    """Its cells keep their ids and are those of the default; longer sequences continue their states."""
    assert "no problem" in copy.run("-m", "lop_sweep", "audit", extended)
    code = (
        "import sys, analysis\n"
        "cells, tasks = analysis.load_cells(sys.argv[1]), analysis.load_tasks(sys.argv[1])\n"
        "assert cells.groupby(['schedule', 'tasks']).size().to_dict() == "
        "{(schedule, tasks): 8 for schedule in ('constant', 'linear') for tasks in (8, 12)}\n"
        "measured = tasks['active_share'].notna()\n"
        "assert measured[tasks['schedule'] == 'linear'].all()\n"
        "assert not measured[(tasks['schedule'] == 'constant') & (tasks['tasks'] == 8)].any()\n"
        "longer = (tasks['schedule'] == 'constant') & (tasks['tasks'] == 12)\n"
        "assert (measured[longer] == (tasks.loc[longer, 'task'] > 8)).all()\n"
    )
    copy.run("-c", code, extended)


@pytest.mark.long
def test_an_extended_directory_is_drawn(copy: Copy, extended: Path) -> None:
    figure, page = copy.folder / "extended.svg", copy.folder / "extended.html"
    copy.run("-m", "analysis", "map", extended, "--x", "schedule", "--y", "lr", "--where", "tasks=8", "--out", figure)
    assert {"constant", "linear"} <= set(texts(figure))
    copy.run("-m", "analysis", "curves", extended, "--where", "tasks=12", "--where", "depth=1", "--out", figure)
    assert "active units" in " ".join(texts(figure))
    copy.run("-m", "analysis", "report", extended, "--out", page)
