"""Simulate sweeps of a million default cells on up to 10,000 CPUs: what limits them, and from when on.

    python benchmarks/scale_simulation.py [--slots 10 100 1000 10000] [--cells 1000000] [--seed 0]

Real code divides the cells into packs, chooses how often they report, tracks the progress, and makes the requests to
the store that are counted. The workers, the network and Tune's own work are simulated, event by event:

- A pack takes what the cost model says, times a lognormal factor. It runs in steps. After each, the worker reports and
  waits until the driver has handled the report, as Tune's workers do.
- The driver is one server with a queue. A trial and a report take about the CPU time that `driver_load.py` measured.
- Workers crash at random, and whole nodes are preempted without warning and replaced. A pack then continues elsewhere
  from its last checkpoint, after a start-up.

Not modelled: the speed of the store, autoscaling before the sweep, differences between nodes, Ray's own processes on
the head node, and retries that are used up.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, ClassVar
from unittest import mock

import numpy as np
from harness import HERE, Section

sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))

from memory_files import MemoryFileSystem

from lop_sweep.config import CellConfig
from lop_sweep.pack import Pack
from lop_sweep.planning import Plan, SearchSpace, Sizing, WorkItem, make_plan
from lop_sweep.ray_environment import prepare_environment
from lop_sweep.registry import register
from lop_sweep.storage import Store, describe_space, hold_lock, read_lock
from lop_sweep.storage import lock as lock_module
from lop_sweep.tune.progress import Progress
from lop_sweep.tune.worker import PackRun

DEFAULT_GRID = {
    "depth": [1, 2, 5, 8, 10],
    "lr": [0.02 * k for k in range(1, 21)],
    "delta": [0.2 * k for k in range(10)],
    "sigma": [0.05 * k for k in range(1, 11)],
}
_METHODS = ("read", "open_file", "write", "create", "delete", "move", "list_names", "exists", "kind", "size")
"""The operations of a file system that an object store serves with a request each."""
STOP_REQUESTS = 1
"""Requests of a worker between two tasks: whether there is a stop file, which `LopTrainable` looks for."""


@dataclass(frozen=True)
class World:
    """Everything that is simulated.

    Attributes:
        trial_seconds, report_seconds: CPU time of the driver per trial and per report.
        latency_seconds: from a worker to the driver, and back.
        start_seconds: until a new worker process can compute; a process that has just finished a pack takes none.
        noise: standard deviation of the logarithm of a pack's duration over the cost model's.
        crashes_per_hour: of each worker.
        node_slots: workers per node.
        preemptions_per_hour: of each node.
        replacement_seconds: until a preempted node is replaced.
        checkpoint_every: seconds between two checkpoints, which are taken between tasks.
    """

    trial_seconds: float = 0.02
    report_seconds: float = 0.001
    latency_seconds: float = 0.005
    start_seconds: float = 5.0
    noise: float = 0.1
    crashes_per_hour: float = 0.01
    node_slots: int = 50
    preemptions_per_hour: float = 0.05
    replacement_seconds: float = 120.0
    checkpoint_every: float = 60.0


QUIET = World(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 50, 0.0, 0.0)
"""Nothing but the work itself."""


@dataclass
class Work:
    """A pack on its way through the sweep; seconds are a worker's.

    Attributes:
        item: the pack, as planned.
        task_seconds: duration of one task; the fresh networks count as part of the tasks.
        tasks_done: number of tasks done.
        tasks_saved: number of tasks in the newest checkpoint.
        starts: number of times that a worker has begun it.
    """

    item: WorkItem
    task_seconds: float
    tasks_done: int = 0
    tasks_saved: int = 0
    starts: int = 0

    @property
    def tasks(self) -> int:
        """Number of tasks of the sequence."""
        return self.item.pack.cells[0].tasks


@dataclass
class Slot:
    """A worker's place.

    Attributes:
        work: what it computes; None if it is idle.
        since: start of the present step.
        epoch: number of interruptions; events of an earlier epoch do not count.
        fresh_process: whether the next pack needs a new process.
        absent_since: when its node was preempted; None if it is there.
    """

    work: Work | None = None
    since: float = 0.0
    epoch: int = 0
    fresh_process: bool = True
    absent_since: float | None = None


@dataclass
class Outcome:
    """What a simulated sweep took.

    Attributes:
        makespan: seconds until the last pack was finished.
        useful, lost: worker seconds of tasks that count, and of those computed again after a failure.
        restarts: worker seconds of start-ups.
        absent: slot seconds for which preempted nodes were missing.
        waiting: worker seconds spent waiting for the driver.
        driver: CPU seconds of the driver, simulated.
        progress: CPU seconds of the real code that tracks progress, on this machine.
        reports, crashes, preemptions, checkpoints: how many there were.
        most_starts: of one pack.
        finished: cell id to the number of times it was finished.
    """

    makespan: float = 0.0
    useful: float = 0.0
    lost: float = 0.0
    restarts: float = 0.0
    absent: float = 0.0
    waiting: float = 0.0
    driver: float = 0.0
    progress: float = 0.0
    reports: int = 0
    crashes: int = 0
    preemptions: int = 0
    checkpoints: int = 0
    most_starts: int = 0
    finished: Counter[str] = field(default_factory=Counter)

    def utilisation(self, slots: int) -> float:
        """Return the share of all slots' time that was useful."""
        return self.useful / (slots * self.makespan)


