"""The state of a sweep: every cell in one state, its driver, failures and kept states."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from sweeping import compute_here

from analysis import load_cells, load_tasks
from lop_sweep.cli import main
from lop_sweep.config import CellConfig
from lop_sweep.errors import StoreError, SweepError
from lop_sweep.pack import Pack
from lop_sweep.planning.choosing import Refinement, refinement_in
from lop_sweep.planning.space import SearchSpace
from lop_sweep.planning.status import Driver, sweep_status
from lop_sweep.planning.status_text import seconds_text, status_json, status_lines
from lop_sweep.storage.exclusion import hold_sweep
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.manifest import describe_space
from lop_sweep.storage.records import read_json, write_json
from lop_sweep.storage.store import Store
from lop_sweep.tune.worker import PackRun


@pytest.fixture
def mixed(small: CellConfig, tmp_path: Path) -> Store:
    """Return a sweep of ten cells: 2 finished, 2 diverged, 2 running (one has a checkpoint), 1 failed, 3 missing."""
    grid = [small.replace(lr=lr, seed=seed) for lr in (0.1, 0.2, 0.3, 0.4, 1.7e308) for seed in (1, 2)]
    by_lr = {cell.lr: [c for c in grid if c.lr == cell.lr] for cell in grid}
    store = compute_here([*by_lr[0.1], *by_lr[1.7e308]], tmp_path / "out")
    space = SearchSpace(cells=grid, name="mixed", pack=("seed",))
    store.write_sweep({"dtype": "float64", "created": "today", **describe_space(space)})
    saved = PackRun(Pack((by_lr[0.2][0],)), store=store)
    saved.run_tasks(3)
    saved.checkpoint()
    PackRun(Pack((by_lr[0.2][1],)), store=store)
    store.failures.record(Pack((by_lr[0.3][0],)), "ValueError: no", "Traceback:\n  x\nValueError: no", 4)
    shutil.rmtree(store.driver)  # its workers have no driver, as in a user's own Tuner
    return store


def test_every_cell_is_in_one_state(mixed: Store) -> None:
    status = sweep_status(mixed)
    assert (status.cells, status.finished, status.diverged) == (10, 2, 2)
    assert (status.running, status.failed, status.missing) == (2, 1, 3)
    assert not status.complete
    assert {value: dict(count) for value, count in status.axes["lr"].items()} == {
        0.1: {"finished": 2}, 0.2: {"running": 2}, 0.3: {"failed": 1, "missing": 1}, 0.4: {"missing": 2},
        1.7e308: {"diverged": 2},
    }  # fmt: skip
    assert (status.kept_states, status.kept_bytes > 0) == (2, True)


def test_a_retried_cell_counts_as_running_then_as_finished(mixed: Store, small: CellConfig) -> None:
    (failure,) = mixed.failures.read()
    run = PackRun(Pack((small.replace(lr=0.3, seed=1),)), store=mixed)
    assert (sweep_status(mixed).running, sweep_status(mixed).failed) == (3, 0)
    run.run_tasks(4)
    run.finish()
    status = sweep_status(mixed)
    assert (status.finished, status.failed, status.failures) == (3, 0, ())
    mixed.failures.discard_finished([*failure.cells])
    assert mixed.failures.read() == []


def test_status_in_words(mixed: Store) -> None:
    text = "\n".join(status_lines(sweep_status(mixed)))
    assert "failed            1\n" in text
    assert "the last states of 2 packs are kept for more tasks" in text
    assert "failed: 1 packs (tracebacks in failed/; --retry-failed runs just these)" in text
    assert "1 cells, tried 4 times: ValueError: no" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["lr", "finished", "diverged", "running", "failed", "missing"] in rows
    assert ["0.3", "0", "0", "0", "1", "1"] in rows
    assert ["seed", "finished", "diverged", "running", "failed", "missing"] in rows


def test_axes_whose_values_do_not_differ_are_left_out(small: CellConfig, tmp_path: Path) -> None:
    store = compute_here([small.replace(seed=seed) for seed in (1, 2)], tmp_path / "out")
    assert [line for line in status_lines(sweep_status(store)) if "seed" in line] == []


def test_strings_and_booleans_are_counted_by_value(mixed: Store) -> None:
    counts = Counter(finished=1), Counter(missing=1)
    axes = {
        "rule": dict(zip(("adam", "a rule with a rather long name"), counts, strict=True)),
        "momentum": dict(zip((False, True), counts, strict=True)),
        "seed": dict(zip((1_234_567, 2**62), counts, strict=True)),
    }
    status = replace(sweep_status(mixed), axes=axes)
    rows = [line.split() for line in status_lines(status)]
    for value in ("adam", "False", "1234567"):
        assert [value, "1", "0"] in rows
    for value in ("True", str(2**62)):
        assert [value, "0", "1"] in rows
    assert any(" ".join(row[:-2]) == "a rule with a rather ..." for row in rows)
    assert status_json(status)["axes"]["momentum"][1]["value"] is True


def test_status_as_json_is_valid_json_without_nan(mixed: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with hold_lock(mixed.driver, lambda: {"cells": 6, "done": 0.0}):
        content = status_json(sweep_status(mixed))
        assert main(["status", str(mixed.root), "--json"]) == 0
    text = capsys.readouterr().out
    assert "NaN" not in text
    assert json.loads(text)["driver"]["alive"] is True
    assert content["driver"]["rate"] is None
    assert content["driver"]["seconds_left"] is None
    assert content["failures"][0]["traceback"].startswith("Traceback")


def test_rate_and_time_left_come_from_the_drivers_own_clock(mixed: Store) -> None:
    with hold_lock(mixed.driver, lambda: {"cells": 100, "done": 25.0}):
        path = sorted(mixed.driver.glob("*.json"))[-1]
        content = read_json(path)
        write_json(path, {**content, "time": content["started"] + 50.0})
        driver = sweep_status(mixed).driver
        assert driver is not None
        assert (driver.rate, driver.seconds_left) == (0.5, 150.0)
        text = "\n".join(status_lines(sweep_status(mixed)))
    assert "30 cells per minute, 25.0 of 100 done; about 2 min left" in text
    assert math.isnan(Driver("p", True, False, 5, 0.0, 10.0).rate)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "3 s"), (89, "89 s"), (100, "2 min"), (3600, "60 min"), (7200, "2.0 h"), (200_000, "2.3 days")],
)
def test_times_for_people(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_a_stale_heartbeat_on_another_host_does_not_count(mixed: Store) -> None:
    for path in mixed.checkpoints.running.glob("*.json"):
        content = read_json(path)
        content["process"]["machine"] = "another"
        write_json(path, content)
    assert sweep_status(mixed).running == 2
    for path in mixed.checkpoints.running.glob("*.json"):
        write_json(path, {**read_json(path), "time": time.time() - 3600})
    assert sweep_status(mixed).running == 0


def test_status_ignores_damaged_records(mixed: Store, caplog: pytest.LogCaptureFixture) -> None:
    for path in (*mixed.checkpoints.running.glob("*.json"), *mixed.failures.folder.iterdir()):
        path.write_text('{"pack": "half')
    status = sweep_status(mixed)
    assert (status.running, status.failed, status.missing) == (0, 0, 6)
    assert caplog.text.count("not used") == 3


def test_rows_of_unfinished_packs_are_marked(mixed: Store, small: CellConfig) -> None:
    finished = load_tasks(mixed.root)
    both = load_tasks(mixed.root, unfinished=True)
    assert list(both.columns) == [*finished.columns, "finished"]
    assert len(both) == len(finished) + 3
    new = both[~both["finished"]]
    assert set(new["cell"]) == {small.replace(lr=0.2, seed=1).id}
    assert list(new["task"]) == [1, 2, 3]
    cells = load_cells(mixed.root, unfinished=True).set_index("cell")
    assert len(cells) == 5
    row = cells.loc[small.replace(lr=0.2, seed=1).id]
    assert (row["status"], row["tasks_done"]) == ("unfinished", 3)
    assert math.isnan(row["fresh_mean_ce"])
    assert len(load_cells(mixed.root)) == 4
    assert list(load_tasks(mixed.root, ["final_ce"], unfinished=True).columns) == ["final_ce", "finished"]


def test_a_leftover_checkpoint_does_not_unfinish_a_pack(mixed: Store, small: CellConfig) -> None:
    path = next(iter(mixed.checkpoints.running.glob("*.state")))
    content = path.read_bytes()
    run = PackRun(Pack((small.replace(lr=0.2, seed=1),)), store=mixed)
    run.run_tasks(1)
    run.finish()
    path.write_bytes(content)
    both = load_tasks(mixed.root, unfinished=True)
    assert both["finished"].all()
    assert not both.duplicated(["cell", "task"]).any()


def test_a_damaged_checkpoint_is_left_out_and_reported(mixed: Store, caplog: pytest.LogCaptureFixture) -> None:
    path = next(iter(mixed.checkpoints.running.glob("*.state")))
    path.write_bytes(path.read_bytes()[:-1])
    assert load_tasks(mixed.root, unfinished=True)["finished"].all()
    assert "not used" in caplog.text


def test_workers_of_a_driver_that_has_ended_do_not_run(mixed: Store) -> None:
    with hold_lock(mixed.driver, dict):
        assert sweep_status(mixed).running == 2
    status = sweep_status(mixed)
    assert (status.running, status.missing) == (0, 5)
    assert any(line.startswith("not running: process") for line in status_lines(status))


def test_drivers_that_were_refused_are_not_shown(mixed: Store) -> None:
    """Not even if they came last."""
    with hold_sweep(mixed, dict, "1-of-2"):
        for part in ("", "2-of-3"):
            with pytest.raises(SweepError), hold_sweep(mixed, dict, part):
                pytest.fail("both are at work")
        assert [shard.shard for shard in sweep_status(mixed).shards] == ["1/2"]
    status = sweep_status(mixed)
    assert status.driver is None
    assert [shard.shard for shard in status.shards] == ["1/2"]


def test_the_more_advanced_of_two_checkpoints_counts(mixed: Store, small: CellConfig) -> None:
    """This happens after a driver has crashed and its cells were packed differently."""
    run = PackRun(Pack((small.replace(lr=0.2, seed=1), small.replace(lr=0.2, seed=2))), store=mixed)
    run.run_tasks(2)
    run.checkpoint()
    rows = load_tasks(mixed.root, unfinished=True)
    counts = rows[~rows["finished"]].groupby("cell").size()
    cells = load_cells(mixed.root, unfinished=True).set_index("cell")
    assert dict(counts) == dict(cells.loc[counts.index, "tasks_done"])
    assert sorted(counts) == [2, 3]


def test_a_failure_record_is_identified_by_its_file(mixed: Store) -> None:
    """Not by its content: discarding it must not remove another file."""
    (path,) = mixed.failures.folder.iterdir()
    write_json(path, {**read_json(path), "pack": "../sweep"})
    (failure,) = mixed.failures.read()
    assert failure.pack == path.stem
    mixed.failures.discard_finished(failure.cells)
    assert not path.exists()
    assert (mixed.root / "sweep.json").exists()


@pytest.mark.parametrize(
    ("limits", "ends"),
    [
        ({"cells": 1200}, "limit: 1,200 cells"),
        ({"seconds": 7200.0}, "limit: 2.0 h of core-time"),
        ({"until": 0.1}, "limit: side unknown at 10% of the points"),
        ({"cells": 9, "until": 0.1}, "limit: 9 cells or side unknown at 10% of the points"),
        ({"cells": 9, "width": 0.314}, "limit: 9 cells; side unknown at 31% of the points"),
        ({"cells": 9, "width": 0.314, "ended": True}, "limit: 9 cells; ended; side unknown at 31% of the points"),
    ],
)
def test_a_refinement_says_what_it_looks_for(limits: dict[str, float], ends: str, mixed: Store) -> None:
    status = replace(sweep_status(mixed), refinement=Refinement("late_failure_rate", 0.2, 5000, **limits))
    lines = list(status_lines(status))
    where = lines.index(ends)
    count = status.finished + status.diverged
    assert lines[where - 1] == (
        f"refinement: boundary late_failure_rate = 0.2; {count} finished of 5,000 cells to choose from"
    )


@pytest.mark.parametrize("released", [True, False])
@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("limits", [{"cells": 4}, {"cells": 9, "until": 0.1}, {"seconds": 7200.0}])
def test_a_refinement_that_has_not_ended_is_continued(
    limits: dict[str, float], ended: bool, released: bool, mixed: Store
) -> None:
    """Every cell that it has chosen is finished, but it may choose more."""
    driver = Driver("host:1", alive=False, released=released, cells=4, done=4, seconds=9)
    looked_for = Refinement("lost", 0.5, 100, **limits, ended=ended)
    counts = {"cells": 4, "finished": 3, "diverged": 1, "running": 0, "failed": 0, "missing": 0}
    status = replace(sweep_status(mixed), **counts, axes={}, failures=(), driver=driver, refinement=looked_for)
    assert any("run the same lop-sweep refine command" in line for line in status_lines(status)) is not ended


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": None}, "`refinement.level` must be a number, got None"),
        ({"level": True}, "`refinement.level` must be a number, got True"),
        ({"cells": "3"}, "`refinement.cells` must be a number or null, got '3'"),
        ({"cells": []}, r"`refinement.cells` must be a number or null, got \[\]"),
        ({"width": float("nan")}, "`refinement.width` must be a number or null, got nan"),
        ({"target": 1}, "`refinement.target` must be text, got 1"),
        ({"ended": 1}, "`refinement.ended` must be true or false, got 1"),
    ],
)
def test_a_damaged_description_of_a_refinement_is_an_error(change: dict[str, object], message: str) -> None:
    whole = {"target": "lost", "level": 0.5, "choice": 7, "cells": 3}
    assert refinement_in({"refinement": {**whole, "of a later version": 1}}) == Refinement("lost", 0.5, 7, cells=3)
    assert refinement_in({}) is None
    with pytest.raises(StoreError, match=rf"sweep\.json is damaged: {message}"):
        refinement_in({"refinement": {**whole, **change}})
    with pytest.raises(StoreError, match=r"sweep\.json is damaged: `refinement` must be an object, got \[\]"):
        refinement_in({"refinement": []})
