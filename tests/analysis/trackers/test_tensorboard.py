"""TensorBoard reads the event files as they are: scalars of each task, and hyperparameters with scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG, parse_session_start_info_plugin_data
from tracked_sweeps import BASE, expected_curves, expected_scores, grid, tracked_sweep

from analysis.trackers import PENDING, Logbook, TensorBoardFiles


def log(directory: Path, folder: Path) -> None:
    Logbook(directory, TensorBoardFiles(folder)).catch_up()


def read(folder: Path, cell: str) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder / cell), size_guidance={"scalars": 0})
    accumulator.Reload()
    return accumulator


def hyperparameters(accumulator: EventAccumulator) -> dict[str, Any]:
    content = accumulator.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
    values = parse_session_start_info_plugin_data(content).hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


def test_every_metric_and_score_is_read_back(tmp_path: Path) -> None:
    directory, folder = tracked_sweep(tmp_path / "sweep"), tmp_path / "events"
    log(directory, folder)
    scores = expected_scores(directory)
    for cell in grid(2):
        accumulator = read(folder, cell.id)
        scalars = {
            tag: {event.step: event.value for event in accumulator.Scalars(tag)}
            for tag in accumulator.Tags()["scalars"]
        }
        curves = {tag: row for tag, row in scalars.items() if not tag.startswith("score/")}
        expected = expected_curves(directory, cell.id)
        assert curves.keys() == expected.keys()
        for tag, row in expected.items():
            assert curves[tag] == pytest.approx(row, rel=1e-6)
        row = scores.loc[cell.id]
        for name in ("excess", "late_failure_rate", "fresh_pooled_ce", "lost"):
            if np.isfinite(row[name]):
                assert scalars[f"score/{name}"] == pytest.approx({BASE.tasks: row[name]}, rel=1e-6)
            else:
                assert f"score/{name}" not in scalars
        values = hyperparameters(accumulator)
        assert (values["lr"], values["depth"], values["verdict"]) == (cell.lr, cell.depth, row["verdict"])


def test_logging_again_changes_no_file(tmp_path: Path) -> None:
    directory, folder = tracked_sweep(tmp_path / "sweep"), tmp_path / "events"
    log(directory, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    log(directory, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert len(before) == 4 * 3


def test_new_scores_replace_the_old_ones(tmp_path: Path) -> None:
    directory, folder = tracked_sweep(tmp_path / "sweep", missing=grid(3)[2:3]), tmp_path / "events"
    cell = grid(2)[0].id
    log(directory, folder)
    assert hyperparameters(read(folder, cell))["verdict"] == PENDING
    tracked_sweep(directory, seeds=3)
    log(directory, folder)
    accumulator = read(folder, cell)
    assert [event.value for event in accumulator.Scalars("score/fresh_networks")] == [12]
    assert len(accumulator.Scalars("final_ce")) == BASE.tasks
    assert hyperparameters(accumulator)["verdict"] != PENDING


def test_a_cell_without_its_scores_is_logged_again(tmp_path: Path) -> None:
    """As after a crash between the two files."""
    directory, folder = tracked_sweep(tmp_path / "sweep"), tmp_path / "events"
    log(directory, folder)
    broken = folder / grid(2)[0].id
    (lost,) = broken.glob("*.2.*")
    lost.unlink()
    log(directory, folder)
    assert lost.exists()
    assert len(read(folder, broken.name).Scalars("final_ce")) == BASE.tasks
