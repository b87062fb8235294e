"""One driver at a time: taken, renewed, released, lost, taken over."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from lop_sweep.errors import InaccessibleFileError, StoreError, SweepError
from lop_sweep.storage import lock as lock_module
from lop_sweep.storage import lock_file
from lop_sweep.storage import process as process_module
from lop_sweep.storage.filesystem import names_in
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.lock_file import LockState, is_held, read_lock
from lop_sweep.storage.process import ProcessMark
from lop_sweep.storage.records import read_json, write_json


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lock_module, "WATCH_SECONDS", 0.5)


def doing() -> dict[str, object]:
    return {"sweep": "demo", "cells": 5}


def pretend(folder: Path, fencing_token: int, **process: object) -> None:
    """Make the newest lock look as if another process held it."""
    path = folder / f"{fencing_token:06}.json"
    content = read_json(path)
    content["process"].update(process)
    write_json(path, {**content, "released": False})


def test_a_lock_is_held_by_one_process_and_names_it(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "driver", doing) as mine:
        state = read_lock(tmp_path / "driver")
        assert state is not None
        assert (state.token, state.fencing_token, state.released) == (mine.token, 1, False)
        with pytest.raises(SweepError, match=rf"process {os.getpid()} on .* has been at work .*sweep: demo, cells: 5"):
            hold_lock(tmp_path / "driver", doing).__enter__()
    with hold_lock(tmp_path / "driver", doing) as next_one:
        assert next_one.fencing_token == 2
    assert [path.name for path in (tmp_path / "driver").iterdir()] == ["000002.json"]


def test_a_lock_is_renewed(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "driver", doing):
        time.sleep(0.3)
        state = read_lock(tmp_path / "driver")
    assert state is not None
    assert state.beat >= 2


@pytest.mark.parametrize("change", [{"pid": 2**30}, {"started": "1"}])
def test_the_lock_of_an_ended_process_is_taken_at_once(tmp_path: Path, change: dict[str, object]) -> None:
    """In the second case, the PID of the ended process has been reused."""
    with hold_lock(tmp_path / "driver", doing):
        pass
    pretend(tmp_path / "driver", 1, **change)
    start = time.monotonic()
    with hold_lock(tmp_path / "driver", doing) as mine:
        assert mine.fencing_token == 2
    assert time.monotonic() - start < 0.4


def test_a_remote_lock_that_is_not_renewed_is_abandoned(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "driver", doing):
        pass
    pretend(tmp_path / "driver", 1, machine="another", host="elsewhere")
    with hold_lock(tmp_path / "driver", doing) as mine:
        assert mine.fencing_token == 2


def test_a_remote_lock_that_is_renewed_is_held(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "driver", doing):
        pass
    pretend(tmp_path / "driver", 1, machine="another", host="elsewhere")
    path = tmp_path / "driver" / "000001.json"

    def beat() -> None:
        time.sleep(0.2)
        content = read_json(path)
        write_json(path, {**content, "beat": content["beat"] + 1})

    thread = threading.Thread(target=beat)
    thread.start()
    with pytest.raises(SweepError, match="on elsewhere has been at work"):
        hold_lock(tmp_path / "driver", doing).__enter__()
    thread.join()


def test_the_holder_is_notified_of_the_loss_of_its_lock(tmp_path: Path) -> None:
    lost: list[str] = []
    with hold_lock(tmp_path / "driver", doing, lost.append):
        pretend(tmp_path / "driver", 1, pid=2**30)
        with hold_lock(tmp_path / "driver", doing) as other:
            time.sleep(0.3)
            assert len(lost) == 1
            assert "another lop-sweep has taken over" in lost[0]
            state = read_lock(tmp_path / "driver")
            assert state is not None
            assert state.token == other.token


def test_a_lock_is_lost_with_its_directory(tmp_path: Path) -> None:
    lost: list[str] = []
    with hold_lock(tmp_path / "driver", doing, lost.append):
        for path in (tmp_path / "driver").iterdir():
            path.unlink()
        (tmp_path / "driver").rmdir()
        time.sleep(0.3)
    assert len(lost) == 1
    assert "no longer there" in lost[0]
    assert not (tmp_path / "driver").exists()


def test_a_damaged_lock_is_abandoned(tmp_path: Path) -> None:
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver" / "000007.json").write_text("{")
    with hold_lock(tmp_path / "driver", doing) as mine:
        assert mine.fencing_token == 8


@pytest.mark.parametrize("links", [True, False])
def test_of_many_that_start_at_once_one_holds_the_lock(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:

        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    holders: list[int] = []
    barrier, done = threading.Barrier(8), threading.Event()

    def start() -> None:
        with ExitStack() as stack:
            barrier.wait()
            try:
                holders.append(stack.enter_context(hold_lock(tmp_path / "driver", doing)).fencing_token)
            except SweepError:
                return
            done.wait()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    done.set()
    for thread in threads:
        thread.join()
    assert holders == [1]


CHILD = """
import json
from lop_sweep.storage.process import ProcessMark
print(json.dumps(ProcessMark.current().to_json()), flush=True)
input()
"""


def test_a_process_is_identified_even_if_its_pid_is_reused(tmp_path: Path) -> None:
    here = ProcessMark.current()
    assert here.alive() is True
    assert ProcessMark.from_json(here.to_json()) == here
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    mark = ProcessMark.from_json(json.loads(child.stdout.readline()))
    assert mark.alive() is True
    child.kill()
    assert has_ended(mark)
    child.wait()
    assert replace(here, started="1").alive() is False
    assert ProcessMark("elsewhere", "another boot", 1, "1").alive() is None


def has_ended(mark: ProcessMark) -> bool:
    """A zombie, for which nobody has waited yet, counts as ended."""
    deadline = time.monotonic() + 5
    while mark.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_lock_that_is_briefly_unreadable_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, failures = lock_file.read_json, [1, 2]

    def stale(path: Path) -> dict[str, object]:
        if failures:
            failures.pop()
            raise StoreError(f"{path}: cannot be read: Stale file handle")
        return read(path)

    with hold_lock(tmp_path / "driver", doing):
        monkeypatch.setattr(lock_file, "read_json", stale)
        with pytest.raises(SweepError, match="has been at work here"):
            hold_lock(tmp_path / "driver", doing).__enter__()
    assert failures == []


def test_a_fencing_token_below_the_holders_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one reads the lock, a second takes and releases it, and a third takes it and removes the lower tokens."""
    folder = tmp_path / "driver"
    with hold_lock(folder, doing):
        pass
    newest, once = lock_module.newest, []

    def slow(where: Path) -> LockState | None:
        found = newest(where)
        if not once:
            once.append(1)
            with hold_lock(folder, doing):
                pass
            third.append(stack.enter_context(hold_lock(folder, doing)))
        return found

    third: list[lock_module.Lock] = []
    monkeypatch.setattr(lock_module, "newest", slow)
    with ExitStack() as stack:
        with pytest.raises(SweepError, match="has been at work here"):
            hold_lock(folder, doing).__enter__()
        assert names_in(folder, ".json") == [f"{third[0].fencing_token:06}"]


