"""Graceful shutdown, one driver at a time, and rounds after Ray Tune has given up."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sweeping import COMMAND, assert_same_results, compute_here, run_cli, start_sweep, wait_until, write_space

from lop_sweep.cli import main
from lop_sweep.config import CellConfig
from lop_sweep.console import signals
from lop_sweep.errors import StoreError, SweepError
from lop_sweep.pack import Pack, expand
from lop_sweep.planning import SearchSpace, load_space
from lop_sweep.planning.packing import Sizing
from lop_sweep.planning.plan import make_plan
from lop_sweep.planning.status import sweep_status
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.store import Store
from lop_sweep.tune import executor, shutdown
from lop_sweep.tune.callbacks import TuneStopper, failure_reason, newest_failure
from lop_sweep.tune.driver import run_sweep
from lop_sweep.tune.options import SweepOptions
from lop_sweep.tune.progress import Progress
from lop_sweep.tune.shutdown import AbandonedError, Stop, StoppedError, attended
from lop_sweep.tune.worker import PackRun


def test_a_sweep_stops_gracefully_and_runs_alone(
    undisturbed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """First Ctrl-C in a terminal, after a second command was refused; then SIGTERM as from a batch system."""
    space, expected = undisturbed
    out = tmp_path / "out"
    process = start_sweep(space, out, "--no-progress")  # one checkpoint per minute: those below come from the stop
    store = Store(out)
    wait_until(store.committed, process)
    assert main(["sweep", str(space), "--out", str(out)]) == 2
    refused = capsys.readouterr().err
    assert refused.count("\n") == 1
    assert f"process {process.pid} on " in refused
    assert "has been at work here since" in refused
    status = sweep_status(store)
    assert status.running > 0
    assert status.driver is not None
    assert status.driver.alive
    assert store.checkpoints.in_progress() == []
    counts = (status.finished, status.diverged, status.running, status.failed, status.missing)
    assert sum(counts) == status.cells == 16
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "stopping: trials save their state; signal again to stop at once" in stderr
    assert "run the same command again to compute what is missing, from the checkpoints\n" in stderr
    assert "Traceback" not in stderr + stdout
    saved = [state.tasks_done for state in store.checkpoints.so_far()]
    assert len(saved) >= 1
    assert min(saved) > 0
    assert "not running: process" in run_cli("status", out).stdout
    assert len(audit(store).findings) == 1  # that cells are missing
    wait_until(lambda: sweep_status(store).running == 0)  # the workers may outlive the command by a moment
    assert 1 <= sweep_status(store).finished < 16

    before = len(store.committed())
    process = start_sweep(space, out, "--no-progress")
    wait_until(lambda: len(store.committed()) > before, process)
    os.killpg(process.pid, signal.SIGTERM)  # Ray's own processes get it too, as from a batch system
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert "run the same command again" in stderr
    assert "Traceback" not in stderr + stdout

    wait_until(lambda: sweep_status(store).running == 0)
    compute_here(load_space(space).cells, out)  # from what was saved, as the next command would
    assert_same_results(out, expected)


def wait_in_a_library(seconds: float) -> None:
    """Block like a call of Ray: in C, where no Python code runs."""
    ctypes.CDLL(None).usleep(int(seconds * 1e6))


def signal_after(seconds: float, *numbers: int) -> None:
    """Send signals to this process, one by one."""

    def send() -> None:
        for number in numbers:
            time.sleep(seconds)
            os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_requests_a_stop_even_within_a_library(number: int) -> None:
    stop, before = Stop(), signal.getsignal(number)
    asked_after: list[float] = []

    def work() -> str:
        start = time.monotonic()
        threading.Thread(target=lambda: (stop.wait(10), asked_after.append(time.monotonic() - start))).start()
        wait_in_a_library(2)
        return "saved"

    signal_after(0.3, number)
    assert attended(work, stop, pytest.fail) == "saved"
    assert stop.signal == number
    assert asked_after[0] < 1.5
    assert signal.getsignal(number) is before


def test_a_second_signal_stops_at_once() -> None:
    stop, abandoned, release = Stop(), [], threading.Event()
    signal_after(0.2, signal.SIGTERM, signal.SIGTERM)
    with pytest.raises(AbandonedError, match="a second signal"):
        attended(lambda: release.wait(20), stop, lambda: abandoned.append(1))
    release.set()
    assert abandoned == [1]
    assert stop.abandoned


def test_a_lost_ray_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a signal, a lost Ray is given up after `LOST_SECONDS`; after a signal it is given up at once."""
    monkeypatch.setattr(shutdown, "LOST_SECONDS", 1.5)
    silent = [True, False, *[True] * 50]
    for signalled in (False, True):
        stop, release = Stop(), threading.Event()
        answers = list(silent)
        stop.ray_answers = lambda answers=answers: not answers.pop(0)  # type: ignore[misc]
        if signalled:
            stop.on_signal(signal.SIGTERM)
        start = time.monotonic()
        with pytest.raises(AbandonedError, match="Ray is lost"):
            attended(lambda release=release: release.wait(30), stop, lambda: None)  # type: ignore[misc]
        assert (1.0 if signalled else 2.0) < time.monotonic() - start < 10
        release.set()


