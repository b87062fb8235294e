"""The commands of the statistics: on a made-up store, and on made-up scores with known answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_scores import sweep_of
from matplotlib.figure import Figure

import analysis.cli
import analysis.cli_statistics
from analysis.cli import main
from analysis.cli_statistics import sweep_names
from analysis.data import load_cells, load_tasks
from analysis.plot import save_figure
from analysis.statistics import sweep_power

LRS = (0.1, 0.2, 0.4, 0.8)


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Scores with failure counts in place of a directory's: rates grow with lr, and are 0.2 higher at depth 4."""
    rng = np.random.default_rng(0)
    frame = sweep_of(lambda c: min(0.1 + 0.5 * c["lr"] + 0.1 * (c["depth"] - 2), 1), rng, 8, lr=LRS, depth=(2, 4))
    monkeypatch.setattr(analysis.cli, "score", lambda *_, **__: frame)
    return frame


@pytest.mark.parametrize("table", ["summary", "curve", "lost", "hazard", "test", "state"])
def test_survival_of_a_store(made: Path, tmp_path: Path, table: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.csv"
    command = ["survival", str(made), "--where", "delta=1.5", "--by", "depth", "--table", table, "--out", str(out)]
    assert main([*command, "--at", "10,20"]) == 0
    written = read(out)
    assert set(written["depth"]) == {1, 2, 3}
    assert "depth" in lines(capsys)[0]


def test_the_state_is_counted_from_the_tasks(made: Path, tmp_path: Path) -> None:
    """By hand for one configuration: failed tasks by the pooled median of its fresh networks."""
    out, point = tmp_path / "state.parquet", ["--where", "depth=3", "--where", "lr=0.4", "--where", "delta=1.5"]
    assert main(["survival", str(made), *point, "--table", "state", "--recover", "3", "--out", str(out)]) == 0
    written = read(out)
    cells = load_cells(made).query("depth == 3 and lr == 0.4 and delta == 1.5")
    median = np.median(np.concatenate(cells["fresh_ce"].to_list()))
    tasks = load_tasks(made).pivot(index="cell", columns="task", values="final_ce").loc[cells["cell"]].to_numpy()
    failed = (tasks - median > 0.1) & (tasks > 1.5 * median)
    state, inside = np.zeros(failed.shape, bool), np.zeros(len(failed), bool)
    for row in range(len(failed)):
        for task in range(failed.shape[1]):
            inside[row] |= task + 3 <= 22 and failed[row, task : task + 3].all()
            inside[row] &= not (task + 3 <= 22 and not failed[row, task : task + 3].any())
            state[row, task] = inside[row]
    assert written["networks"].tolist() == [5] * 22
    np.testing.assert_allclose(written["share"], state.mean(axis=0))
    assert state.any()


def test_survival_draws_curves(made: Path, tmp_path: Path) -> None:
    figure = tmp_path / "curves.png"
    assert main(["survival", str(made), "--by", "depth", "--figure", str(figure)]) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_effects_of_made_up_rates(rates: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "effects.csv"
    assert main(["effects", "anywhere", "--out", str(out)]) == 0
    table = read(out).set_index("term")
    assert list(table.index) == ["intercept", "depth", "log lr"]
    assert (table["p"] < 1e-3).all()
    assert main(["effects", "anywhere", "--terms", "log lr,depth,log lr:depth", "--response", "lost"]) == 0
    assert main(["effects", "anywhere", "--table", "collapse"]) == 0
    assert "log lr x log depth" in capsys.readouterr().out


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that commands save, with what their metadata say."""
    saved: list[Any] = []

    def save(figure: Figure, path: str, made: dict[str, Any]) -> None:
        saved.append((figure, made))
        save_figure(figure, path, made)

    monkeypatch.setattr(analysis.cli_statistics, "save_figure", save)
    return saved


@pytest.mark.parametrize("table", ["regression", "collapse"])
def test_effects_are_drawn(made: Path, tmp_path: Path, table: str, recorded: list[Any]) -> None:
    out, picture = tmp_path / "effects.csv", tmp_path / "effects.png"
    command = ["effects", str(made), "--terms", "log lr,depth", "--table", table, "--out", str(out)]
    assert main([*command, "--figure", str(picture), "--width", "3.4"]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    ((figure, metadata),) = recorded
    written, (axes,) = read(out), figure.axes
    if table == "regression":
        drawn = axes.get_lines()[1].get_xdata()
        np.testing.assert_allclose(drawn, written["odds_ratio"][1:].dropna())
    else:
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], written["explained"].dropna())
    assert metadata["cells"] == len(load_cells(made))
    assert figure.get_figwidth() == 3.4


def test_comparisons_are_drawn(made: Path, tmp_path: Path, recorded: list[Any]) -> None:
    out, picture = tmp_path / "compare.csv", tmp_path / "compare.svg"
    command = ["compare", str(made), "--between", "depth=1,3", "--out", str(out), "--figure", str(picture)]
    assert main([*command, "--tolerance", "0.1"]) == 0
    summary, table = recorded[0][0], read(out).set_index("statistic")
    assert summary.get_suptitle() == "depth = 3 minus depth = 1"
    assert summary.axes[0].get_lines()[1].get_xdata()[0] == pytest.approx(table.loc["failure rate", "estimate"])
    assert summary.axes[0].patches[0].get_width() == pytest.approx(0.2)
    assert recorded[0][1]["second"]["where"] == {"depth": [3]}
    assert recorded[0][1]["tolerance"] == 0.1
    assert main([*command, "--table", "points"]) == 0
    drawn = recorded[1][0].axes[0].collections[0].get_array().compressed()
    np.testing.assert_allclose(sorted(drawn), sorted(read(out)["difference"].dropna()))
    assert b"<svg" in picture.read_bytes()


@pytest.mark.parametrize(("table", "rows"), [("counts", 9), ("odds", 6), ("lead", 3)])
def test_symptoms_of_a_store(made: Path, tmp_path: Path, table: str, rows: int) -> None:
    out = tmp_path / "symptoms.csv"
    assert main(["symptoms", str(made), "--table", table, "--horizon", "5", "--out", str(out)]) == 0
    assert len(read(out)) == rows


def test_two_values_of_a_field_are_compared(
    rates: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "compare.csv"
    assert main(["compare", "anywhere", "--between", "depth=2,4", "--out", str(out)]) == 0
    table = read(out).set_index("statistic")
    assert table.loc["failure rate", "estimate"] == pytest.approx(0.2, abs=0.05)
    assert table.loc["equivalence", "p"] > 0.9
    assert table.loc["edge in lr", "estimate"] < 1
    assert main(["compare", "anywhere", "--between", "depth=2,4", "--table", "points", "--out", str(out)]) == 0
    assert read(out)["differs"].all()
    said = capsys.readouterr().err
    assert "first: depth = 2; second: depth = 4; " in said
    for row in table.index:
        assert f"{row}: " in said, "each row is explained"
    assert "a small p: it is less than 0.05 either way" in said
    assert "differs: q is at most 0.05" in said
    assert "no point can differ" not in said


def test_a_directory_equals_itself(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "compare.csv"
    assert main(["compare", str(made), str(made), "--out", str(out)]) == 0
    verdicts = read(out).set_index("statistic").loc["verdicts"]
    assert (verdicts["estimate"], verdicts["reason"]) == (0, "no pair has two different verdicts")


def test_directories_of_the_same_name_are_called_by_their_paths(tmp_path: Path) -> None:
    first, second = str(tmp_path / "a" / "results"), str(tmp_path / "b" / "results")
    assert sweep_names(first, second) == (first, second)
    assert sweep_names(first, str(tmp_path / "b" / "narrow")) == ("results", "narrow")
    assert sweep_names(first, first) == ("results", "results")


def test_too_few_pairs_to_see_a_point_differ(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(made), str(made), "--table", "points"]) == 0
    said = capsys.readouterr().err
    assert f"first: {made}; second: {made}; " in said
    assert "pairs per point no point can differ; with 6 no q is small enough until" in said


def test_the_power_of_a_design(rates: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "power.csv"
    assert main(["power", "anywhere", "--out", str(out)]) == 0
    np.testing.assert_allclose(read(out)["power"], sweep_power(rates, 0.2)["power"])
    assert main(["power", "--late-tasks", "25", "--fresh-networks", "160", "--detect", "0.3", "--fresh-rate", "0"]) == 0
    assert "needed_tasks" in lines(capsys)[0]


def test_specifications_of_a_store(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, figure = tmp_path / "table.parquet", tmp_path / "curve.svg"
    command = ["specification", str(made), "--vary", "margin=0.05,0.2", "--vary", "hold=2,3", "--where", "delta=1.5"]
    assert main([*command, "--out", str(out), "--figure", str(figure)]) == 0
    table = read(out)
    assert table[["margin", "hold"]].to_numpy().tolist() == [[0.05, 2], [0.05, 3], [0.2, 2], [0.2, 3]]
    assert figure.read_bytes().startswith(b"<?xml")
    assert len(lines(capsys)) == 5


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("survival DIR --by dept", "unknown configuration field 'dept'"),
        ("survival DIR --table test", "needs at least one field"),
        ("survival DIR --at soon", "--at soon: must be task numbers"),
        ("survival DIR --out table.txt", "must end with .csv, .parquet"),
        ("survival DIR --figure table.csv", "must end with .png, .pdf, .svg"),
        ("effects DIR --figure table.csv", "must end with .png, .pdf, .svg"),
        ("compare DIR DIR --figure figure.png --width 100", "--width must be from 2 to 60 inches, got 100"),
        ("survival DIR --where lr=0.1 --where depth=1", "no cell has"),
        ("effects DIR --where lr=0.4 --where depth=2 --where delta=1.5", "no term varies"),
        ("effects DIR --terms speed", "unknown term 'speed'"),
        ("symptoms DIR --table lead --horizon 0", "horizon = 0: must be at least 1 task"),
        ("compare DIR", "give a second directory, or --between FIELD=A,B for two values within one; got neither"),
        ("compare DIR DIR --between lr=0.1,0.4", "two values within one; got both"),
        ("compare DIR --between lr=0.4", "must name two values, got 1; write lr=A,B"),
        ("compare DIR --between lr=0.4,0.4", "lr = 0.4 twice: must be two different values"),
        ("power --detect 2", "difference = 2: must be between 0 and 1"),
        ("power --late-tasks 0", "late tasks = 0"),
        ("specification DIR --vary margin", "must be THRESHOLD=VALUE,VALUE"),
        ("specification DIR --vary size=3", "unknown threshold 'size'"),
        ("specification DIR --vary margin=small", "values of margin must be of type float"),
    ],
)
def test_bad_input_is_one_line(made: Path, arguments: str, line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([str(made) if word == "DIR" else word for word in arguments.split()]) == 2
    captured = capfd.readouterr().err
    assert captured.count("\n") == 1
    assert line in captured


def test_a_wide_tolerance_is_refused(rates: pd.DataFrame, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "anywhere", "--between", "depth=2,4", "--tolerance", "2"]) == 2
    assert "--tolerance = 2: must be between 0 and 1" in capfd.readouterr().err
