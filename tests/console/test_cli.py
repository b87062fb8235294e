"""The command `lop-sweep`: the script's flags and files, and one clear line for bad input."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from lop_sweep.cli import add_field, main
from lop_sweep.config import FIELDS

TINY = ["--h", "4", "--L", "2", "--n", "8", "--steps", "3", "--tasks", "3", "--fresh_baseline", "2", "--lr", "0.1"]
PLOTS = {f"lop_{name}.png" for name in ("minCE", "finalCE", "sat", "grad", "effrank", "dup_frac")}


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lop_sweep", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120)


def test_run_writes_the_scripts_files_and_prints_the_summary(tmp_path: Path) -> None:
    result = run("run", *TINY, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        "lop_fixed_regime_results.csv",
        "summary.json",
        "numerics.json",
    } | PLOTS
    numerics = json.loads((out / "numerics.json").read_text())
    assert (numerics["engine"], numerics["dtype"], numerics["device"]) == ("fast", "float64", "cpu")
    assert "1 thread" in numerics["blas"]
    assert json.loads(result.stdout) == json.loads((out / "summary.json").read_text())
    assert list(pd.read_csv(out / "lop_fixed_regime_results.csv").columns) == [
        "task", "min_CE", "final_CE", "sat", "grad_norm", "eff_rank_L0", "eff_rank_L1", "dup_frac_L0", "dup_frac_L1",
    ]  # fmt: skip
    for plot in PLOTS:
        assert (out / plot).read_bytes().startswith(b"\x89PNG")


def summary_of(capsys: pytest.CaptureFixture[str], out: Path, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["run", *arguments, "--out", str(out), "--no-progress"]) == 0
    return capsys.readouterr().out


def test_old_and_new_flags_are_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = (
        "--d 3 --k 2 --corr_thresh 0.5 --seed 3 --fresh_steps 2 --delta 1 --spread 0.5 --sigma 0.3 --relabel 0.1 "
        "--sat_bias 1.5 --sat_weight_scale 2"
    )
    new = (
        "--width=4 --depth=2 --samples=8 --steps=3 --tasks=3 --fresh-baseline=2 --lr=0.1 --input-dim=3 --components=2 "
        "--corr-thresh=0.5 --seed=3 --fresh-steps=2 --delta=1 --spread=0.5 --sigma=0.3 --relabel=0.1"
    )
    assert summary_of(capsys, tmp_path, *TINY, *old.split()) == summary_of(capsys, tmp_path, *new.split())
    assert summary_of(capsys, tmp_path, *TINY, *old.split()) != summary_of(capsys, tmp_path, *TINY)


def test_undefined_values_are_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = json.loads(summary_of(capsys, tmp_path, *TINY, "--fresh_baseline", "0"))
    assert summary["fresh_mean_final_CE_on_late"] is None
    assert summary["mean_min_CE"] > 0
    diverged = json.loads(summary_of(capsys, tmp_path, *TINY, "--lr", "1.7e308", "--seed", "1"))
    assert diverged["mean_final_CE"] is None
    assert len(pd.read_csv(tmp_path / "lop_fixed_regime_results.csv")) == 3


def test_float32_is_close_to_float64(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide, narrow = (
        json.loads(summary_of(capsys, tmp_path, *TINY, "--dtype", dtype)) for dtype in ("float64", "float32")
    )
    assert narrow["mean_final_CE"] == pytest.approx(wide["mean_final_CE"], rel=1e-4)
    assert narrow["mean_final_CE"] != wide["mean_final_CE"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("run --L 0", "lop-sweep: depth = 0: must be greater than or equal to 1 (depth: number of hidden layers)"),
        ("run --n 7", "samples = 7: must be a multiple of 2"),
        ("run --lr nan", "lr = nan: must be"),
        ("run --L five", "argument --depth/--L: invalid int value: 'five'"),
        ("run --dept 3", "unrecognized arguments: --dept"),
        ("run --engine slow", "engine = 'slow': must be one of fast, reference"),
        ("run --dtype float16", "dtype = 'float16': must be one of float64, float32"),
        ("run --engine reference --dtype float32", "the reference computes in float64 only; use --engine fast"),
        ("run --out file/out", "cannot be written"),
        ("sweep", "the following arguments are required: SPACE, --out"),
        (
            "sweep nope --out out",
            "search space 'nope' is not a file; give a Python file or the name of a shipped space: ",
        ),
        ("sweep . --out out", "search space '.' is a directory"),
        ("sweep bad.py --out out", "bad.py, line 1: syntax error: "),
        ("sweep unknown.py --out out", "unknown.py: unknown key 'dept' (did you mean 'depth'?)"),
        ("sweep empty.py --out out", "empty.py: the search space is empty"),
        ("sweep good.py --out file/out", "cannot be read: [Errno 20] Not a directory"),
        ("sweep good.py --out out --dtype float16", "dtype = 'float16'"),
        ("sweep good.py --out out --cpus 0", "cpus = 0: must be an integer of at least 1"),
        ("sweep good.py --out out --tasks-per-report 0", "tasks_per_report = 0: must be an integer of at least 1"),
        ("sweep good.py --out out --address 127.0.0.1:9", "address '127.0.0.1:9' cannot be reached"),
        (
            "sweep good.py --out ftp://bucket/out",
            "'ftp://bucket/out' cannot hold a sweep; give a path, or one of s3://",
        ),
        (f"sweep good.py --out {'x' * 300}", "File name too long"),
        (f"sweep {'x' * 300} --out out", "File name too long"),
        ("run --out s3://bucket/out", "is not a directory on this machine's file systems"),
        ("run --steps 0", "lop-sweep: steps = 0: must be greater than or equal to 1 (steps: gradient steps per task)"),
        ("run --width 2147483647 --out new", "a network of 5 x 2147483647 units cannot be made"),
        ("status nowhere", "nowhere: is not a directory; give the --out directory of a sweep"),
        ("status .", "holds no sweep.json"),
        ("", "the following arguments are required: COMMAND"),
        ("dance", "invalid choice: 'dance'"),
    ],
)
def test_bad_input_gives_one_line_and_status_2(
    arguments: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It also writes nothing."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("bad.py").write_text("param_space = {")
    Path("unknown.py").write_text("param_space = {'dept': 3}")
    Path("empty.py").write_text("param_space = {'lr': {'grid_search': []}}")
    Path("good.py").write_text("param_space = {'lr': 0.1}")
    before = sorted(tmp_path.rglob("*"))
    try:
        code = main(arguments.split())
    except SystemExit as exit_:
        code = exit_.code
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert said.err.startswith("lop-sweep")
    assert said.err.count("\n") == 1
    assert line in said.err
    assert sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts) == before


def test_string_and_boolean_fields_have_flags() -> None:
    parser = argparse.ArgumentParser()
    for name, kind, default in (("rule", str, "sgd"), ("momentum", bool, False)):
        add_field(parser, replace(FIELDS["lr"], name=name, type=kind, default=default, flag=name))
    options = parser.parse_args(["--rule", "adam", "--momentum", "true"])
    assert vars(options) == {"rule": "adam", "momentum": True}
    assert vars(parser.parse_args(["--momentum", "False"])) == {"momentum": False}
    with pytest.raises(SystemExit):
        parser.parse_args(["--momentum", "1"])


def test_help_and_version() -> None:
    for arguments in (["--help"], ["run", "--help"], ["sweep", "--help"], ["status", "--help"], ["--version"]):
        result = run(*arguments)
        assert result.returncode == 0
        assert result.stdout
        assert result.stderr == ""
