"""Suspended processes, exhausted memory, jumping clocks, nodes lost in mid-commit, and unusual environments.

The results equal those of an undisturbed sweep to the last bit.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster
from sweeping import (
    COMMAND,
    Start,
    assert_same_results,
    at_work,
    mounting,
    read_status,
    sweep,
    wait_until,
)

from lop_sweep.storage.filesystem import FAULTS
from lop_sweep.storage.lock import BEAT_SECONDS
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.process import ProcessMark
from lop_sweep.storage.store import Store

OPTIONS = ("--checkpoint-every", "0.2", "--no-progress")


def assert_undisturbed(
    process: subprocess.Popen[str], store: Store, undisturbed: tuple[Path, Path], crashes: bool = False
) -> str:
    """Check that the command ends with the undisturbed results; return its messages.

    After crashes, the next command has nothing to compute, and removes the leftovers.
    """
    _, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr
    if crashes:
        again = sweep(undisturbed[0], store.root, *OPTIONS)
        assert again.returncode == 0, again.stderr
        assert "0 to compute" in again.stderr
    assert_same_results(store.root, undisturbed[1])
    assert [str(finding) for finding in audit(store).findings] == []
    assert list(store.checkpoints.running.iterdir()) == []
    return stderr


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Suspend a process, wait until it is, and resume it afterwards."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.long
@pytest.mark.parametrize("seconds", [BEAT_SECONDS + 1, 60.0])
def test_a_frozen_driver_and_a_frozen_worker(
    started: Start, undisturbed: tuple[Path, Path], tmp_path: Path, seconds: float
) -> None:
    """First the driver is suspended, whose lock stays held, then one worker."""
    store = Store(tmp_path / "out")
    process = started(undisturbed[0], store.root, *OPTIONS)
    wait_until(lambda: store.committed() and at_work(store.root), process)
    with frozen(process.pid):
        until = time.monotonic() + seconds
        refused = sweep(undisturbed[0], store.root, *OPTIONS)
        time.sleep(max(0.0, until - time.monotonic()))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert f"process {process.pid} on " in refused.stderr
    assert "has been at work here since" in refused.stderr
    workers: list[int] = []
    wait_until(lambda: workers.extend(at_work(store.root)) or workers, process)
    with frozen(workers[0]):
        time.sleep(seconds / 3)
    stderr = assert_undisturbed(process, store, undisturbed)
    assert "retrying" not in stderr


@pytest.mark.long
def test_no_writable_home_spaces_in_tmpdir_and_umask(
    started: Start, undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    store, home = Store(tmp_path / "out"), tmp_path / "home"
    home.mkdir()
    within = [*mounting("-t", "tmpfs", "-o", "ro", "none", home), "sh", "-c", 'umask 077 && exec "$@"', "sh"]
    with tempfile.TemporaryDirectory(prefix="with some spaces ") as folder:  # short: Ray's sockets are in it
        env = {**os.environ, "HOME": str(home), "TMPDIR": folder}
        process = started(undisturbed[0], store.root, *OPTIONS, env=env, within=within)
        assert_undisturbed(process, store, undisturbed)
        assert list(Path(folder).glob("ray/session_*/logs"))
    assert {path.stat().st_mode & 0o077 for path in store.root.rglob("*")} == {0}


@pytest.mark.long
def test_no_home_at_all(started: Start, undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "HOME"}
    store = Store(tmp_path / "out")
    assert_undisturbed(started(undisturbed[0], store.root, *OPTIONS, env=env), store, undisturbed)


@contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """Yield a control group with a memory limit in bytes, which is removed afterwards. This needs root."""
    first = Path("/sys/fs/cgroup/memory")  # version 1; else version 2
    group = (first if first.is_dir() else first.parent) / f"lop-sweep-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.limit_in_bytes" if first.is_dir() else "memory.max")).write_text(str(limit))
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


GREEDY = """
import os, sys
from pathlib import Path
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
hoard = bytearray(b"1") * 300_000_000
"""


@pytest.mark.long
def test_a_worker_that_the_kernel_kills_for_memory(
    started: Start, undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    """Another program exhausts the group's memory. The kernel kills Ray's workers first, because Ray asks it to."""
    store = Store(tmp_path / "out")
    process = started(undisturbed[0], store.root, *OPTIONS)
    wait_until(lambda: store.checkpoints.in_progress() and at_work(store.root), process)
    worker = at_work(store.root)[0]
    with memory_group(limit=50_000_000) as group:
        (group / "cgroup.procs").write_text(str(worker))
        greedy = subprocess.run([sys.executable, "-c", GREEDY, group], timeout=60)
        wait_until(lambda: not ProcessMark.exists(worker), process)
    assert greedy.returncode == -signal.SIGKILL  # killed last, when no worker was left
    stderr = assert_undisturbed(process, store, undisturbed, crashes=True)
    assert "retrying from its checkpoint" in stderr


@pytest.mark.long
def test_rays_memory_monitor_leads_to_another_round(
    started: Start, undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    """The real monitor kills real workers, but reads the machine's memory from a file that is written here.

    So the machine may be idle or busy, and have as much memory as it likes. Ray believes /proc/meminfo unless a
    cgroup's limit is lower, hence the small total.
    """
    store, meminfo = Store(tmp_path / "out"), tmp_path / "meminfo"
    write_memory(meminfo, available=1_500_000)
    process = started(
        undisturbed[0], store.root, *OPTIONS, "--max-failures", "20",
        env={**os.environ, "RAY_memory_monitor_refresh_ms": "100"}, within=mounting("--bind", meminfo, "/proc/meminfo"),
    )  # fmt: skip
    wait_until(lambda: store.checkpoints.in_progress() and at_work(store.root), process)
    workers = at_work(store.root)
    write_memory(meminfo, available=10_000)
    wait_until(lambda: not all(map(ProcessMark.exists, workers)), process)
    write_memory(meminfo, available=1_500_000)
    stderr = assert_undisturbed(process, store, undisturbed, crashes=True)
    assert "low on memory" in stderr
    assert "starting another round for what is missing" in stderr


def write_memory(meminfo: Path, available: int) -> None:
    """Write what /proc/meminfo shows, in kB: in place and with constant length, because the file is bound and read."""
    told = {"MemTotal": 2_000_000, "MemFree": available, "MemAvailable": available, "Buffers": 0, "Cached": 0}
    lines = [line.partition(":")[0] for line in Path("/proc/meminfo").read_text().splitlines()]
    with meminfo.open("r+" if meminfo.exists() else "w") as file:
        file.write("".join(f"{name + ':':15} {told.get(name, 0):8} kB\n" for name in lines))


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.long
@pytest.mark.parametrize("point", ["tasks.half", "tasks.renamed", "cells.half", "cells.renamed"])
def test_a_node_that_is_lost_while_it_commits(
    started: Start,
    undisturbed: tuple[Path, Path],
    tmp_path: Path,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    """Of one of two nodes, the worker crashes between two writes of a commit, and the whole node right after it."""
    store, tickets = Store(tmp_path / "out"), tmp_path / "tickets"
    tickets.mkdir()
    monkeypatch.setenv(FAULTS, str(tickets))
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    process = started(undisturbed[0], store.root, *OPTIONS, "--address", cluster.address)
    raylets: dict[int, int] = {}

    def crashed_nodes() -> set[int]:
        raylets.update({pid: parent(pid) for pid in at_work(store.root) if pid not in raylets})
        return {raylet for worker, raylet in raylets.items() if not ProcessMark.exists(worker)}

    try:
        wait_until(lambda: store.committed() and len(at_work(store.root)) == 2, process)
        (tickets / point).touch()
        wait_until(crashed_nodes, process)
        os.kill(crashed_nodes().pop(), signal.SIGKILL)
        assert list(tickets.iterdir()) == []
        assert_undisturbed(process, store, undisturbed, crashes=True)
    finally:
        for node in nodes:
            cluster.remove_node(node, allow_graceful=False)


def faketime() -> str:
    found = shutil.which("faketime")
    assert found, "there is no faketime; `make faults` installs it, or says what to install"
    return found


def with_another_clock(store: Store, days: int) -> dict[str, Any]:
    """Return the status as read by a user whose clock is wrong."""
    command = [faketime(), "-f", f"{days:+}d", *COMMAND, "status", str(store.root), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


@pytest.mark.long
@pytest.mark.parametrize("days", [2, -2])
def test_a_clock_that_jumps_during_a_run(
    started: Start, undisturbed: tuple[Path, Path], tmp_path: Path, days: int
) -> None:
    """The clock of the driver and its workers, which share a machine, and the clocks of users who read the status.

    What jumps is what Python takes for the time: Ray does not always start under faketime, which stops its forks.
    """
    store, ahead = Store(tmp_path / "out"), tmp_path / "ahead"
    ahead.write_text("0")
    path = os.pathsep.join(
        [str(Path(__file__).parents[1] / "helpers" / "jumping_clock"), os.environ.get("PYTHONPATH", "")]
    )
    process = started(undisturbed[0], store.root, *OPTIONS, env={**os.environ, "AHEAD": str(ahead), "PYTHONPATH": path})
    wait_until(lambda: store.committed() and at_work(store.root), process)
    (tmp_path / "next").write_text(str(days * 86400))
    (tmp_path / "next").replace(ahead)  # at once: processes read it all the time
    heartbeats = store.checkpoints.heartbeats
    wait_until(lambda: any(abs(beat.time - time.time()) > 86400 for beat in heartbeats()), process)
    with frozen(process.pid):  # so that it does not come to its end meanwhile
        for status in (read_status(store.root), with_another_clock(store, 2), with_another_clock(store, -2)):
            assert status["driver"]["alive"]
            assert status["finished"] + status["diverged"] < 16
        refused = sweep(undisturbed[0], store.root, *OPTIONS)
    assert refused.returncode == 2
    assert f"process {process.pid} on " in refused.stderr
    stderr = assert_undisturbed(process, store, undisturbed)
    assert "retrying" not in stderr