class Simulation:
    """One simulated sweep.

    Args:
        plan: the packs, in the order in which they are begun.
        world: what is simulated.
        rng: draws durations, crashes and preemptions.
    """

    def __init__(self, plan: Plan, world: World, rng: np.random.Generator) -> None:
        self._world, self._rng = world, rng
        self._idle: list[Slot] = []
        self._slots = [Slot() for _ in range(plan.sizing.slots)]
        self._queue = deque(
            Work(item, item.seconds * rng.lognormal(0.0, world.noise) / item.pack.cells[0].tasks) for item in plan.items
        )
        self._left = len(self._queue)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._now = self._driver_free = 0.0
        self._progress = Progress(show=False)
        self._progress.expect(plan.packs)
        self._outcome = Outcome()

    def run(self) -> Outcome:
        """Simulate until every pack is finished."""
        for slot in self._slots:
            self._assign(slot)
        size, rate = self._world.node_slots, self._world.preemptions_per_hour
        for first in range(0, len(self._slots), size):
            self._schedule_preemption(self._slots[first : first + size], rate)
        while self._left:
            self._now, _, event = heapq.heappop(self._events)
            event()
        self._outcome.makespan = max(self._now, self._driver_free)
        self._outcome.absent += sum(self._now - slot.absent_since for slot in self._slots if slot.absent_since)
        return self._outcome

    def _at(self, when: float, event: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, event))

    def _handle(self, arrival: float, seconds: float) -> float:
        """Have the driver handle something that arrives; return when it is done."""
        self._driver_free = max(self._driver_free, arrival) + seconds
        self._outcome.driver += seconds
        return self._driver_free

    def _assign(self, slot: Slot) -> None:
        """Give a free slot the next pack."""
        if not self._queue:
            self._idle.append(slot)
            return
        work = slot.work = self._queue.popleft()
        work.starts += 1
        self._outcome.most_starts = max(self._outcome.most_starts, work.starts)
        ready = self._handle(self._now, self._world.trial_seconds) + self._world.latency_seconds
        self._outcome.waiting += ready - self._now
        if slot.fresh_process:
            ready += self._world.start_seconds
            self._outcome.restarts += self._world.start_seconds
            slot.fresh_process = False
        self._begin_step(slot, ready)

    def _begin_step(self, slot: Slot, start: float) -> None:
        """Schedule the end of the next step of a slot's pack, or a crash during it."""
        work = slot.work
        assert work is not None
        slot.since, epoch = start, slot.epoch
        seconds = min(work.item.tasks_per_report, work.tasks - work.tasks_done) * work.task_seconds
        crash = _time_to(self._world.crashes_per_hour, self._rng)
        if crash < seconds:
            self._at(start + crash, partial(self._crash, slot, epoch))
        else:
            self._at(start + seconds, partial(self._report, slot, epoch))

    def _report(self, slot: Slot, epoch: int) -> None:
        """End a step: the driver handles its report, then the next step or the next pack begins."""
        work = slot.work
        if slot.epoch != epoch or work is None:
            return
        count = min(work.item.tasks_per_report, work.tasks - work.tasks_done)
        self._advance(work, count)
        handled = self._handle(self._now + self._world.latency_seconds, self._world.report_seconds)
        self._outcome.reports += 1
        started = time.process_time()
        self._progress.update(work.item.pack, work.tasks_done)
        self._outcome.progress += time.process_time() - started
        if work.tasks_done == work.tasks:
            self._finish(slot, work)
            return
        again = handled + self._world.latency_seconds
        self._outcome.waiting += again - self._now
        self._begin_step(slot, again)

    def _advance(self, work: Work, tasks: int) -> None:
        """Count tasks as done, with the checkpoints that fall between them."""
        work.tasks_done += tasks
        self._outcome.useful += tasks * work.task_seconds
        per_checkpoint = max(math.ceil(min(self._world.checkpoint_every / work.task_seconds, work.tasks)), 1)
        saves = (min(work.tasks_done, work.tasks - 1) - work.tasks_saved) // per_checkpoint
        work.tasks_saved += saves * per_checkpoint
        self._outcome.checkpoints += saves

    def _finish(self, slot: Slot, work: Work) -> None:
        self._left -= 1
        slot.work = None
        self._outcome.finished.update(cell.id for cell in work.item.pack.cells)
        self._assign(slot)

    def _crash(self, slot: Slot, epoch: int) -> None:
        if slot.epoch == epoch:
            self._outcome.crashes += 1
            self._interrupt(slot)
            self._assign(slot)

    def _interrupt(self, slot: Slot) -> None:
        """Take a slot's pack away: it continues from its last checkpoint, before any other pack is begun."""
        work, slot.work = slot.work, None
        slot.epoch += 1
        slot.fresh_process = True
        if work is None:
            return
        begun = max(self._now - slot.since, 0.0)
        whole = min(int(begun / work.task_seconds), work.tasks - work.tasks_done)
        self._advance(work, whole)
        again = work.tasks_done - work.tasks_saved
        self._outcome.useful -= again * work.task_seconds
        self._outcome.lost += begun + (again - whole) * work.task_seconds
        work.tasks_done = work.tasks_saved
        self._queue.appendleft(work)
        while self._idle:
            other = self._idle.pop()
            if other.work is None and other.absent_since is None:
                self._assign(other)
                break

    def _schedule_preemption(self, node: Sequence[Slot], rate: float) -> None:
        wait = _time_to(rate, self._rng)
        if math.isfinite(wait):
            self._at(self._now + wait, partial(self._preempt, node, rate))

    def _preempt(self, node: Sequence[Slot], rate: float) -> None:
        self._outcome.preemptions += 1
        for slot in node:
            slot.absent_since = self._now
        for slot in node:
            self._interrupt(slot)
        self._at(self._now + self._world.replacement_seconds, partial(self._replace, node, rate))

    def _replace(self, node: Sequence[Slot], rate: float) -> None:
        for slot in node:
            self._outcome.absent += self._now - (slot.absent_since or 0.0)
            slot.absent_since = None
            self._assign(slot)
        self._schedule_preemption(node, rate)


