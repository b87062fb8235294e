"""The command `lop-analysis`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from golden_sets import GOLDEN
from sweeping import compute_here

from analysis.cli import main
from analysis.data.load import load_cells, load_tasks
from analysis.scoring.table import score, score_cells
from lop_sweep.planning.space import expand_space


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_maps_and_curves_are_written(store_dir: Path, tmp_path: Path, ending: str) -> None:
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending]
    for arguments in (
        ["map", str(store_dir), "--x", "lr", "--y", "depth", "--where", "lr=0.05,0.2", "--value", "lost"],
        ["map", str(store_dir), "--x", "lr", "--y", "depth", "--value", "verdict", "--width", "3.4"],
        ["map", str(store_dir), "--x", "lr", "--y", "depth", "--value", "failure_rate", "--level", "0.25"],
        ["curves", str(store_dir), "--where", "depth=2", "--where", "delta=0"],
        ["curves", str(store_dir), "--where", "depth=2", "--where", "delta=0", "--raw", "--width", "3.4"],
        ["layers", str(store_dir), "--where", "depth=2", "--where", "delta=0"],
        ["difference", str(store_dir), str(store_dir), "--x", "lr", "--y", "depth", "--value", "late_ce"],
    ):
        out = tmp_path / f"{arguments[0]}.{ending}"
        assert main([*arguments, "--out", str(out)]) == 0
        assert out.read_bytes().startswith(start)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_scores_are_written(store_dir: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"scores.{ending}"
    assert main(["scores", str(store_dir), "--out", str(out), "--where", "depth=2"]) == 0
    written = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    expected = score_cells(load_cells(store_dir), load_tasks(store_dir)).query("depth == 2")
    assert list(written["cell"]) == list(expected["cell"])
    np.testing.assert_allclose(written["excess"], expected["excess"], rtol=1e-12)


def test_the_six_plots_of_a_cell_are_written(store_dir: Path, tmp_path: Path) -> None:
    cell = load_cells(store_dir)["cell"].iloc[0]
    assert main(["plots", str(store_dir), "--cell", cell[:8], "--out", str(tmp_path / "plots")]) == 0
    assert len(list((tmp_path / "plots").glob("lop_*.png"))) == 6


def test_symptoms_are_written(store_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "symptoms.csv"
    assert main(["symptoms", str(store_dir), "--by", "depth", "--factor", "0", "--margin", "0", "--out", str(out)]) == 0
    table = pd.read_csv(out)
    scored = score(store_dir, factor=0, margin=0)
    decidable = scored[scored["lost"].notna()]
    assert table[table["symptom"] == "rank"]["cells"].sum() == len(decidable)
    assert set(table["depth"]) == {1, 2}


@pytest.mark.parametrize("command", [["scores"], ["map", "--x", "lr", "--y", "seed"]])
def test_old_directories_say_by_which_loss_they_are_judged(
    command: list[str], store_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once for a directory without `end_ce`, and not for others."""
    out = str(tmp_path / ("scores.csv" if command == ["scores"] else "map.svg"))
    for directory, said in ((GOLDEN / "sweep_directory", 1), (store_dir, 0)):
        assert main([command[0], str(directory), *command[1:], "--out", out]) == 0
        assert capsys.readouterr().err.count("cells are judged by final_ce, the loss before the last update") == said


def test_causes_stand_side_by_side(store_dir: Path, tmp_path: Path) -> None:
    command = ["map", str(store_dir), "--x", "lr", "--y", "depth", "--out", str(tmp_path / "map.svg")]
    assert main([*command, "--value", "causes"]) == 0
    assert main([*command, "--value", "excess,saturation"]) == 0


