"""What is logged of a directory, when scores are final, and that nothing is logged twice."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from tracked_sweeps import BASE, MemoryTracker, expected_curves, expected_scores, grid, tracked_sweep

from analysis.trackers import PENDING, Logbook, make_trackers
from analysis.trackers.secrets import public_address, without_secrets
from lop_sweep.errors import LopSweepError, StoreError, TrackerError


def caught_up(directory: Path, tracker: MemoryTracker) -> Logbook:
    book = Logbook(directory, tracker)
    book.catch_up()
    return book


def test_each_cell_is_logged_with_its_metrics_and_scores(tmp_path: Path) -> None:
    directory, tracker = tracked_sweep(tmp_path), MemoryTracker()
    book = caught_up(directory, tracker)
    assert book.count is not None
    assert str(book.count) == "4 of 4 finished cells logged"
    assert tracker.sweep is not None
    assert tracker.sweep.name == "tracked"
    scores = expected_scores(directory)
    assert set(tracker.records) == set(scores.index) == {cell.id for cell in grid(2)}
    for cell in grid(2):
        record = tracker.records[cell.id]
        assert record.config == cell.model_dump()
        logged: dict[str, dict[int, float]] = {}
        for task, values in record.points:
            for name, value in values.items():
                logged.setdefault(name, {})[task] = value
        assert logged == expected_curves(directory, cell.id)
        row = scores.loc[cell.id]
        assert record.labels["verdict"] == row["verdict"]
        assert {
            name: record.scores.get(name, math.nan) for name in ("excess", "failure_p", "late_ce")
        } == pytest.approx({name: row[name] for name in ("excess", "failure_p", "late_ce")}, nan_ok=True)


def test_undefined_values_are_left_out_and_divergence_is_a_label(tmp_path: Path) -> None:
    tracker = MemoryTracker()
    caught_up(tracked_sweep(tmp_path), tracker)
    diverged = tracker.records[BASE.replace(seed=1, lr=1.6).id]
    assert diverged.labels["status"] == diverged.labels["verdict"] == "diverged"
    first = int(diverged.labels["diverged_at"])
    assert [task for task, values in diverged.points if not values] == list(range(first, BASE.tasks + 1))
    assert all(np.isfinite(value) for value in diverged.scores.values())
    assert "excess" not in diverged.scores


def test_a_second_time_writes_nothing(tmp_path: Path) -> None:
    directory, tracker = tracked_sweep(tmp_path), MemoryTracker()
    caught_up(directory, tracker)
    tracker.written.clear()
    book = caught_up(directory, tracker)
    assert tracker.written == []
    assert book.count is not None
    assert book.count.behind == 0


def test_scores_wait_for_all_requested_seeds(tmp_path: Path) -> None:
    """The configuration of lr 0.1 lacks seed 2; that of lr 1.6 is complete."""
    directory = tracked_sweep(tmp_path, missing=[BASE.replace(seed=2, lr=0.1)])
    every, final = MemoryTracker(), MemoryTracker(takes_pending=False)
    book = caught_up(directory, every)
    assert book.count is not None
    assert (book.count.logged, book.count.behind, book.count.pending) == (4, 0, 2)
    assert str(caught_up(directory, final).count) == "2 of 4 finished cells logged, 2 wait for other seeds"
    pending = {cell.id for cell in grid(2, [0.1])}
    for cell, record in every.records.items():
        assert (record.state == PENDING) == (record.labels["verdict"] == PENDING) == (not record.scores)
        assert (record.state == PENDING) == (cell in pending)
        assert record.curves
    assert set(final.records) == {cell.id for cell in grid(2, [1.6])}


def test_more_seeds_replace_the_scores_only(tmp_path: Path) -> None:
    tracker = MemoryTracker()
    caught_up(tracked_sweep(tmp_path), tracker)
    before = dict(tracker.records)
    tracker.written.clear()
    caught_up(tracked_sweep(tmp_path, seeds=3), tracker)
    old, new = {cell.id for cell in grid(2)}, {cell.id for cell in grid(3)}
    assert sorted(tracker.written) == sorted((cell, cell in old) for cell in new)
    for cell in old:
        assert tracker.records[cell].state != before[cell].state
        assert tracker.records[cell].scores["fresh_networks"] == 12
        assert before[cell].scores["fresh_networks"] == 8


def test_scores_stay_while_more_seeds_are_computed(tmp_path: Path) -> None:
    tracker = MemoryTracker()
    caught_up(tracked_sweep(tmp_path), tracker)
    before = dict(tracker.records)
    caught_up(tracked_sweep(tmp_path, missing=grid(3)[2:3]), tracker)
    assert tracker.records == before


def test_what_was_logged_before_an_error_is_not_logged_again(tmp_path: Path) -> None:
    directory, tracker = tracked_sweep(tmp_path), MemoryTracker()
    book = Logbook(directory, tracker)
    book.catch_up(stopped=lambda: len(tracker.written) == 1)
    assert book.count is not None
    assert book.count.behind == 3
    tracker.error = ConnectionError("refused by http://user:secret@host/api")
    with pytest.raises(TrackerError, match=r"^Memory: ConnectionError: refused by http://host/api$") as caught:
        book.catch_up()
    assert caught.value.__suppress_context__
    tracker.error = None
    book.catch_up()
    assert book.count.behind == 0
    assert len(tracker.written) == 4


def test_a_directory_without_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no sweep\.json"):
        Logbook(tmp_path, MemoryTracker()).catch_up()


@pytest.mark.parametrize("option", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_is_named_with_its_extra(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = rf"--{option} needs \w+, which is not installed: pip install 'lop-sweep\[{option}\]'"
    with pytest.raises(TrackerError, match=message) as caught:
        make_trackers("results", **{option: "x"})
    assert isinstance(caught.value, LopSweepError)


def test_event_files_go_to_a_local_folder() -> None:
    with pytest.raises(TrackerError, match=re.escape("--tensorboard needs a local folder")):
        make_trackers("s3://bucket/results", tensorboard="")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("http://user:pa:ss@host:5000/path", "http://host:5000/path"),
        ("https://token@host", "https://host"),
        ("https://host/x?token=abc#f", "https://host/x"),
        ("http://user:p@ss@host", "http://host"),
        ("file:/folder/mlruns", "file:///folder/mlruns"),
        ("databricks", "databricks"),
    ],
)
def test_addresses_are_shown_without_credentials(address: str, public: str) -> None:
    assert public_address(address) == public
    text = f"request to {address} failed: (Caused by '{address}/api' for user)"
    for secret in ("pa:ss", "p@ss", "token", "abc"):
        assert secret not in without_secrets(text, address)