def _time_to(rate_per_hour: float, rng: np.random.Generator) -> float:
    """Draw the seconds until an event that happens at random at this rate."""
    return rng.exponential(3600 / rate_per_hour) if rate_per_hour > 0 else math.inf


class CountingFileSystem(MemoryFileSystem):
    """A file system in memory that counts its operations."""

    counts: ClassVar[Counter[str]] = Counter()

    def __getattribute__(self, name: str) -> Any:
        if name in _METHODS:
            CountingFileSystem.counts[name] += 1
        return super().__getattribute__(name)


register("filesystem", "counting")(CountingFileSystem)


@dataclass(frozen=True)
class Requests:
    """Requests to the store, by what makes them: when a pack starts, at each heartbeat, and so on.

    `task` is what a worker asks between two tasks, `lock` what the driver does at each renewal of its lock.
    """

    start: int
    heartbeat: int
    task: int
    checkpoint: int
    commit: int
    lock: int


def count_requests() -> Requests:
    """Run a small pack on a file system in memory, with the real code of workers and locks, and count."""
    cells = tuple(CellConfig(width=4, depth=1, samples=8, steps=1, tasks=3, seed=seed) for seed in range(2))
    store, space = Store("counting:/sweep"), SearchSpace(cells=cells)
    found: dict[str, int] = {}

    @contextmanager
    def counted(name: str) -> Iterator[None]:
        CountingFileSystem.counts.clear()
        yield
        found[name] = CountingFileSystem.counts.total()

    store.create()
    with mock.patch.object(lock_module, "BEAT_SECONDS", 3600.0), hold_lock(store.driver, dict):
        store.write_sweep({"dtype": "float64", "created": "today", **describe_space(space)})
        with counted("start"):
            read_lock(store.driver)  # a trial's first look at its driver
            run = PackRun(
                Pack(cells), store=store, checkpoint_every=math.inf, check_lock=partial(read_lock, store.driver)
            )
        with counted("heartbeat"):
            store.checkpoints.beat(run.pack, 0)
        with counted("task"):
            run.run_tasks(1)
        with counted("checkpoint"):
            run.checkpoint()
        run.run_tasks(2)
        with counted("commit"):
            run.finish()
    with mock.patch.object(lock_module, "BEAT_SECONDS", 0.01), hold_lock(store.driver, dict):
        with counted("lock"):
            time.sleep(0.3)
        renewals = CountingFileSystem.counts["write"]
    found["lock"] = round(found["lock"] / renewals)
    return Requests(**{**found, "task": found["task"] + STOP_REQUESTS})


