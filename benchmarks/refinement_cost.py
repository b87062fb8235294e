"""What choosing costs, and how long workers wait for it.

    python benchmarks/refinement_cost.py [--told 10000] [--workers 2 64 1000] [--seconds 60] [--packs 10]

Outcomes are simulated: 65 learning rates, 8 depths, 5 separations and 16 seeds, 41,600 cells to choose from.

    suggestion  CPU time of `LevelSet.ask` with `--told` outcomes, 32 cells pending, and an outcome between two
                questions; of one process with one thread
    idle        share of the workers' time in which they wait for a suggestion, in a simulation of so many workers with
                packs of one cell that take `--seconds` (uniform between half and one and a half times that). One
                driver answers one question at a time, and takes as long as this process does
"""

from __future__ import annotations

import argparse
import heapq
import time

import numpy as np
from scipy.special import ndtr

from analysis.refinement import Candidates, LevelSet

SEEDS = 16


def make_problem() -> tuple[Candidates, np.ndarray, np.ndarray]:
    """Return the cells, each cell's outcome, and its distance from the boundary in probits."""
    rng = np.random.default_rng(0)
    axes = np.geomspace(0.05, 3.2, 65), np.arange(1, 9), np.linspace(0, 2.8, 5)
    grid = np.stack([values.ravel() for values in np.meshgrid(*axes, indexing="ij")], axis=1)
    points, seeds = np.repeat(grid, SEEDS, axis=0), np.tile(np.arange(SEEDS), len(grid))
    shapes = points[:, 1].astype(int)
    candidates = Candidates(points, ("log", "linear", "linear"), seeds, np.ones(len(seeds)), shapes)
    across, down, deep = candidates.coordinates.T
    distance = (across - 0.8 + 0.5 * down - 0.1 * deep) / 0.05
    lost = rng.random(len(seeds)) < ndtr(distance + rng.normal(0, 0.3, SEEDS)[seeds])
    return candidates, lost.astype(float), distance


def suggestion(told: int) -> tuple[float, float, float]:
    """Return the CPU seconds of the first question, and the mean and the largest of the next 60."""
    candidates, lost, distance = make_problem()
    chooser, rng = LevelSet(candidates), np.random.default_rng(1)
    near = np.argsort(np.abs(distance))[: 2 * told]
    for cell in rng.permutation(near)[:told]:
        chooser.tell(int(cell), lost[cell], 1.0)
    start = time.process_time()
    chooser.ask()
    first = time.process_time() - start
    pending: list[int] = []
    times = []
    for _ in range(60):
        start = time.process_time()
        (cell,) = chooser.ask(pending)
        times.append(time.process_time() - start)
        pending.append(cell)
        if len(pending) > 32:
            done = pending.pop(0)
            chooser.tell(done, lost[done], 1.0)
    return first, float(np.mean(times)), float(np.max(times))


def idle(workers: int, seconds: float, packs: int) -> tuple[float, int, float]:
    """Return the idle share of the workers' time, the number of cells, and how long a worker waits on average."""
    candidates, lost, _ = make_problem()
    chooser, rng = LevelSet(candidates), np.random.default_rng(2)
    free = [(0.0, worker, -1) for worker in range(workers)]  # when, who, and the cell that it has finished
    driver = waited = worked = asked = 0.0
    pending: set[int] = set()
    total = workers * packs
    while free:
        now, worker, done = heapq.heappop(free)
        start = time.process_time()
        if done >= 0:
            chooser.tell(done, lost[done], 1.0)
            pending.discard(done)
        cells = chooser.ask(pending) if asked < total else []
        driver = max(driver, now) + time.process_time() - start
        if not cells:
            continue
        asked += 1
        waited += driver - now
        length = seconds * rng.uniform(0.5, 1.5)
        worked += length
        pending.add(cells[0])
        heapq.heappush(free, (driver + length, worker, cells[0]))
    return waited / (waited + worked), int(asked), waited / asked


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--told", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="*", default=[2, 64, 1000])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--packs", type=int, default=10, help="cells per worker")
    arguments = parser.parse_args()
    first, mean, largest = suggestion(arguments.told)
    print(f"{arguments.told:,} outcomes: fit {first:.2f} s, a suggestion {mean:.3f} s, at most {largest:.3f} s")
    for workers in arguments.workers:
        share, cells, wait = idle(workers, arguments.seconds, arguments.packs)
        print(
            f"{workers:5,} workers, {cells:,} cells: idle {100 * share:.2f}%, a wait of {wait:.3f} s per cell",
            flush=True,
        )


if __name__ == "__main__":
    main()
