"""The numbers of `lop-sweep run` against those of the script: the oracle of the whole project."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from golden_sets import GOLDEN, golden_flags

from lop_sweep.cli import main

STABLE = ["stable_a", "stable_b", "stable_c", "held_a", "held_b", "held_c", "held_d", "held_e", "held_f"]


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the six plots of each run out: they take half of its time, and `test_cli` checks them."""
    monkeypatch.setattr("lop_sweep.script.plots.save_script_plots", lambda *arguments: [])


def run(out: Path, engine: str, **flags: object) -> tuple[pd.DataFrame, dict[str, float]]:
    arguments = ["run", "--engine", engine, "--out", str(out), "--no-progress"]
    for flag, value in flags.items():
        if value is not None:
            arguments += [f"--{flag}", str(value)]
    assert main(arguments) == 0
    return pd.read_csv(out / "lop_fixed_regime_results.csv"), json.loads((out / "summary.json").read_text())


def assert_close(ours: pd.DataFrame, golden: pd.DataFrame, rtol: float) -> None:
    assert list(ours.columns) == list(golden.columns)
    for column in golden.columns:
        tolerance = {"rtol": 0, "atol": 1e-6} if column.startswith("dup_frac") else {"rtol": rtol, "atol": 0}
        np.testing.assert_allclose(ours[column], golden[column], **tolerance, err_msg=column)


@pytest.mark.parametrize("engine", ["fast", "reference"])
@pytest.mark.parametrize("name", STABLE)
def test_stable_sets_agree_in_every_task_and_in_the_summary(name: str, engine: str, tmp_path: Path) -> None:
    results, summary = run(tmp_path, engine, **golden_flags(name))
    assert_close(results, pd.read_csv(GOLDEN / name / "results.csv"), rtol=1e-9)
    golden = json.loads((GOLDEN / name / "summary.json").read_text())
    assert list(summary) == list(golden)
    for key, value in golden.items():
        absolute = "dup_frac" in key
        assert summary[key] == pytest.approx(value, rel=0 if absolute else 1e-9, abs=1e-6 if absolute else 0), key


@pytest.mark.parametrize("engine", ["fast", "reference"])
@pytest.mark.parametrize("name", ["lop_short", "default"])
def test_chaotic_sets_agree_in_the_first_task(name: str, engine: str, tmp_path: Path) -> None:
    results, _ = run(tmp_path, engine, **{**golden_flags(name), "tasks": 1, "fresh_baseline": 0})
    assert_close(results, pd.read_csv(GOLDEN / name / "results.csv").head(1), rtol=1e-6)


def test_a_wrong_parameter_would_be_noticed(tmp_path: Path) -> None:
    results, _ = run(tmp_path, "fast", **{**golden_flags("stable_c"), "sigma": 0.22 * (1 + 1e-6)})
    with pytest.raises(AssertionError, match="min_CE"):
        assert_close(results, pd.read_csv(GOLDEN / "stable_c" / "results.csv"), rtol=1e-9)
