"""The command `lop-analysis`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.cli import main
from analysis.load import load_cells, load_tasks
from analysis.rule import Rule
from analysis.scoring import score_cells, score_sweep


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_maps_and_curves_are_written(store_dir: Path, tmp_path: Path, ending: str) -> None:
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending]
    for arguments in (
        ["map", str(store_dir), "--x", "lr", "--y", "depth", "--where", "lr=0.05,0.2", "--value", "lost"],
        ["map", str(store_dir), "--x", "lr", "--y", "depth", "--value", "phase", "--width", "3.4"],
        ["curves", str(store_dir), "--where", "depth=2", "--where", "delta=0"],
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
    scored = score_sweep(store_dir, rule=Rule(factor=0, margin=0))
    judged = scored[scored["lost"].notna()]
    assert table[table["symptom"] == "rank"]["cells"].sum() == len(judged)
    assert set(table["depth"]) == {1, 2}


def test_causes_stand_side_by_side(store_dir: Path, tmp_path: Path) -> None:
    command = ["map", str(store_dir), "--x", "lr", "--y", "depth", "--out", str(tmp_path / "map.svg")]
    assert main([*command, "--value", "causes"]) == 0
    assert main([*command, "--value", "excess,saturation"]) == 0


def test_the_rule_can_be_changed(store_dir: Path, tmp_path: Path) -> None:
    counts = []
    for margin in ("0.1", "1000"):
        out = tmp_path / "scores.csv"
        assert (
            main(["scores", str(store_dir), "--out", str(out), "--margin", margin, "--factor", "0", "--last", "1"]) == 0
        )
        counts.append((pd.read_csv(out)["phase"] == "lost").sum())
    assert counts[0] > counts[1] == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("map nowhere --x lr --y depth", "is no directory"),
        ("map {empty} --x lr --y depth", "there is no finished cell to draw"),
        ("curves {empty}", "there is no finished cell to draw"),
        ("map {store} --x lr", "the following arguments are required: --y"),
        ("map {store} --x lr --y dept", "'dept' is no configuration field; axes are seed"),
        ("map {store} --x lr --y depth --value loss", "value 'loss' is unknown; there are excess"),
        ("map {store} --x lr --y depth --where depth", "'depth' is no condition"),
        ("map {store} --x lr --y depth --where depth=9", "no cell has depth = 9; there is depth = 1, 2"),
        ("map {store} --x lr --y depth --out map.gif", "--out 'map.gif': must end with .png, .pdf, .svg"),
        ("map {store} --x lr --y depth --out nowhere/map.png", "nowhere/map.png: cannot be written"),
        ("map {store} --x lr --y depth --last 0", "last = 0: must be an integer of at least 1"),
        (
            "map {store} --x lr --y depth --definition best",
            "definition 'best' is unknown; there are late, onset, trend",
        ),
        ("map {store} --x lr --y depth --hold 0", "hold = 0: must be an integer of at least 1"),
        ("map {store} --x lr --y depth --width 1", "--width 1: must be from 2 to 60 inches"),
        ("map {store} --x lr --y depth --width nan", "--width nan: must be from 2 to 60 inches"),
        ("map {store} --x lr --y depth --value excess,loss", "value 'loss' is unknown"),
        ("difference {store} nowhere --x lr --y depth", "nowhere: is no directory"),
        ("difference {store} {empty} --x lr --y depth", "there is no finished cell to draw"),
        ("difference {store} {store} --x lr --y depth --value phase", "'phase' is a category"),
        ("layers {store}", "12 configurations, at most 4 are drawn"),
        ("layers {empty}", "there is no finished cell to draw"),
        ("plots {store} --cell zz --out plots", "--cell 'zz': is how the ids of 0 finished cells begin, not of one"),
        ("symptoms {store} --by depht --out s.csv", "depht: no such configuration field"),
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
