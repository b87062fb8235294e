"""Logging during a sweep: trackers that are slow, down or broken neither delay nor fail it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tracked_sweeps import MemoryTracker, tracked_sweep

from analysis.trackers import BackgroundTracking, CellRecord, background


class SlowTracker(MemoryTracker):
    """Waits for `go` before it writes each cell."""

    name = "Slow"

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, record: CellRecord, logged: bool) -> None:
        self.go.wait(60)
        super().write(record, logged)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(background, "RETRY_SECONDS", 0.01)
    caplog.set_level(logging.INFO, "analysis")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_cells_are_logged_while_the_sweep_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = MemoryTracker()
    tracking = BackgroundTracking(tmp_path / "sweep", [tracker])
    tracked_sweep(tmp_path / "sweep", seeds=1)
    tracking.notify("a pack")
    wait_for(lambda: len(tracker.records) == 2)
    tracked_sweep(tmp_path / "sweep", seeds=3)
    tracking.finish()
    assert len(tracker.records) == 6
    assert caplog.messages == ["Memory: 6 of 6 finished cells logged"]


def test_a_slow_tracker_delays_neither_the_sweep_nor_another_tracker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FLUSH_SECONDS", 1.0)
    slow, fast = SlowTracker(), MemoryTracker()
    directory = tracked_sweep(tmp_path)
    tracking = BackgroundTracking(directory, [slow, fast])
    start = time.monotonic()
    for _ in range(10_000):
        tracking.notify("a pack")
    assert time.monotonic() - start < 2
    wait_for(lambda: len(fast.records) == 4)
    tracking.finish()
    assert time.monotonic() - start < 30
    assert (
        f"Slow: 4 of 4 finished cells are not logged; lop-sweep log {directory} --memory catches up" in caplog.messages
    )
    assert "Memory: 4 of 4 finished cells logged" in caplog.messages
    slow.go.set()


def test_a_tracker_that_is_down_gets_one_warning_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = MemoryTracker()
    tracker.error = ConnectionError("no http://user:secret@host")
    tracking = BackgroundTracking(tracked_sweep(tmp_path), [tracker])
    tracking.notify("a pack")
    wait_for(lambda: bool(caplog.messages))
    time.sleep(0.2)  # it is tried again meanwhile
    tracker.error = None
    wait_for(lambda: len(tracker.records) == 4)
    tracking.finish()
    assert caplog.messages == [
        "Memory: ConnectionError: no http://host; the sweep goes on and tries again later; "
        "lop-sweep log catches up at any time",
        "Memory: 4 of 4 finished cells logged",
    ]


def test_what_is_not_logged_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker, directory = MemoryTracker(), tracked_sweep(tmp_path)
    tracker.error = RuntimeError("refused")
    BackgroundTracking(directory, [tracker]).finish()
    assert caplog.messages[-1] == (
        f"Memory: 4 of 4 finished cells are not logged; lop-sweep log {directory} --memory catches up"
    )


def test_a_directory_without_a_sweep_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    BackgroundTracking(tmp_path, [MemoryTracker()]).finish()
    assert "holds no sweep.json" in caplog.messages[0]
    assert f"the finished cells are not logged; lop-sweep log {tmp_path} --memory" in caplog.messages[1]
