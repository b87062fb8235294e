"""Bootstrapped intervals of many points: this package's against SciPy's, importing it included.

    python benchmarks/bootstrap.py [--rounds 3] [--points N]

A command draws one map, so it pays for the import once. Each row is the best of some fresh processes, on one thread.
SciPy resamples every sample with indices of its own, so the ends of the intervals agree within the noise of resampling.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

CASES = (("mean", 35, 3), ("mean", 400, 3), ("mean", 3600, 5), ("median", 400, 3), ("median", 3600, 5))
"""Statistic, points, seeds per point."""

CHILD = """
import sys, time
import numpy as np
statistic, points, seeds = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
samples = np.random.default_rng(0).lognormal(size=(points, seeds))
rng = np.random.default_rng(1)
start = time.perf_counter()
if sys.argv[1] == "ours":
    from analysis.scoring.intervals import bootstrap
    imported = time.perf_counter() - start
    low, high = bootstrap(samples, rng, statistic)
else:
    from scipy import stats
    imported = time.perf_counter() - start
    interval = stats.bootstrap(
        (samples,), getattr(np, statistic), axis=1, method="percentile", n_resamples=1000, rng=rng
    ).confidence_interval
    low, high = interval.low, interval.high
print(imported, time.perf_counter() - start - imported, float(np.median(high - low)))
"""


def measure(side: str, case: tuple[str, int, int], rounds: int) -> tuple[float, float, float]:
    """Return the seconds to import and to compute, and the median width of the intervals."""
    results = []
    for _ in range(rounds):
        command = [sys.executable, "-c", CHILD, side, *map(str, case)]
        words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        results.append(tuple(map(float, words)))
    imported, computed, width = (min(column) for column in zip(*results, strict=True))
    return imported, computed, width


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="processes per row (default 3)")
    parser.add_argument("--points", type=int, metavar="N", help="only maps of this many points, of 5 seeds each")
    options = parser.parse_args()
    rounds, points = options.rounds, options.points
    cases = CASES if points is None else (("mean", points, 5), ("median", points, 5))
    print("| statistic | points | seeds | ours (s) | import SciPy (s) | SciPy (s) | width, ours | width, SciPy |")
    print("|---|---|---|---|---|---|---|---|")
    for case in cases:
        _, ours, our_width = measure("ours", case, rounds)
        imported, theirs, their_width = measure("scipy", case, rounds)
        row = [*map(str, case), f"{ours:.3f}", f"{imported:.2f}", f"{theirs:.3f}"]
        print("|", " | ".join([*row, f"{our_width:.3f}", f"{their_width:.3f}"]), "|", flush=True)


if __name__ == "__main__":
    main()
