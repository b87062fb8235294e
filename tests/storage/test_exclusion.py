"""Which drivers work side by side on a sweep, and which exclude each other."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier, Thread

import pytest
from four_cells import BASE
from object_server import environment, proxy

from lop_sweep.errors import StoreError, SweepError
from lop_sweep.pack import Pack
from lop_sweep.storage import exclusion
from lop_sweep.storage.exclusion import hold_sweep, is_at_work
from lop_sweep.storage.filesystem import sweep_path
from lop_sweep.storage.lock import _poll_seconds
from lop_sweep.storage.lock_file import REQUEST, lock_path, read_lock
from lop_sweep.storage.records import read_json, write_json
from lop_sweep.storage.store import Store
from lop_sweep.tune.trainable import LopTrainable


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(exclusion, "_PATIENCE_SECONDS", 0.5)
    where = {"local": str(tmp_path / "out"), "memory": f"memory:/{tmp_path}"}
    root = request.getfixturevalue("bucket") if request.param == "s3" else sweep_path(where[request.param])
    return Store(root)


def activity(request: str = "one") -> dict[str, str]:
    return {REQUEST: request}


def test_parts_of_one_request_work_side_by_side(store: Store) -> None:
    with ExitStack() as held:
        locks = [held.enter_context(hold_sweep(store, activity, f"{number}-of-3")) for number in (1, 2, 3)]
        assert len({lock.folder for lock in locks}) == 3
        assert store.lock_folders() == [store.driver, *(store.lock_folder(f"{number}-of-3") for number in (1, 2, 3))]
        assert is_at_work(store)
    assert not is_at_work(store)


@pytest.mark.parametrize(
    ("first", "second", "request_"),
    [
        ("", "", "one"),
        ("", "1-of-2", "one"),
        ("1-of-2", "", "one"),
        ("1-of-2", "1-of-2", "one"),
        ("1-of-2", "1-of-3", "one"),
        ("1-of-2", "2-of-2", "another"),
    ],
)
def test_all_others_exclude_each_other(store: Store, first: str, second: str, request_: str) -> None:
    with hold_sweep(store, activity, first) as lock:
        with (
            pytest.raises(SweepError, match="has been at work here since"),
            hold_sweep(store, lambda: activity(request_), second),
        ):
            pytest.fail("both are at work")
        lock.check()
    with hold_sweep(store, lambda: activity(request_), second):
        assert is_at_work(store)


def test_a_refused_driver_leaves_a_lock_under_which_nothing_was_computed(store: Store) -> None:
    hint = "parts work side by side only with equal cells, dtype and number of parts"
    with hold_sweep(store, activity, "1-of-2"):
        for part in ("", "1-of-3"):
            with pytest.raises(SweepError) as refusal, hold_sweep(store, activity, part):
                pytest.fail("both are at work")
            assert (hint in str(refusal.value)) == bool(part)
            left = read_lock(store.lock_folder(part))
            assert left is not None
            assert left.was_idle
    ended = read_lock(store.lock_folder("1-of-2"))
    assert ended is not None
    assert ended.released
    assert not ended.was_idle


def test_of_many_that_start_at_once_one_kind_works(store: Store) -> None:
    """A whole sweep and the two parts of it never work at the same time; the two parts may."""
    barrier, seen, at_work = Barrier(3), set[str](), set[str]()

    def work(part: str) -> None:
        barrier.wait()
        try:
            with hold_sweep(store, activity, part):
                at_work.add(part)
                time.sleep(0.3)
                seen.add("together" if "" in at_work and len(at_work) > 1 else part)
                time.sleep(0.3)
                at_work.discard(part)
        except SweepError:
            return

    for _ in range(3):
        threads = [Thread(target=work, args=(part,)) for part in ("", "1-of-2", "2-of-2")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert "together" not in seen


def test_an_abandoned_part_is_taken_over_and_its_workers_stop(tmp_path: Path) -> None:
    """A whole sweep takes the lock of a part whose driver was killed, and a worker of that part writes nothing more."""
    store = Store(tmp_path / "out")
    store.create()
    script = (
        "import sys, time\n"
        "from lop_sweep.storage import Store, hold_sweep\n"
        "with hold_sweep(Store(sys.argv[1]), lambda: {'request': 'one'}, '1-of-2') as lock:\n"
        "    print(lock.token, flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(store.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        token = driver.stdout.readline().strip()
        pack = Pack((BASE,))
        run = {"store": str(store.root), "driver": token, "lock": "shards/1-of-2"}
        worker = LopTrainable({"pack": pack.to_config(), "run": run})
        driver.kill()
    assert not is_at_work(store)
    with hold_sweep(store, activity):
        left = read_lock(store.lock_folder("1-of-2"))
        assert left is not None
        assert left.released
        assert left.token != token
        for _ in range(BASE.tasks - 1):
            worker.train()
        with pytest.raises(StoreError, match="does not see the sweep that this trial belongs to"):
            worker.train()
    assert store.committed() == []


def test_parts_that_start_together_after_a_crash_all_work(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine crashed in the midst of the parts of another request and of a whole sweep."""
    monkeypatch.setattr("lop_sweep.storage.lock.WATCH_SECONDS", 0.3)
    monkeypatch.setattr(exclusion, "_PATIENCE_SECONDS", 20.0)
    parts = [f"{number}-of-4" for number in range(1, 5)]
    for part in ("", *parts):
        with hold_sweep(store, lambda: activity("old"), part) as lock:
            path = lock_path(lock.folder, lock.fencing_token)
            abandoned = read_json(path)
        abandoned["process"]["machine"] = "another"
        write_json(path, {**abandoned, "released": False})
    working, failures, barrier = Barrier(4), list[BaseException](), Barrier(4)

    def work(part: str) -> None:
        try:
            barrier.wait()
            with hold_sweep(store, lambda: activity("new"), part) as lock:
                working.wait(60)  # all four are at work at the same time
                lock.check()
        except BaseException as error:
            failures.append(error)
            working.abort()

    threads = [Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_part_that_starts_while_its_old_lock_is_watched_is_no_obstacle(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock that changes meanwhile is no longer that of another request, but that of a part that may work."""
    monkeypatch.setattr("lop_sweep.storage.lock.WATCH_SECONDS", 20.0)
    with hold_sweep(store, lambda: activity("old"), "2-of-2") as lock:
        path = lock_path(lock.folder, lock.fencing_token)
        abandoned = read_json(path)
    abandoned["process"]["machine"] = "another"
    write_json(path, {**abandoned, "released": False})
    watched = lock_path(store.lock_folder("2-of-2"), lock.fencing_token + 1)

    def start_the_other() -> None:
        time.sleep(2 * _poll_seconds())
        write_json(watched, {**abandoned, "fencing_token": lock.fencing_token + 1, "activity": activity("new")})

    other = Thread(target=start_the_other)
    other.start()
    with hold_sweep(store, lambda: activity("new"), "1-of-2"):
        newest = read_lock(store.lock_folder("2-of-2"))
    other.join()
    assert newest is not None
    assert newest.activity == activity("new")


@pytest.mark.parametrize(("first", "second"), [("", "1-of-2"), ("1-of-2", ""), ("1-of-2", "1-of-3")])
def test_workers_that_a_driver_has_left_behind_are_stopped(store: Store, first: str, second: str) -> None:
    """Even if it has released its lock: its workers then find another one, under another token."""
    with hold_sweep(store, activity, first) as lock:
        token = lock.token
    with hold_sweep(store, activity, second):
        found = read_lock(store.lock_folder(first))
        assert found is not None
        assert found.released
        assert found.token != token


@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.long)])
def test_of_two_drivers_within_milliseconds_exactly_one_works(bucket: Path, s3: str, rounds: int) -> None:
    """On a bucket whose requests are delayed, refused and lost; the times between the two are 0 to 20 ms."""
    rng, outcomes = random.Random(0), Counter[tuple[str, ...]]()
    with proxy(s3, slow=0.03, busy=0.03, refused=0.02, lost=0.02) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(server.endpoint).items():
            patch.setenv(name, value)
        for number in range(rounds):
            barrier, ended = Barrier(2), list[str]()
            store, both_tried = Store(bucket / str(number)), Barrier(2)

            def drive(delay: float, store=store, barrier=barrier, both_tried=both_tried, ended=ended) -> None:  # type: ignore[no-untyped-def]
                barrier.wait()
                time.sleep(delay)
                try:
                    with hold_sweep(store, activity) as lock:
                        both_tried.wait(60)
                        lock.check()
                        ended.append("works")
                except SweepError:
                    ended.append("refused")
                    both_tried.wait(60)

            threads = [Thread(target=drive, args=(rng.uniform(0, 0.02),)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            outcomes[tuple(sorted(ended))] += 1
    assert outcomes == {("refused", "works"): rounds}
    assert server.faults.total() > 0
