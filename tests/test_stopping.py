"""Stopping in order, one driver at a time, and rounds after Ray Tune has given up."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sweeping import assert_same_results, run_cli, start_sweep, sweep, wait_until

from lop_sweep import rounds
from lop_sweep.audit import audit
from lop_sweep.cli import main
from lop_sweep.config import CellConfig
from lop_sweep.errors import StoreError
from lop_sweep.lease import hold_lease
from lop_sweep.options import SweepOptions
from lop_sweep.pack import Pack, expand
from lop_sweep.pack_run import PackRun
from lop_sweep.plan import Assignment, missing_packs
from lop_sweep.progress import Progress, _newest, _reason
from lop_sweep.sizes import Sizing
from lop_sweep.space import SearchSpace
from lop_sweep.status import sweep_status
from lop_sweep.stopping import Stop, TuneStopper, stopping_on_signals
from lop_sweep.store import Store


def test_a_sweep_is_stopped_in_order_and_only_one_is_at_work(
    undisturbed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in a terminal, while a second command has just been refused; then SIGTERM as from a batch system."""
    space, expected = undisturbed
    out = tmp_path / "out"
    process = start_sweep(space, out, "--no-progress")  # a checkpoint a minute: those below come from the stop
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
    assert store.unfinished.checkpoints() == []
    counts = (status.finished, status.diverged, status.running, status.failed, status.missing)
    assert sum(counts) == status.cells == 16
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "stopping: trials save what they have; once more to stop at once" in stderr
    assert "run the same command again to compute what is missing, from the checkpoints\n" in stderr
    assert "Traceback" not in stderr + stdout
    saved = [state.tasks_done for state in store.unfinished.so_far()]
    assert len(saved) >= 1
    assert min(saved) > 0
    assert "nobody is at work" in run_cli("status", out).stdout
    assert len(audit(store).findings) == 1  # cells that are missing
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

    again = sweep(space, out)
    assert again.returncode == 0, again.stderr
    assert_same_results(out, expected)


def test_the_first_signal_asks_and_the_second_is_not_ours() -> None:
    stop, before = Stop(), signal.getsignal(signal.SIGTERM)
    with stopping_on_signals(stop, lambda: True, lambda: None):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop
        assert stop.signal == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is before
        stop.ended.set()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_is_noticed_while_the_main_thread_is_in_a_library() -> None:
    """Which then does not run Python's handlers: the signal comes to another thread, and the library's call goes on."""
    stop, seen = Stop(), []

    def watch() -> None:
        stop.wait(10)
        seen.append(time.monotonic())

    with stopping_on_signals(stop, lambda: True, lambda: None):
        watcher = threading.Thread(target=watch)
        watcher.start()
        sender = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
        sender.start()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            ctypes.CDLL(None).sleep(3)
            returned = time.monotonic()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        stop.ended.set()
        watcher.join()
    assert stop.signal == signal.SIGTERM
    assert seen[0] < returned - 1


def test_a_stop_is_announced_once_and_the_first_reason_counts() -> None:
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
    """In Tune's place: computes one pack a round, then gives up, as Tune does when a worker runs out of memory."""

    rounds = 0
    work = True

    def __init__(self, trainable: object, param_space: dict[str, object], **options: object) -> None:
        self._space = param_space

    def fit(self) -> None:
        type(self).rounds += 1
        packs = self._space["pack"]["grid_search"]  # type: ignore[index]
        if type(self).work:
            config = {key: value for key, value in packs[0].items() if key not in ("starts", "tasks_per_report")}
            run = PackRun(Pack(expand(config)), store=Store(str(self._space["store"])))
            run.run_tasks(1000)
            run.finish()
        raise RuntimeError("Caught unexpected exception: 1 worker(s) were killed")


@pytest.fixture
def three_packs(small: CellConfig, tmp_path: Path) -> tuple[Store, SearchSpace]:
    store = Store(tmp_path / "out")
    store.create()
    return store, SearchSpace("s", tuple(small.replace(seed=seed) for seed in range(3)), ())


def compute(store: Store, space: SearchSpace) -> tuple[dict[str, str], str]:
    def missing() -> list[Assignment]:
        return missing_packs(space, set(store.read_cells(["cell"])["cell"].to_pylist()), store, Sizing())

    with hold_lease(store.driver, dict) as lease:
        return rounds.compute(
            missing(), missing, store, SweepOptions(), lease, Progress(False), Stop(), keep_state=False
        )


