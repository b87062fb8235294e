"""What a sweep says before it starts: cells by where they begin, time, packs and files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from sweeping import compute_here, run_cli

from lop_sweep.cli import main
from lop_sweep.config import CellConfig
from lop_sweep.errors import StoreError, SweepError
from lop_sweep.pack import Pack
from lop_sweep.planning import Plan, SearchSpace, Sizing, WorkItem, plan_lines, preview
from lop_sweep.storage import state_bytes

BASE = {"width": 6, "depth": 2, "samples": 8, "steps": 3, "fresh_baseline": 2}
GRID = "'lr': tune.grid_search([0.1, 0.2, 0.3]), 'seed': tune.grid_search([0, 1])"


def write(folder: Path, tasks: int, more: str = "") -> Path:
    path = folder / "space.py"
    path.write_text(f"from ray import tune\nparam_space = {{**{BASE}, {GRID}, 'tasks': {tasks}, {more}}}\n")
    return path


def cells(tasks: int, seeds: int = 2) -> list[CellConfig]:
    return [CellConfig(**BASE, lr=lr, seed=seed, tasks=tasks) for lr in (0.1, 0.2, 0.3) for seed in range(seeds)]


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    capsys.readouterr()
    assert main(["plan", *map(str, arguments)]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_new_sweep_is_planned_without_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space, out = write(tmp_path, 20), tmp_path / "out"
    for where in ([], ["--out", out]):
        first, second, third = said(capsys, space, "--cpus", 3, "--no-keep-state", *where)
        assert first == "space: 6 cells: 0 finished, 6 new"
        assert re.fullmatch(
            r"6 to compute in \d packs?: less than 1 s of core-time by the cost model, less than 1 s on 3 CPUs; "
            r"\d+ files of results",
            second,
        )
        assert third.startswith("on 3 CPUs: packs of ")
    assert list(tmp_path.iterdir()) == [space]


def test_more_tasks_continue_where_the_shorter_sequence_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    compute_here(cells(20), out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    longer = write(tmp_path, 24)
    assert said(capsys, longer, "--out", out)[0] == "space: 6 cells: 0 finished, 6 continue from task 20, 0 new"
    wider = write(tmp_path, 24, "'seed': tune.grid_search([0, 1, 2])")
    assert said(capsys, wider, "--out", out)[0] == "space: 9 cells: 0 finished, 6 continue from task 20, 3 new"
    both = write(tmp_path, 24, "'tasks': tune.grid_search([20, 24])")
    assert said(capsys, both, "--out", out)[0] == "space: 12 cells: 6 finished, 6 continue from task 20, 0 new"
    assert said(capsys, write(tmp_path, 20), "--out", out) == ["space: 6 cells: 6 finished, 0 new", "0 to compute"]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_what_is_continued_costs_less(tmp_path: Path) -> None:
    compute_here(cells(20), tmp_path)
    space, sizing = SearchSpace(cells=cells(24)), Sizing(slots=2)
    extended, whole = preview(space, tmp_path, sizing), preview(space, None, sizing)
    assert extended.starts == {20: 6}
    assert whole.starts == {0: 6}
    assert extended.seconds < whole.seconds / 3


def test_cells_that_stopped_at_different_tasks_are_a_span() -> None:
    packs = [Pack((cell,)) for cell in cells(24, 1)]
    items = tuple(WorkItem(pack, starts=(start,)) for pack, start in zip(packs, (3, 17, 0), strict=True))
    plan = Plan(SearchSpace(cells=cells(24), name="here"), Sizing(), items, finished=2)
    line = next(plan_lines(plan, False))
    assert line == "here: 6 cells: 2 finished, 2 continue from tasks 3 to 17, 1 new, 1 left out"


def test_the_time_is_that_of_the_slot_that_ends_last() -> None:
    packs = [Pack((cell,)) for cell in cells(24)]
    items = tuple(
        WorkItem(pack, starts=(0,), seconds=s) for pack, s in zip(packs, (600, 500, 400, 300, 90, 60), strict=True)
    )
    plan = Plan(SearchSpace(cells=cells(24)), Sizing(slots=2), items)
    assert (plan.seconds, plan.wall_seconds) == (1950, 990)  # 600 + 300 + 90, 500 + 400 + 60
    assert Plan(plan.space, Sizing(slots=20), items).wall_seconds == 600
    line = list(plan_lines(plan, True))[1]
    assert re.fullmatch(
        r"6 to compute in 6 packs: 32 min of core-time by the cost model, about 16 min on 2 CPUs; "
        r"12 files of results and 6 of states \([\d.]+ kB\)",
        line,
    )
    on_gpu = list(plan_lines(Plan(plan.space, Sizing(gpu=True), items), False))
    assert "32 min of core-time by the cost model on CPUs; 12 files" in on_gpu[1]
    assert on_gpu[2].startswith("on 1 GPU: ")


def test_a_plan_starts_no_ray(tmp_path: Path) -> None:
    code = (
        "import sys, ray\nfrom lop_sweep.cli import main\nstatus = main(sys.argv[1:])\n"
        "assert status == 0 and not ray.is_initialized()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "plan", str(write(tmp_path, 5))], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert "6 to compute" in result.stdout


def test_a_plan_refuses_what_a_sweep_refuses(tmp_path: Path) -> None:
    space = SearchSpace(cells=cells(20))
    compute_here(cells(20), tmp_path / "out")
    with pytest.raises(SweepError, match="holds a sweep in float64, and float32 was asked for"):
        preview(space, tmp_path / "out", Sizing(dtype="float32"))
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="Not a directory"):
        preview(space, tmp_path / "file" / "out", Sizing())
    result = run_cli("plan", write(tmp_path, 5), "--cpus", 0)
    assert (result.returncode, result.stderr) == (2, "lop-sweep: cpus = 0: must be an integer of at least 1\n")


def test_networks_too_large_to_make_are_planned() -> None:
    """Their parameters alone count for the size of states: the rest would have to be made to be counted."""
    huge = CellConfig(width=2**31 - 1, depth=2, optimizer="adam", mitigation="l2_init")
    assert state_bytes(huge, "float32") > 4 * (2**31 - 1) ** 2
