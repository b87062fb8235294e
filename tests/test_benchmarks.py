"""The benchmarks run, do the same work on both sides, and report their measurements."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def run(*arguments: object) -> str:
    command = [sys.executable, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=1800)  # the machine may be busy
    assert result.returncode == 0, result.stderr
    return result.stdout


def table(markdown: str) -> list[list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.long
def test_engine_and_reference_do_the_same_work() -> None:
    rows = table(run(BENCHMARKS / "engine_speed.py", "--rounds", 1, "--seconds", 0.02, "--depth", 2, "--width", 8))
    assert [row[:3] for row in rows] == [["2", "8", "float64"], ["2", "8", "float32"]]
    assert float(rows[0][-1]) < 1e-12
    assert float(rows[1][-1]) < 1e-4
    assert all(float(row[5]) > 0 for row in rows)


def test_components_and_pytorchs_do_the_same_work() -> None:
    rows = table(run(BENCHMARKS / "component_speed.py", "--names", "relu", "crelu", "--rounds", 1))
    assert [row[:3] for row in rows] == [
        [name, shape, dtype]
        for dtype in ("float64", "float32")
        for name in ("relu", "crelu")
        for shape in ("1 x 96 x 100", "64 x 16 x 8")
    ]
    assert all(float(row[-1]) <= (1e-14 if row[2] == "float64" else 1e-6) for row in rows)
    assert all(float(cell) > 0 for row in rows for cell in row[3:6])


@pytest.mark.long
def test_optimizers_do_the_same_work_on_both_sides() -> None:
    rows = table(run(BENCHMARKS / "optimizer_speed.py", "--rounds", 1, "--seconds", 0.02))
    assert {row[2] for row in rows} == {"sgd", "momentum", "adam", "adamw", "rmsprop", "muon", "muon_simple_lop"}
    assert len(rows) == 3 * 7
    assert all(float(row[-1]) < 1e-12 and float(row[-2]) > 0 for row in rows)


def test_step_flops_count_its_matrix_products() -> None:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from engine_speed import step_flops
    finally:
        sys.path.remove(str(BENCHMARKS))
    n, d, h = 7, 3, 5
    forward = n * d * h + n * h * h + n * h * 1  # two hidden layers and the output
    below = n * h * h + n * h * 1
    assert step_flops(n, d, h, 2) == 2 * (2 * forward + below)


def test_scores_of_a_random_store_are_those_of_pandas() -> None:
    rows = table(run(BENCHMARKS / "million_rows.py", "--cells", 400, "--rounds", 1))
    assert [row[1] for row in rows] == ["40,000"] * 3
    assert float(rows[1][-1]) < 1e-12
    assert float(rows[2][4].removesuffix(" MB")) < 15


@pytest.mark.long
def test_everything_is_measured_and_recorded(tmp_path: Path) -> None:
    out = tmp_path / "benchmarks.json"
    run(BENCHMARKS / "run.py", "--only", "cell", "shares", "cost", "sweep", "tiny", "--out", out)
    content = json.loads(out.read_text())
    assert [section["benchmark"] for section in content["sections"]] == ["cell", "shares", "cost", "sweep", "tiny"]
    assert content["machine"]["blas"]
    sections = {section["benchmark"]: section["data"] for section in content["sections"]}
    assert all(one["audit"].endswith("no problem") for one in sections["tiny"])


@pytest.mark.long
def test_alternative_computes_the_same_cells() -> None:
    rows = table(run(BENCHMARKS / "against_tune.py", "--cells", 2, "--tasks", 4, "--lr", 0.01))
    assert float(rows[0][5]) == pytest.approx(float(rows[1][5]), rel=1e-4)


@pytest.mark.long
def test_batches_compute_the_same_networks_faster() -> None:
    rows = table(run(BENCHMARKS / "narrow_cells.py", "--rounds", 1, "--cells", 64, "--tasks", 2))
    steps, cells = rows[:-5], rows[-3:]  # between them are two lines of headings
    assert {row[-1] for row in steps} == {"equal"}
    assert float(steps[1][-2]) > 5  # width 8
    assert float(cells[0][-1]) < 1e-9
    assert float(cells[0][2]) > float(cells[1][2]) > 1


@pytest.mark.long
def test_step_parts_packs_and_resuming_are_measured() -> None:
    assert len(table(run(BENCHMARKS / "step_parts.py", "--depth", 2, "--width", 8))) == 12
    rows = table(run(BENCHMARKS / "gpu_packs.py", "--device", "torch", "--packs", 3))
    assert float(rows[0][-1]) < 1e-9
    assert "plan" in run(BENCHMARKS / "resume_cost.py", "--packs", 3, "--rounds", 1)


def test_bootstrapped_intervals_are_as_wide_as_scipys() -> None:
    rows = table(run(BENCHMARKS / "bootstrap.py", "--rounds", 1, "--points", 40))
    assert [row[:3] for row in rows] == [["mean", "40", "5"], ["median", "40", "5"]]
    for row in rows:
        assert float(row[6]) == pytest.approx(float(row[7]), rel=0.1)


def test_dots_of_a_difference_are_measured() -> None:
    rows = table(run(BENCHMARKS / "difference_errors.py", "--repeats", 3, "--seeds", 5))
    shares = {(row[0], row[3]): [float(share.removesuffix("%")) for share in row[4:]] for row in rows}
    assert len(rows) == 12
    for score in ("lost", "failure_rate"):
        assert shares[score, "dots"][2] > shares[score, "pairs"][2] == 0  # fewer than 6 pairs
    assert shares["failure_rate", "alone"][0] > shares["failure_rate", "dots"][0]


def test_unequal_seeds_and_spread_are_measured() -> None:
    rows = table(run(BENCHMARKS / "difference_errors.py", "--unequal", "--repeats", 60))
    shares = {tuple(row[:4]): [float(share.removesuffix("%")) for share in row[4:]] for row in rows}
    assert len(shares) == 32
    permuted, plain, _ = shares["3, 16", "4, 1", "normal", "0"]
    assert permuted < plain
    assert shares["8, 16", "1, 1", "normal", "2"][0] > 80


@pytest.mark.long
def test_bands_of_fitted_surfaces_are_measured() -> None:
    rows = table(run(BENCHMARKS / "boundary_coverage.py", "--repeats", 2, "--seeds", 8, "--truths", "gradual"))
    assert [row[:3] for row in rows] == [["gradual", "8", "surface"], ["gradual", "8", "Wilson"]]
    line = ["--repeats", 2, "--seeds", 8, "--truths", "island", "--axes", 1, "--tasks", 25, "--correlation", 0.2]
    surface, wilson = table(run(BENCHMARKS / "boundary_coverage.py", *line))
    assert (surface[2], surface[4], surface[6]) == ("surface", "0.0%", "0.0%")  # both edges, and no other
    assert float(wilson[7].removesuffix("%")) < float(surface[7].removesuffix("%"))
    (row,) = table(run(BENCHMARKS / "surface_speed.py", "--rounds", 1, "--points", 50, "--seeds", 4))
    assert row[:2] == ["200", "50"]
    assert float(row[6]) < 0.1


@pytest.mark.long
def test_refined_cells_are_counted_against_dense_ones(tmp_path: Path) -> None:
    command = BENCHMARKS / "refinement.py", "--repeats", 1, "--truths", "gradual", "--out", tmp_path / "errors.jsonl"
    printed = run(*command)
    means, _, _, medians = table(printed)
    assert means[:3] == ["gradual", "1", "1,920"]
    assert medians[0] == "gradual"
    assert medians[1] == means[4]  # of one repeat
    assert int(means[4]) <= 50  # of 1,920
    assert run(*command) == printed  # from the file


SCORES = BENCHMARKS.parent / "docs" / "gallery" / "depth_lr_delta.parquet"


def test_published_scores_are_replayed_with_the_verdicts_of_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    replay = importlib.import_module("refinement_replay").Replay(SCORES, "lost")
    outcomes = replay.everything()
    verdicts = replay.cells["verdict"]
    assert len(outcomes) == len(verdicts) == 1848
    successes, trials = (replay.cells["cell"].map(lambda cell, place=place: outcomes[cell][place]) for place in (0, 1))
    assert (successes == (verdicts == "lost")).all()
    assert (trials == (verdicts != "untrainable")).all()
    assert 0 < successes.sum() < trials.sum() < 1848


def test_a_refinement_is_replayed_on_published_scores() -> None:
    """A row at 5% and at 10% of the time, of each repeat and on average; the second has other cells."""
    printed = run(BENCHMARKS / "refinement_replay.py", SCORES, "--where", "depth=8", "--share", 0.1, "--repeats", 2)
    assert printed.startswith("264 cells of lr, delta: 3,714 core-seconds, width 0.")
    lines = [line.split() for line in printed.splitlines()]
    rows = [line for line in lines if line and line[0] in ("0.05", "0.10")]
    assert [row[0] for row in rows] == ["0.05", "0.10"] * 3
    assert rows[0] != rows[2]
    assert all(0 < float(row[2]) <= 1 for row in rows)
    assert float(rows[4][1]) == (int(rows[0][1]) + int(rows[2][1])) / 2


def test_a_replay_ends_when_all_cells_are_chosen() -> None:
    """Two depths and eleven learning rates with one seed."""
    few = "depth=2,8", "--where", "delta=2.8", "--where", "seed=0"
    printed = run(BENCHMARKS / "refinement_replay.py", SCORES, "--where", *few, "--share", 1)
    assert printed.startswith("22 cells of depth, lr: ")
    assert printed.splitlines()[-1].split()[:2] == ["1.00", "22.0"]


def test_planning_is_measured_and_reads_back_what_it_wrote() -> None:
    (row,) = table(run(BENCHMARKS / "planning_scale.py", "--cells", 20_000))
    assert row[0] == "20,000"
    assert float(row[-2].removesuffix(" kB")) < 5  # a grid in columns


@pytest.mark.long
def test_the_drivers_load_is_measured() -> None:
    (row,) = table(run(BENCHMARKS / "driver_load.py", "--packs", 20, "--cells", 5, "--reports", 2, 6))
    assert row[:2] == ["20", "100"]


def test_sweeps_of_any_size_are_simulated() -> None:
    rows = table(run(BENCHMARKS / "scale_simulation.py", "--cells", 10_000, "--slots", 10, 100))
    assert [row[0] for row in rows] == ["10", "100"]
    assert all(0.5 < float(row[4].removesuffix("%")) / 100 <= 1 for row in rows)


@pytest.mark.long
def test_object_stores_are_compared_with_directories(tmp_path: Path) -> None:
    space = tmp_path / "space.py"
    space.write_text(
        "from ray import tune\n"
        "param_space = {'width': 8, 'samples': 8, 'steps': 5, 'tasks': 5, 'fresh_baseline': 2,\n"
        "               'seed': tune.grid_search(list(range(8)))}\n"
    )
    rows = table(run(BENCHMARKS / "object_store.py", "--space", space, "--cells", 400, "--rounds", 1))
    sweeps, maps = rows[:3], rows[-2:]
    assert [row[1] for row in sweeps] == ["8", "8", "8"]
    assert [int(row[4]) > 0 for row in sweeps] == [False, True, True]
    assert [row[:2] for row in maps] == [["a directory", "40,000"], ["a bucket", "40,000"]]