def test_when_tune_gives_up_the_next_round_computes_what_is_missing(
    three_packs: tuple[Store, SearchSpace], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, space = three_packs
    monkeypatch.setattr(rounds, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(rounds.tune, "Tuner", Tuner)
    monkeypatch.setattr(Tuner, "rounds", 0)
    assert compute(store, space) == ({}, "")
    assert len(store.committed()) == 3
    assert Tuner.rounds == 3
    assert "1 worker(s) were killed; going round again over what is missing" in caplog.text


def test_rounds_without_progress_end(three_packs: tuple[Store, SearchSpace], monkeypatch: pytest.MonkeyPatch) -> None:
    store, space = three_packs
    monkeypatch.setattr(rounds, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(rounds.tune, "Tuner", Tuner)
    monkeypatch.setattr(Tuner, "rounds", 0)
    monkeypatch.setattr(Tuner, "work", False)
    failed, gave_up = compute(store, space)
    assert failed == {}
    assert "1 worker(s) were killed" in gave_up
    assert Tuner.rounds == 1 + SweepOptions().max_failures


def test_progress_never_counts_down(three_packs: tuple[Store, SearchSpace]) -> None:
    """Not even when a pack is finished and its checkpoint goes: rounds that finish packs are no idle rounds."""
    store, space = three_packs
    far = [rounds._how_far(store)]
    for cell in space.cells:
        run = PackRun(Pack((cell,)), store=store, keep_state=True)
        for _ in range(cell.tasks):
            run.run_tasks(1)
            run.checkpoint()
            far.append(rounds._how_far(store))
        run.finish()
        far.append(rounds._how_far(store))
    assert far == sorted(set(far))


def test_a_round_that_ends_because_the_directory_is_gone_says_so(
    three_packs: tuple[Store, SearchSpace], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, space = three_packs

    class Gone(Tuner):
        def fit(self) -> None:
            store.cells.rmdir()
            raise OSError("Tune could not write either")

    monkeypatch.setattr(rounds.tune, "Tuner", Gone)
    with pytest.raises(StoreError, match=r"cells: cannot be written: .* No such file"):
        compute(store, space)


def test_the_reason_of_a_failure_is_its_exception() -> None:
    first = "Failure # 1 (occurred at 2026-01-01_00-00-00)\nTraceback (most recent call last):\n  x\nValueError: old"
    second = "Failure # 2 (occurred at 2026-01-01_00-00-09)\n1 worker(s) were killed\nsee https://x\nError text: 7"
    third = "Failure # 3 (occurred at 2026-01-01_00-00-09)\nTraceback:\nlop_sweep.errors.StoreError: /x: full\n"
    assert _reason(f"{first}\n{second}") == "1 worker(s) were killed"
    assert _reason(f"{first}\n{second}\n{third}") == "lop_sweep.errors.StoreError: /x: full"
    assert "ValueError" not in _newest(f"{first}\n{second}")
    assert len(_reason("ValueError: " + "long " * 1000)) < 250


HUNGRY = """
import sys, time
hoard = bytearray(3_500_000_000)
for at in range(0, len(hoard), 4096):
    hoard[at] = 1
print("full", flush=True)
time.sleep(3)
"""


@pytest.mark.long
def test_rays_memory_monitor_leads_to_another_round(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    """The real one: another program takes memory for three seconds, beyond what Ray is told there may be."""
    space, expected = undisturbed
    memory = {line.split(":")[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()}
    threshold = (memory["MemTotal"] - memory["MemAvailable"] + 2.5e6) / memory["MemTotal"]
    monitored = {"RAY_memory_usage_threshold": f"{threshold:.4f}", "RAY_memory_monitor_refresh_ms": "200"}
    process = start_sweep(
        space, tmp_path / "out", "--checkpoint-every", "0.2", "--max-failures", "20", env={**os.environ, **monitored}
    )
    store = Store(tmp_path / "out")
    wait_until(lambda: store.root.exists() and store.unfinished.checkpoints(), process)
    subprocess.run([sys.executable, "-c", HUNGRY], check=True)
    _, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr
    assert "low on memory" in stderr
    assert "going round again over what is missing" in stderr
    assert_same_results(store.root, expected)
