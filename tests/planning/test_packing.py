"""Sizes of packs: every cell once, long enough for Tune, short enough for all slots, few reports."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_sweep.components.batch_size import batch_bytes
from lop_sweep.components.optimizers.adam import Adam
from lop_sweep.config import CellConfig
from lop_sweep.pack import Pack, expand
from lop_sweep.planning import packing
from lop_sweep.planning.cost import draw_seconds, seconds_left, step_seconds, task_seconds
from lop_sweep.planning.packing import (
    MAX_PACK_SECONDS,
    MAX_PACKS,
    MAX_PACKS_ON_MANY_SLOTS,
    MAX_REPORTS_PER_SECOND,
    MIN_FULL_PACKS_PER_SLOT,
    MIN_PACK_SECONDS,
    MIN_PACKS_PER_SLOT,
    PACKS_PER_SLOT,
    Sizing,
)
from lop_sweep.planning.plan import make_plan
from lop_sweep.planning.plan_text import sizes_line
from lop_sweep.planning.space import SearchSpace
from lop_sweep.registry import components, isolated, own_component, register
from lop_sweep.storage.checkpoints import HEARTBEAT_TIMEOUT_SECONDS
from lop_sweep.storage.manifest import describe_space
from lop_sweep.storage.store import Store
from lop_sweep.tune.worker import PackRun

TINY = CellConfig(width=4, depth=1, samples=8, steps=2, tasks=5, fresh_baseline=1)


def cells(count: int, base: CellConfig) -> tuple[CellConfig, ...]:
    return tuple(base.replace(seed=seed) for seed in range(count))


def plan(space: SearchSpace, sizing: Sizing, folder: Path) -> list[Pack]:
    return list(make_plan(space, set(), Store(folder / "none"), sizing).packs)


def seconds(pack: Pack) -> float:
    return sum(seconds_left(cell, "float64") for cell in pack.cells)


@given(
    st.lists(st.tuples(st.integers(1, 60), st.floats(1e-3, 1e4)), min_size=1, max_size=8),
    st.integers(1, 500),
)
def test_packs_hold_every_cell_once_and_are_no_longer_than_asked(groups: list[tuple[int, float]], slots: int) -> None:
    cost = {}
    packs = []
    for number, (count, each) in enumerate(groups):
        group = cells(count, TINY.replace(width=number + 2))
        cost |= dict.fromkeys(group, each)
        packs.append(Pack(group))
    sizing = Sizing(slots=slots)
    made = sizing.split(packs, cost.__getitem__)
    assert [cell for pack in made for cell in pack.cells] == [cell for pack in packs for cell in pack.cells]
    total = sum(cost.values())
    longest = max(sizing.pack_seconds(total), total / (MIN_FULL_PACKS_PER_SLOT * slots))
    for pack in made:
        assert len({cell.width for cell in pack.cells}) == 1
        assert len(pack.cells) == 1 or sum(map(cost.__getitem__, pack.cells)) <= longest * (1 + 1e-9)


@pytest.mark.parametrize(
    ("total", "slots", "expected"),
    [
        (1.0, 2, MIN_PACK_SECONDS),
        (6400.0, 2, 6400 / (2 * MIN_PACKS_PER_SLOT)),
        (1e5, 2, MAX_PACK_SECONDS),
        (1e7, 300, 1e7 / MAX_PACKS),
        (1e7, 1000, 1e7 / (PACKS_PER_SLOT * 1000)),
        (1e7, 4000, 1e7 / MAX_PACKS_ON_MANY_SLOTS),
    ],
)
def test_a_pack_is_a_fixed_share_of_the_work_within_limits(total: float, slots: int, expected: float) -> None:
    assert Sizing(slots=slots).pack_seconds(total) == pytest.approx(expected)


def test_tiny_cells_make_few_packs_and_long_sweeps_many(tmp_path: Path) -> None:
    tiny = plan(SearchSpace(cells=cells(10_000, TINY), name="tiny"), Sizing(slots=2), tmp_path)
    assert len(tiny) < 50
    assert all(seconds(pack) < 1.5 * MIN_PACK_SECONDS for pack in tiny)
    large = plan(SearchSpace(cells=cells(640, CellConfig()), name="large"), Sizing(slots=16), tmp_path)
    assert len(large) >= 16 * MIN_PACKS_PER_SLOT * 0.9
    assert max(map(seconds, large)) < 2 * seconds_left(CellConfig(), "float64") + sum(map(seconds, large)) / 256


def test_a_task_of_a_pack_takes_seconds_at_most(tmp_path: Path) -> None:
    slow = cells(400, CellConfig(tasks=3, steps=600, fresh_baseline=0))
    task = task_seconds(slow[0], "float64")
    for pack in plan(SearchSpace(cells=slow, name="slow"), Sizing(slots=1), tmp_path):
        assert len(pack.cells) * task <= packing.MAX_TASK_SECONDS
    assert {len(pack.cells) for pack in plan(SearchSpace(cells=slow, name="slow"), Sizing(cells=200), tmp_path)} == {
        200
    }


def test_the_longest_packs_come_first(tmp_path: Path) -> None:
    deep = [CellConfig(depth=depth, seed=seed) for depth in (1, 8, 2) for seed in range(20)]
    made = plan(SearchSpace(cells=deep, name="mixed"), Sizing(slots=4), tmp_path)
    assert [seconds(pack) for pack in made] == sorted(map(seconds, made), reverse=True)
    assert made[0].cells[0].depth == 8


def test_user_settings_override_the_cost_model(tmp_path: Path) -> None:
    grid = tuple(TINY.replace(lr=lr, seed=seed) for lr in (0.1, 0.2, 0.4) for seed in range(4))
    assert len(plan(SearchSpace(cells=grid), Sizing(), tmp_path)) == 1
    by_seed = plan(SearchSpace(cells=grid, pack=("seed",)), Sizing(), tmp_path)
    assert sorted(len(pack.cells) for pack in by_seed) == [4, 4, 4]
    assert len(plan(SearchSpace(cells=grid, pack=()), Sizing(), tmp_path)) == 12
    for space in (SearchSpace(cells=grid, pack=("seed",)), SearchSpace(cells=grid)):
        assert sorted(len(pack.cells) for pack in plan(space, Sizing(cells=5), tmp_path)) == [4, 4, 4]
    reports = make_plan(SearchSpace(cells=grid), set(), Store(tmp_path / "none"), Sizing(tasks_per_report=3))
    assert [item.tasks_per_report for item in reports.items] == [3]


@given(st.integers(1, 5000), st.integers(1, 40), st.sampled_from([2, 100]), st.sampled_from(["float64", "float32"]))
def test_trials_together_report_at_most_at_the_maximum_rate(slots: int, count: int, width: int, dtype: str) -> None:
    """By the cost model, at most `MAX_REPORTS_PER_SECOND`; only the end of a sequence can come sooner."""
    pack = Pack(cells(count, CellConfig(width=width)))
    sizing = Sizing(slots=slots, dtype=dtype)
    tasks = sizing.report_tasks(pack)
    batch = sizing.batch_size(pack.cells[0], count)
    interval = tasks * sum(task_seconds(cell, dtype, batch) for cell in pack.cells)
    assert 1 <= tasks <= pack.cells[0].tasks
    assert tasks == pack.cells[0].tasks or slots / interval <= MAX_REPORTS_PER_SECOND * (1 + 1e-9)


def test_packs_on_gpus_are_large_and_occupy_every_gpu(tmp_path: Path) -> None:
    many = cells(5000, TINY)
    made = plan(SearchSpace(cells=many), Sizing(slots=2, gpu=True), tmp_path)
    assert {len(pack.cells) for pack in made} == {1000}
    assert len(plan(SearchSpace(cells=many[:64]), Sizing(slots=4, gpu=True), tmp_path)) == 4
    large = plan(SearchSpace(cells=cells(64, CellConfig(width=2000, depth=20))), Sizing(gpu=True), tmp_path)
    assert all(batch_bytes(pack.cells[0], "float64") * len(pack.cells) <= packing.MAX_GPU_BYTES for pack in large)
    slow = CellConfig(steps=4000)
    most = packing.MAX_TASK_SECONDS * packing.GPU_CORES / task_seconds(slow, "float64")
    made = plan(SearchSpace(cells=cells(1000, slow)), Sizing(gpu=True), tmp_path)
    assert 1 < max(len(pack.cells) for pack in made) <= most < 1000


def test_packs_of_narrow_networks_fill_batches_while_every_slot_has_some(tmp_path: Path) -> None:
    narrow = CellConfig(width=8, depth=1, samples=16)
    sizing = Sizing(slots=2)
    full, most = sizing.cells_to_fill(narrow), sizing.batch_size(narrow)
    assert 20 < full < most
    together, filled, short = (seconds_left(narrow, "float64", batch=batch) for batch in (most, full, full - 1))
    assert filled <= packing.FILLED_BATCH_RATIO * together < short
    made = plan(SearchSpace(cells=cells(10 * full, narrow)), Sizing(slots=5), tmp_path)
    assert min(len(pack.cells) for pack in made) >= full
    made = plan(SearchSpace(cells=cells(300, narrow.replace(tasks=10_000))), Sizing(slots=50), tmp_path)
    assert {len(pack.cells) for pack in made} == {300 // (50 * MIN_FULL_PACKS_PER_SLOT)}
    assert sizing.cells_to_fill(CellConfig()) == 1  # wide networks gain too little


def test_narrow_cells_are_many_times_cheaper_in_a_batch() -> None:
    narrow, middle, wide = CellConfig(width=8, depth=1, samples=16), CellConfig(width=32), CellConfig()
    for config, least, most in ((narrow, 15, 50), (middle, 1.4, 2), (wide, 1, 1.15)):
        alone, together = step_seconds(config, "float64", 1), step_seconds(config, "float64")
        assert least < alone / together < most
    assert seconds_left(narrow, "float64", batch=1) > 8 * seconds_left(narrow, "float64")


def test_the_users_batch_is_that_of_the_cost_model(tmp_path: Path) -> None:
    narrow = cells(64, CellConfig(width=8, depth=1, samples=16))
    alone = make_plan(SearchSpace(cells=narrow), set(), Store(tmp_path / "none"), Sizing(batch=1))
    together = make_plan(SearchSpace(cells=narrow), set(), Store(tmp_path / "none"), Sizing())
    assert alone.seconds > 5 * together.seconds
    assert len(alone.packs) > len(together.packs)


def test_the_cost_of_a_cell_grows_with_its_work() -> None:
    base = CellConfig()
    for change in (
        {"depth": 6},
        {"width": 120},
        {"samples": 128},
        {"steps": 50},
        {"tasks": 150},
        {"fresh_baseline": 30},
        {"activation": "crelu"},
    ):
        assert seconds_left(base.replace(**change), "float64") > seconds_left(base, "float64")
    assert batch_bytes(base.replace(activation="crelu"), "float64") > batch_bytes(base, "float64")
    assert step_seconds(base, "float32") < step_seconds(base, "float64")
    halfway = seconds_left(base, "float64", tasks_done=50)
    assert halfway == pytest.approx(seconds_left(base, "float64") - 50 * task_seconds(base, "float64"))
    all_but_one = seconds_left(base, "float64", tasks_done=100, fresh_done=19)
    assert 0 < all_but_one < 41 * step_seconds(base, "float64") + 0.01


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("width", [8, 100])
def test_components_cost_what_they_were_measured_to(width: int, dtype: str) -> None:
    """Relative to the plain cell of the same shape, in `benchmarks/cost_model.py --components`."""
    plain = CellConfig(width=width, depth=2)

    def factor(batch: int = 1, **fields: Any) -> float:
        return task_seconds(plain.replace(**fields), dtype, batch) / task_seconds(plain, dtype, batch)

    for kind, cheap in (("optimizer", {"sgd"}), ("norm", {"none"}), ("mitigation", set())):
        for name in (one for one in components(kind) if own_component(kind, one) is None):  # of other tests
            assert (factor(**{kind: name}) > 1) == (name not in cheap)
    assert 2 < factor(optimizer="muon") < 6
    assert 2 < factor(optimizer="muon_simple_lop") < 6
    assert 1 < factor(optimizer="momentum") < factor(optimizer="adam") < factor(optimizer="muon")
    assert 1.2 < factor(norm="layer_norm") < factor(norm="layer_norm_affine") < 3
    assert factor(batch=50, optimizer="adam") < factor(optimizer="adam")
    both = factor(mitigation=["l2_init", "spectral"])
    assert both == pytest.approx(factor(mitigation="l2_init") + factor(mitigation="spectral") - 1)
    assert factor(mitigation="fire") < 1.5
    assert factor(mitigation="swr") < 1.6 < factor(mitigation="swr", swr_steps=1)
    assert factor(mitigation="redo", redo_tasks=5) < factor(mitigation="redo")


def test_drawing_tasks_costs_what_their_stream_takes() -> None:
    few, many = (draw_seconds(CellConfig(samples=samples), "float64") for samples in (96, 9600))
    assert 5 * few < many < 50 * few
    tested = CellConfig(stream="permuted_inputs", metrics="test_ce")
    assert draw_seconds(tested, "float64") > 2 * draw_seconds(tested.replace(metrics=""), "float64")
    batch = [draw_seconds(CellConfig(drift=drift), "float64", 100) for drift in (1.0, 0.5)]
    assert batch[1] > 1.5 * batch[0]


def test_components_of_a_users_own_cost_as_the_plain_ones() -> None:
    """Nothing is known of their cost."""
    with isolated():

        @register("optimizer", "mine", version="1")
        class Mine(Adam):
            pass

        assert task_seconds(CellConfig(optimizer="mine"), "float64") == task_seconds(CellConfig(), "float64")


def test_a_second_round_keeps_the_packs_of_the_first(small: CellConfig, tmp_path: Path) -> None:
    """A late worker of the first round then commits the same files as its successor."""
    store = Store(tmp_path / "out")
    store.create()
    space, sizing = SearchSpace(cells=cells(6, small)), Sizing(cells=2)
    first = make_plan(space, set(), store, sizing)
    finished, begun, untouched = first.packs
    run = PackRun(finished, store=store)
    run.run_tasks(small.tasks)
    run.finish()
    other = PackRun(begun, store=store)
    other.run_tasks(1)
    other.checkpoint()
    done = {cell.id for cell in finished.cells}
    second = first.remaining(done, store)
    assert {pack.id for pack in second.packs} == {begun.id, untouched.id}
    assert [bool(item.resume_from) for item in second.items] == [False, True]  # the pack that has begun takes less
    assert second.items[0].seconds > second.items[1].seconds
    assert first.remaining({cell.id for cell in space.cells}, store).items == ()


def end_workers(store: Store) -> None:
    """Remove the heartbeats: packs that a worker, here this process, may still hold are not divided again."""
    for heartbeat in store.checkpoints.running.glob("*.json"):
        heartbeat.unlink()


def test_the_most_advanced_checkpoint_is_resumed(small: CellConfig, tmp_path: Path) -> None:
    """Packs may be joined, advance, and be split again: their own checkpoints are then outdated."""
    store = Store(tmp_path / "out")
    store.create()
    space = SearchSpace(cells=cells(4, small))
    halves, whole = Sizing(cells=2), Sizing(cells=4)
    for item in make_plan(space, set(), store, halves).items:
        run = PackRun(item.pack, store=store)
        run.run_tasks(1)
        run.checkpoint()
    end_workers(store)
    (joined,) = make_plan(space, set(), store, whole).items
    together = PackRun(joined.pack, store=store, resume_from=joined.resume_from)
    assert together.experiment.tasks_done == 1
    together.run_tasks(2)
    together.checkpoint()
    end_workers(store)
    for item in make_plan(space, set(), store, halves).items:
        again = PackRun(item.pack, store=store, resume_from=item.resume_from)
        assert again.experiment.tasks_done == 3
        again.run_tasks(1)
        again.checkpoint()
        retried = PackRun(item.pack, store=store, resume_from=item.resume_from)  # by Tune, with the first plan
        assert retried.experiment.tasks_done == 4
        assert not retried.note


def test_a_failure_is_discarded_with_its_last_missing_cell(small: CellConfig, tmp_path: Path) -> None:
    """A later failure with the same cells replaces it, too."""
    store = Store(tmp_path / "out")
    store.create()
    three = cells(3, small)
    for pack in (Pack(three), Pack(three[2:])):
        store.failures.record(pack, "reason", "traceback", 1)
    store.failures.discard_finished({three[0].id})
    assert len(store.failures.read()) == 2
    store.failures.discard_finished({three[0].id, three[1].id})
    assert [failure.pack for failure in store.failures.read()] == [Pack(three[2:]).id]
    store.failures.discard_finished({cell.id for cell in three})
    assert store.failures.read() == []


def test_the_chosen_sizes_are_one_line(small: CellConfig, tmp_path: Path) -> None:
    space, sizing = SearchSpace(cells=cells(5, small)), Sizing(slots=2, cells=3)
    made = make_plan(space, set(), Store(tmp_path / "none"), sizing)
    described = made.description
    assert described["packs"] == 2
    assert described["cells_a_pack"] == [2, 3]
    assert described["packs_by"] == "--pack"
    assert math.isclose(described["core_seconds_by_cost"], made.seconds, abs_tol=0.1)
    tasks = small.tasks
    assert sizes_line(described, "cpu") == (
        f"on 2 CPUs: packs of 2 to 3 cells (by --pack), a report every {tasks} tasks (by cost)"
    )
    assert sizes_line({**described, "slots": 1}, "cuda").startswith("on 1 GPU: ")


@pytest.mark.parametrize(("slots", "expected"), [(1, 5.0), (100, 5.0), (1000, 50.0), (10_000, 60.0)])
def test_workers_together_write_few_heartbeats(slots: int, expected: float) -> None:
    assert Sizing(slots=slots).heartbeat_seconds == expected
    assert expected < HEARTBEAT_TIMEOUT_SECONDS / 5


def test_planning_takes_no_longer_per_cell_for_more_cells(tmp_path: Path) -> None:
    """Eight times the cells in less than 24 times the time."""

    def took(seeds: int) -> float:
        grid = SearchSpace(cells=cells(seeds, TINY))
        start = time.process_time()
        plan(grid, Sizing(slots=4), tmp_path)
        describe_space(grid)
        return time.process_time() - start

    assert took(16_000) < 24 * min(took(2000) for _ in range(3))


def test_trials_have_short_configurations_that_name_their_packs(tmp_path: Path) -> None:
    grid = SearchSpace(cells=cells(50, TINY))
    (item,) = make_plan(grid, set(), Store(tmp_path), Sizing()).items
    trial = json.loads(item.to_json(dtype="float32"))
    assert expand(trial["pack"]) == item.pack.cells
    assert trial["run"] == {"dtype": "float32", "pack_id": item.pack.id, "tasks_per_report": item.tasks_per_report}
