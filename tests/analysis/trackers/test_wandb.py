"""W&B's offline mode, without a key or a network: what its run files hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wandb
from tracked_sweeps import expected_curves, expected_scores, grid, tracked_sweep
from wandb_files import WandbRun, read_run

from analysis.trackers import Logbook, WandbRuns
from lop_sweep.errors import TrackerError
from lop_sweep.storage import Store


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the run files."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    wandb.teardown()
    (tmp_path / "wandb").mkdir()
    return tmp_path / "wandb"


def log(directory: Path) -> Logbook:
    book = Logbook(directory, WandbRuns("someone/project"))
    book.catch_up()
    book.close()
    return book


def read_all(folder: Path) -> list[WandbRun]:
    return [read_run(path) for path in sorted(folder.glob("offline-run-*/*.wandb"))]


def test_each_cell_is_one_run_however_often_it_is_logged(tmp_path: Path, offline: Path) -> None:
    directory = tracked_sweep(tmp_path / "sweep")
    for _ in range(2):
        book = log(directory)
        assert book.count is not None
        assert book.count.behind == 0
    origin, scores = Store(directory).origin(), expected_scores(directory)
    runs = {run.name: run for run in read_all(offline)}
    assert len(runs) == len(read_all(offline)) == 4
    for cell in grid(2):
        run = runs[cell.id]
        assert (run.id, run.group, run.project) == (f"{cell.id}-{origin}", f"tracked {origin}", "project")
        assert {name: run.config[name] for name in ("lr", "depth", "seed")} == {
            "lr": cell.lr,
            "depth": 2,
            "seed": cell.seed,
        }
        curves: dict[str, dict[int, float]] = {}
        for task, values in run.history.items():
            for name, value in values.items():
                curves.setdefault(name, {})[task] = value
        assert curves == expected_curves(directory, cell.id)
        row = scores.loc[cell.id]
        assert (run.summary["verdict"], run.summary["status"]) == (row["verdict"], row["status"])
        assert ("score/excess" in run.summary) == np.isfinite(row["excess"])
        assert run.exit_code == 0


def test_a_cell_is_logged_once_its_scores_are_final(tmp_path: Path, offline: Path) -> None:
    directory = tracked_sweep(tmp_path / "sweep", missing=grid(3)[2:3])
    log(directory)
    assert {run.name for run in read_all(offline)} == {cell.id for cell in grid(2, [1.6])}
    tracked_sweep(directory, seeds=3)
    log(directory)
    assert {run.name for run in read_all(offline)} == {cell.id for cell in grid(3)}


def test_the_command_line_is_not_recorded(tmp_path: Path, offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold the credentials of another tracker."""
    monkeypatch.setattr("sys.argv", ["lop-sweep", "log", "--mlflow", "http://someone:hidden@host"])
    log(tracked_sweep(tmp_path / "sweep"))
    assert not [path for path in offline.rglob("*") if path.is_file() and b"hidden" in path.read_bytes()]


def test_without_a_key_the_reason_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    wandb.teardown()
    with pytest.raises(TrackerError, match=r"^W&B: UsageError: No API key configured"):
        log(tracked_sweep(tmp_path / "sweep"))


def test_a_disabled_tracker_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb.teardown()
    with pytest.raises(TrackerError, match="W&B is disabled by WANDB_MODE"):
        log(tracked_sweep(tmp_path / "sweep"))