def test_thresholds_are_options(store_dir: Path, tmp_path: Path) -> None:
    counts = []
    for margin in ("0.1", "1000"):
        out = tmp_path / "scores.csv"
        options = ["--margin", margin, "--factor", "0", "--last", "1", "--definition", "mean"]
        assert main(["scores", str(store_dir), "--out", str(out), *options]) == 0
        counts.append((pd.read_csv(out)["verdict"] == "lost").sum())
    assert counts[0] > counts[1] == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("map nowhere --x lr --y depth", "is not a directory"),
        ("map {empty} --x lr --y depth", "there is no finished cell to draw"),
        ("curves {empty}", "there is no finished cell to draw"),
        ("map {store} --x lr", "the following arguments are required: --y"),
        ("map {store} --x lr --y dept", "unknown configuration field 'dept'; choose from: seed"),
        ("map {store} --x lr --y depth --value loss", "unknown value 'loss'; choose from: excess"),
        ("map {store} --x lr --y depth --where depth", "condition 'depth' must be FIELD=VALUE"),
        ("map {store} --x lr --y depth --where depth=9", "no cell has depth = 9; available: depth = 1, 2"),
        ("map {store} --x lr --y depth --out map.gif", "--out 'map.gif': must end with .png, .pdf, .svg"),
        ("map {store} --x lr --y depth --out nowhere/map.png", "nowhere/map.png: cannot be written"),
        ("map {store} --x lr --y depth --last 0", "last = 0: must be an integer of at least 1"),
        (
            "map {store} --x lr --y depth --definition best",
            "definition = 'best': must be one of rate, mean, onset, trend",
        ),
        ("map {store} --x lr --y depth --hold 0", "hold = 0: must be an integer of at least 1"),
        ("map {store} --x lr --y depth --level 1.5", "level = 1.5: must be above 0 and below 1"),
        ("map {store} --x lr --y depth --level nan", "level = nan: must be above 0 and below 1"),
        ("map {store} --x lr --y depth --width 1", "--width must be from 2 to 60 inches, got 1"),
        ("map {store} --x lr --y depth --width nan", "--width must be from 2 to 60 inches, got nan"),
        ("map {store} --x lr --y depth --value excess,loss", "unknown value 'loss'"),
        ("difference {store} nowhere --x lr --y depth", "nowhere: is not a directory"),
        ("difference {store} {empty} --x lr --y depth", "there is no finished cell to draw"),
        ("difference {store} {store} --x lr --y depth --value verdict", "'verdict' is a category"),
        ("layers {store}", "12 configurations, at most 4 are drawn"),
        ("layers {empty}", "there is no finished cell to draw"),
        (
            "plots {store} --cell zz --out plots",
            "--cell must be the id of one finished cell, or its beginning, got 'zz': 0 match",
        ),
        ("symptoms {store} --by depht --out s.csv", "unknown configuration field 'depht'"),
        ("report {empty}", "no finished cell"),
        ("report {store} --out report.pdf", "--out 'report.pdf': must end with .html"),
        ("curves {store}", "12 configurations, at most 8 are drawn"),
        ("scores {store} --out scores.xlsx", "must end with .csv, .parquet"),
        ("scores {store} --out nowhere/s.csv", "cannot be written"),
        ("scores {broken} --out s.csv", "cannot be read"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(
    arguments: str, line: str, store_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    shutil.copy(store_dir / "sweep.json", empty)
    shutil.copytree(store_dir, broken)
    next((broken / "cells").glob("*.parquet")).write_bytes(b"PAR1 not really")
    monkeypatch.chdir(tmp_path)
    try:
        code = main(arguments.format(store=store_dir, empty=empty, broken=broken).split())
    except SystemExit as exit_:
        code = exit_.code
    said = capsys.readouterr()
    assert code == 2
    assert said.err.count("\n") == 1
    assert line in said.err
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "broken"}


ODD = {
    "a single cell": {"depth": 1, "lr": 0.1, "tasks": 1},
    "all diverged": {"depth": 2, "lr": {"grid_search": [1.6e308, 1.7e308]}, "tasks": 3},
    "all untrainable": {"depth": 2, "lr": {"grid_search": [1e3, 2e3]}, "tasks": 3, "seed": {"grid_search": [0, 1, 2]}},
    "no baseline": {"depth": {"grid_search": [1, 2]}, "lr": 0.1, "tasks": 2, "fresh_baseline": 0},
    "lengths and depths": {"depth": {"grid_search": [1, 3]}, "lr": 0.1, "tasks": {"grid_search": [1, 4]}},
}


@pytest.mark.parametrize("name", ODD)
def test_odd_stores_give_figures_and_tables(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small = {"width": 4, "samples": 8, "steps": 3, "fresh_baseline": 2, "delta": 0.0}
    folder = str(compute_here(expand_space({**small, **ODD[name]}), tmp_path / "sweep").root)
    axes = ["--x", "lr", "--y", "depth"]
    for number, command in enumerate(
        [
            ["map", *axes, "--value", "causes"], ["map", *axes, "--value", "verdict,first_symptom,onset,slope"],
            ["curves"], ["layers"],
        ]
    ):  # fmt: skip
        out = tmp_path / f"{number}.png"
        assert main([command[0], folder, *command[1:], "--out", str(out)]) == 0, capfd.readouterr().err
        assert out.stat().st_size > 5000
    for command in ("scores", "symptoms"):
        assert main([command, folder, "--out", str(tmp_path / "table.csv")]) == 0
    assert "Warning" not in capfd.readouterr().err


def test_another_schema_version_is_refused(
    store_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lop_sweep.storage.schema.SCHEMA_VERSION", 2)
    for command in (["map", "--x", "lr", "--y", "depth"], ["curves"], ["layers"], ["scores"], ["report"]):
        ending = {"scores": "csv", "report": "html"}.get(command[0], "png")
        assert main([command[0], str(store_dir), *command[1:], "--out", str(tmp_path / f"out.{ending}")]) == 2
        assert "has schema version 1, this lop-sweep reads version 2" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
