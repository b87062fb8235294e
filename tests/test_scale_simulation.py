"""The simulator: without noise it gives what can be computed by hand, and it neither loses nor doubles work."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from lop_sweep.config import CellConfig
from lop_sweep.planning import Plan, SearchSpace, Sizing, make_plan
from lop_sweep.storage import Store

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SLOTS, CELLS = 8, 96


@pytest.fixture(scope="module")
def simulator() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import scale_simulation

        yield scale_simulation
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """96 default cells in 24 packs of 4, for 8 slots."""
    space = SearchSpace(cells=[CellConfig(seed=seed) for seed in range(CELLS)])
    store = Store(tmp_path_factory.mktemp("store") / "none")
    return make_plan(space, set(), store, Sizing(slots=SLOTS, cells=4, tasks_per_report=10))


def run(simulator: ModuleType, plan: Plan, seed: int = 0, **changes: Any) -> Any:
    world = replace(simulator.QUIET, **changes)
    return simulator.Simulation(plan, world, np.random.default_rng(seed)).run()


def every_cell_once(outcome: Any) -> bool:
    return len(outcome.finished) == CELLS and set(Counter(outcome.finished).values()) == {1}


def test_without_noise_slots_share_the_work_evenly(simulator: ModuleType, plan: Plan) -> None:
    outcome = run(simulator, plan)
    assert outcome.makespan == pytest.approx(plan.seconds / SLOTS)
    assert outcome.utilisation(SLOTS) == pytest.approx(1)
    assert outcome.reports == 24 * 10
    assert every_cell_once(outcome)


def test_one_pack_too_many_leaves_the_other_slots_idle(simulator: ModuleType, plan: Plan) -> None:
    """25 equal packs on 8 slots take 4 turns."""
    again = SearchSpace(cells=[CellConfig(seed=seed) for seed in range(100)])
    more = make_plan(again, set(), Store("/nowhere"), plan.sizing)
    outcome = run(simulator, more)
    assert len(more.items) == 25
    assert outcome.utilisation(SLOTS) == pytest.approx(25 / (4 * SLOTS))


def test_a_slow_driver_is_the_bottleneck(simulator: ModuleType, plan: Plan) -> None:
    """A report takes as long as a slot computes between two reports: the driver can feed one slot only."""
    step = plan.seconds / 24 / 10
    outcome = run(simulator, plan, report_seconds=step)
    assert outcome.driver == pytest.approx(24 * 10 * step)
    assert outcome.makespan == pytest.approx((24 * 10 + 1) * step, rel=0.01)
    assert outcome.utilisation(SLOTS) == pytest.approx(1 / SLOTS, rel=0.05)


def test_start_ups_are_counted(simulator: ModuleType, plan: Plan) -> None:
    outcome = run(simulator, plan, start_seconds=3.0)
    assert outcome.restarts == SLOTS * 3.0
    assert outcome.makespan == pytest.approx(plan.seconds / SLOTS + 3.0)


@pytest.mark.parametrize("seed", range(3))
def test_no_work_is_lost_or_done_twice(simulator: ModuleType, plan: Plan, seed: int) -> None:
    failing = {"crashes_per_hour": 60.0, "preemptions_per_hour": 60.0, "node_slots": 3, "replacement_seconds": 5.0}
    outcome = run(simulator, plan, seed, **failing, noise=0.3, checkpoint_every=2.0, start_seconds=1.0)
    assert every_cell_once(outcome)
    quiet = run(simulator, plan, seed, noise=0.3)
    assert outcome.useful == pytest.approx(quiet.useful)
    assert outcome.crashes
    assert outcome.preemptions
    assert outcome.lost > 0
    assert outcome.useful + outcome.lost + outcome.restarts + outcome.absent <= SLOTS * outcome.makespan * (1 + 1e-9)
    assert outcome.makespan > quiet.makespan
    again = run(simulator, plan, seed, **failing, noise=0.3, checkpoint_every=2.0, start_seconds=1.0)
    assert (again.makespan, again.crashes) == (outcome.makespan, outcome.crashes)


def test_checkpoints_save_work(simulator: ModuleType, plan: Plan) -> None:
    crashing = {"crashes_per_hour": 100.0, "start_seconds": 0.0}
    often, never = (run(simulator, plan, 1, **crashing, checkpoint_every=every) for every in (0.5, math.inf))
    assert often.lost < never.lost / 2
    assert never.checkpoints == 0
    assert often.checkpoints > 0


def test_requests_are_counted_by_the_real_code(simulator: ModuleType) -> None:
    found = simulator.count_requests()
    assert found.heartbeat == 1  # one file written
    assert found.task == simulator.STOP_REQUESTS
    assert all(value >= 1 for value in vars(found).values())
    assert found.commit >= 4  # two files written, two deleted