def test_the_time_to_save_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(shutdown, "START_SECONDS", 60.0)
    stop, release = Stop(), threading.Event()
    stop.trials_started = True
    signal_after(0.1, signal.SIGINT)
    with pytest.raises(AbandonedError, match="Ray does not answer"):
        attended(lambda: release.wait(30), stop, lambda: None)
    release.set()


def test_a_stop_before_the_first_trial_is_immediate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown, "START_SECONDS", 0.3)
    stop, release, ended = Stop(), threading.Event(), []

    def work() -> None:
        release.wait(30)
        try:
            stop.check()
        except StoppedError:
            ended.append(1)

    signal_after(0.1, signal.SIGTERM)
    with pytest.raises(AbandonedError):
        attended(work, stop, lambda: None)
    assert signals.is_abandoned_sweep_running()
    with pytest.raises(SweepError, match="an earlier sweep in this process is still blocked within Ray"):
        run_sweep(SearchSpace(cells=(CellConfig(),)), "nowhere")
    release.set()
    wait_until(lambda: ended)
    wait_until(lambda: not signals.is_abandoned_sweep_running())


def test_a_stalled_reader_of_standard_error_blocks_nothing() -> None:
    """The pipe is full, as with `2>&1 | less`."""
    code = """
import os, sys
from lop_sweep.console import signals
signals.install()
os.set_blocking(2, False)
try:
    while True:
        os.write(2, b"x" * 4096)
except BlockingIOError:
    os.set_blocking(2, True)
print("full", flush=True)
import time
time.sleep(30)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "full\n"
    process.terminate()
    assert process.wait(timeout=10) == 143
    process.communicate()


def test_programs_of_a_search_space_can_be_stopped() -> None:
    """Signals are blocked in a command; programs that a search space starts must not inherit that."""
    code = """
import subprocess, sys
from lop_sweep.console import signals
signals.install()
ask = [sys.executable, "-c", "import signal; print(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"]
subprocess.run(ask)
with signals.unblocked():
    subprocess.run(ask)
subprocess.run(ask)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["2", "0", "2"]


def test_errors_of_the_work_are_raised_in_the_caller() -> None:
    def work() -> None:
        raise StoreError("full")

    with pytest.raises(StoreError, match="full"):
        attended(work, Stop(), lambda: None)


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []
    thread = threading.Thread(target=lambda: seen.append(attended(lambda: 5, Stop(), lambda: None)))
    thread.start()
    thread.join()
    assert seen == [5]
    assert signal.getsignal(signal.SIGTERM) is before


def handles_signals(pid: int) -> bool:
    """Return whether a command has run its first instruction, which blocks SIGTERM."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    blocked = next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk"))
    return bool(blocked & (1 << (signal.SIGTERM - 1)))


def signalled(command: list[str], delay: float, number: int) -> tuple[int, str]:
    """Send a signal some time after a command's first instruction; return its exit status and its output."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: handles_signals(process.pid), seconds=30)
    time.sleep(delay)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=90)
    return process.returncode, stdout + stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("package", ["lop_sweep", "analysis"])