def million_cells(cells: int) -> SearchSpace:
    """Return a grid of this many cells, a multiple of the number of configurations, with default tasks and shapes."""
    prepare_environment()
    from ray import tune

    seeds = cells // math.prod(map(len, DEFAULT_GRID.values()))
    grid = {**DEFAULT_GRID, "seed": list(range(seeds))}
    return SearchSpace({name: tune.grid_search(values) for name, values in grid.items()}, name="simulated")


def summary(plan: Plan, world: World, outcome: Outcome, requests: Requests) -> dict[str, Any]:
    """Return a simulated sweep's figures: times in hours, loads per second, shares of all slots' time."""
    slots, seconds = plan.sizing.slots, outcome.makespan
    total = slots * seconds
    busy = outcome.useful + outcome.lost
    tasks = sum(item.pack.cells[0].tasks for item in plan.items)
    asked = {
        "start": requests.start * (len(plan.items) + outcome.crashes),
        "heartbeat": requests.heartbeat * min(busy / plan.sizing.heartbeat_seconds, tasks),
        "task": requests.task * tasks,
        "checkpoint": requests.checkpoint * outcome.checkpoints,
        "commit": requests.commit * len(plan.items),
        "lock": requests.lock * seconds / lock_module.BEAT_SECONDS,
    }
    return {
        "slots": slots,
        "packs": len(plan.items),
        "pack_minutes": max(item.seconds for item in plan.items) / 60,
        "hours": seconds / 3600,
        "utilisation": outcome.utilisation(slots),
        "lost": outcome.lost / total,
        "absent": outcome.absent / total,
        "waiting": outcome.waiting / total,
        "reports_per_second": outcome.reports / seconds,
        "driver_load": outcome.driver / seconds,
        "progress_ms": 1e3 * outcome.progress / outcome.reports,
        "requests": {name: round(count) for name, count in asked.items()},
        "requests_per_second": sum(asked.values()) / seconds,
        "files": 2 * len(plan.items) + 2,
        "crashes": outcome.crashes,
        "preemptions": outcome.preemptions,
        "most_starts": outcome.most_starts,
    }


def simulate(space: SearchSpace, slots: int, world: World, seed: int) -> tuple[Plan, Outcome]:
    """Plan a search space for a number of slots, with nothing finished yet, and simulate the sweep."""
    plan = make_plan(space, set(), Store("counting:/nothing"), Sizing(slots=slots))
    return plan, Simulation(plan, world, np.random.default_rng(seed)).run()


def measure(cells: int, slots: list[int], seed: int, world: World) -> Section:
    """Simulate all numbers of slots and return the table."""
    space, requests = million_cells(cells), count_requests()
    rows, data = [], []
    for count in slots:
        plan, outcome = simulate(space, count, world, seed)
        found = summary(plan, world, outcome, requests)
        data.append(found)
        rows.append(
            (f"{count:,}", f"{found['packs']:,}", f"{found['pack_minutes']:.1f}", f"{found['hours']:.1f}",
             f"{found['utilisation']:.1%}", f"{found['lost']:.2%}", f"{found['absent']:.2%}",
             f"{found['waiting']:.2%}", f"{found['reports_per_second']:.1f}", f"{found['driver_load']:.1%}",
             f"{found['progress_ms']:.2f}", f"{sum(found['requests'].values()) / cells:.2f}",
             f"{found['requests_per_second']:.0f}", f"{found['files']:,}")
        )  # fmt: skip
    columns = (
        "CPUs", "packs", "longest pack, minutes", "hours", "utilisation", "computed again", "nodes absent",
        "waiting for the driver", "reports per second", "driver's load", "progress code, ms per report",
        "requests per cell", "requests per second", "files",
    )  # fmt: skip
    command = f"python benchmarks/scale_simulation.py --slots {' '.join(map(str, slots))} --cells {cells} --seed {seed}"
    return Section(
        f"{cells:,} default cells, simulated", command, columns, rows, {"world": asdict(world), "runs": data}
    )


def main() -> int:
    """Print the table, and all figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="also print all figures as JSON")
    options = parser.parse_args()
    section = measure(options.cells, options.slots, options.seed, World())
    print(section.markdown())
    if options.json:
        print(json.dumps(section.data, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