def test_a_process_whose_details_are_hidden_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with /proc mounted with hidepid, for another user's process."""
    here = ProcessMark.current()
    monkeypatch.setattr(process_module, "_state_and_start", lambda pid: ("", ""))
    assert here.alive() is True
    assert ProcessMark(here.host, here.machine, 2**30, "1").alive() is False


def test_an_inaccessible_lock_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of another user, whose files are private."""

    def refuse(path: Path) -> dict[str, object]:
        raise InaccessibleFileError(f"{path}: cannot be read: Permission denied")

    with hold_lock(tmp_path / "driver", doing) as mine:
        monkeypatch.setattr(lock_file, "read_json", refuse)
        with pytest.raises(StoreError, match="Permission denied"):
            hold_lock(tmp_path / "driver", doing).__enter__()
        assert names_in(tmp_path / "driver", ".json") == [f"{mine.fencing_token:06}"]


def test_odd_files_beside_a_lock_do_no_harm(tmp_path: Path) -> None:
    folder = tmp_path / "driver"
    (folder / "000009.json").mkdir(parents=True)
    (folder / "\u00b2.json").write_text("{}")
    (folder / "000003.json").write_text("{}")
    (folder / "abc.stop").touch()
    write_json(folder / "000010.json", {"token": 1, "activity": 5})
    with hold_lock(folder, doing) as mine:
        assert mine.fencing_token == 11
        assert not (folder / "abc.stop").exists()


def test_a_copy_of_a_directory_at_work_is_not_at_work(tmp_path: Path) -> None:
    """In a copy as of `cp -a`, the lock is another directory's and does not change while it is watched."""
    with hold_lock(tmp_path / "driver", doing):
        shutil.copytree(tmp_path / "driver", tmp_path / "copy")
        assert is_held(read_lock(tmp_path / "driver"), tmp_path / "driver")
        copied = read_lock(tmp_path / "copy")
        assert copied is not None
        assert copied.holder_alive(tmp_path / "copy") is None
        with hold_lock(tmp_path / "copy", doing) as mine:
            assert mine.fencing_token == 2
        (tmp_path / "driver").rename(tmp_path / "renamed")
        with pytest.raises(SweepError, match="has been at work here"):
            hold_lock(tmp_path / "renamed", doing).__enter__()
        (tmp_path / "renamed").rename(tmp_path / "driver")


def test_a_lock_of_an_earlier_build_counts_anywhere(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "driver", doing):
        path = tmp_path / "driver" / "000001.json"
        content = read_json(path)
        del content["inode"]
        write_json(path, content)
        assert is_held(read_lock(tmp_path / "driver"), tmp_path / "driver")