def test_signals_while_libraries_load_give_one_line(package: str, number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", package, "map" if package == "analysis" else "sweep", str(tmp_path)]
    for delay in (0.0, 0.05, 0.2):
        status, said = signalled(command, delay, number)
        if "the following arguments are required" in said:  # it was faster
            continue
        assert status == 128 + number, said
        assert said == f"stopped by {signal.Signals(number).name}\n"


START = (0.3, 1.0, 1.7, 2.4, 3.1, 3.8, 4.5, 5.2, 6.0)
"""Seconds after its first instruction at which a command imports Ray, starts it, plans, and computes."""


@pytest.mark.parametrize("delays", [(2.4,), pytest.param(START, marks=pytest.mark.long)], ids=["one", "all"])
def test_signals_while_ray_starts_stop_the_sweep(delays: tuple[float, ...], tmp_path: Path) -> None:
    space = write_space(tmp_path / "space.py", [], width=8, depth=1, samples=4, tasks=10**6)
    for delay in delays:
        for number in (signal.SIGTERM, signal.SIGINT):
            out = tmp_path / f"out-{delay}-{number}"
            status, said = signalled([*COMMAND, "sweep", str(space), "--out", str(out)], delay, number)
            assert status == 128 + number, said
            assert "Traceback" not in said


def test_a_stop_is_announced_once_with_its_first_reason() -> None:
    stop, announced = Stop(), []
    stopper = TuneStopper(stop, lambda: announced.append(1))
    assert not stopper.stop_all()
    assert not stopper("trial", {})
    stop.because(StoreError("full"))
    stop.because(StoreError("gone"))
    assert stopper.stop_all()
    assert stopper.stop_all()
    assert announced == [1]
    assert str(stop.error) == "full"


class Tuner:
    """Replaces Tune: computes one pack per round, then gives up, as Tune does when a worker runs out of memory."""

    rounds = 0
    work = True

    def __init__(self, trainable: object, param_space: dict[str, list[dict[str, Any]]], **options: object) -> None:
        self._space = param_space

    def fit(self) -> None:
        type(self).rounds += 1
        configs = self._space["trial"]["grid_search"]
        if type(self).work:
            config = json.loads(configs[0])
            run = PackRun(Pack(expand(config["pack"])), store=Store(config["run"]["store"]))
            run.run_tasks(1000)
            run.finish()
        raise RuntimeError("Caught unexpected exception: 1 worker(s) were killed")


@pytest.fixture
def three_packs(small: CellConfig, tmp_path: Path) -> tuple[Store, SearchSpace]:
    store = Store(tmp_path / "out")
    store.create()
    return store, SearchSpace(cells=[small.replace(seed=seed) for seed in range(3)], pack=())


def compute(store: Store, space: SearchSpace) -> tuple[dict[str, str], str]:
    """Compute a space; return why packs failed, and why Tune gave up."""
    plan = make_plan(space, set(), store, Sizing())
    with hold_lock(store.driver, dict) as lock:
        computing = executor.Executor(store, SweepOptions(), lock, Progress(False), Stop())
        computing.run(plan, True)
    return computing.failed, computing.gave_up


def test_the_next_round_computes_what_tune_gave_up(
    three_packs: tuple[Store, SearchSpace], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, space = three_packs
    monkeypatch.setattr(executor, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(executor.tune, "Tuner", Tuner)
    monkeypatch.setattr(Tuner, "rounds", 0)
    assert compute(store, space) == ({}, "")
    assert len(store.committed()) == 3
    assert Tuner.rounds == 3
    assert "1 worker(s) were killed; starting another round for what is missing" in caplog.text


def test_rounds_without_progress_end(three_packs: tuple[Store, SearchSpace], monkeypatch: pytest.MonkeyPatch) -> None:
    store, space = three_packs
    monkeypatch.setattr(executor, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(executor.tune, "Tuner", Tuner)
    monkeypatch.setattr(Tuner, "rounds", 0)
    monkeypatch.setattr(Tuner, "work", False)
    failed, gave_up = compute(store, space)
    assert failed == {}
    assert "1 worker(s) were killed" in gave_up
    assert Tuner.rounds == 1 + SweepOptions().max_failures


def test_progress_never_counts_down(three_packs: tuple[Store, SearchSpace]) -> None:
    """Not even when a pack is finished and its checkpoint removed: a round that finishes packs is not idle."""
    store, space = three_packs
    progress = [executor.total_progress(store, space.cells)]
    for cell in space.cells:
        run = PackRun(Pack((cell,)), store=store, keep_state=True)
        for _ in range(cell.tasks):
            run.run_tasks(1)
            run.checkpoint()
            progress.append(executor.total_progress(store, space.cells))
        run.finish()
        progress.append(executor.total_progress(store, space.cells))
    assert progress == sorted(set(progress))


def test_a_round_reports_a_directory_that_was_removed(
    three_packs: tuple[Store, SearchSpace], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, space = three_packs

    class Gone(Tuner):
        def fit(self) -> None:
            store.cells.rmdir()
            raise OSError("Tune could not write either")

    monkeypatch.setattr(executor.tune, "Tuner", Gone)
    with pytest.raises(StoreError, match=r"cells: cannot be written: .* No such file"):
        compute(store, space)


def test_the_reason_of_a_failure_is_its_exception() -> None:
    first = "Failure # 1 (occurred at 2026-01-01_00-00-00)\nTraceback (most recent call last):\n  x\nValueError: old"
    second = "Failure # 2 (occurred at 2026-01-01_00-00-09)\n1 worker(s) were killed\nsee https://x\nError text: 7"
    third = "Failure # 3 (occurred at 2026-01-01_00-00-09)\nTraceback:\nlop_sweep.errors.StoreError: /x: full\n"
    assert failure_reason(f"{first}\n{second}") == "1 worker(s) were killed"
    assert failure_reason(f"{first}\n{second}\n{third}") == "lop_sweep.errors.StoreError: /x: full"
    assert "ValueError" not in newest_failure(f"{first}\n{second}")
    assert len(failure_reason("ValueError: " + "long " * 1000)) < 250
