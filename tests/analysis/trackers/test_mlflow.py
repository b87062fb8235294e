"""MLflow, with its own client on a folder: one run per cell, each point once. The test of a server is a long one."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow_checks import check_runs, log, runs_of
from tracked_sweeps import grid, tracked_sweep

from analysis.trackers import PENDING, Logbook, MlflowRuns
from analysis.trackers.mlflow_runs import _batches
from lop_sweep.errors import TrackerError


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    yield f"file:{tmp_path}/mlruns"
    logging.getLogger("mlflow").handlers.clear()


def test_each_cell_is_one_run_however_often_it_is_logged(tmp_path: Path, uri: str) -> None:
    directory = tracked_sweep(tmp_path / "sweep")
    for _ in range(2):
        log(directory, uri)
        check_runs(MlflowClient(uri), directory)


def test_scores_follow_the_seeds(tmp_path: Path, uri: str) -> None:
    directory = tracked_sweep(tmp_path / "sweep", missing=grid(3)[2:3])
    log(directory, uri)
    verdicts = {
        run.data.tags["lop_sweep.cell"]: run.data.tags["verdict"] for run in runs_of(MlflowClient(uri), directory)
    }
    assert [verdicts[cell.id] == PENDING for cell in grid(2)] == [True, True, False, False]
    tracked_sweep(directory, seeds=3)
    log(directory, uri)
    check_runs(MlflowClient(uri), directory, versions=2)


def test_a_run_that_was_not_completed_is_completed(tmp_path: Path, uri: str) -> None:
    """As after a crash: the run exists, but has no state."""
    directory, client = tracked_sweep(tmp_path / "sweep"), MlflowClient(uri)
    log(directory, uri)
    before = {run.info.run_id for run in runs_of(client, directory)}
    broken = runs_of(client, directory)[0].info.run_id
    client.delete_tag(broken, "lop_sweep.state")
    book = Logbook(directory, MlflowRuns(uri))
    book.catch_up()
    runs = runs_of(client, directory)
    assert {run.info.run_id for run in runs} == before
    assert all("lop_sweep.state" in run.data.tags for run in runs)


def test_a_server_that_is_down_is_one_line_without_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tracker = MlflowRuns(f"http://someone:hidden@127.0.0.1:{port}")
    book = Logbook(tracked_sweep(tmp_path), tracker)
    with pytest.raises(TrackerError, match=r"^MLflow: .*127\.0\.0\.1") as caught:
        book.catch_up()
    assert book.count is not None
    assert book.count.behind == 4
    for text in (str(caught.value), tracker.option, caplog.text):
        assert "someone" not in text
        assert "hidden" not in text
        assert "\n" not in text.strip()


@pytest.mark.parametrize("count", [0, 1, 950, 951, 1000, 1001, 2600, 2951])
def test_batches_keep_to_the_limits(count: int) -> None:
    batches = _batches(list(range(count)), 950)
    assert sorted(one for batch in batches for one in batch) == list(range(count))
    assert all(len(batch) <= 1000 for batch in batches)
    assert len(batches[-1]) <= 950
    assert len(batches) <= count // 1000 + 2
