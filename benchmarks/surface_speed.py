"""The time to fit a surface and to draw its boundary, against what it would take if points were not shared.

    python benchmarks/surface_speed.py [--rounds 3] [--points N ...] [--seeds 8]

A fit costs M^3 for M distinct points, whatever the number of seeds. The last column is what a Cholesky factor of one
latent value per cell would cost, relative to one per point: (cells / points)^3.

Each row is the median of some rounds on one thread, after a first one. "line is off by" is the quality of the result:
the median distance of the line from the true boundary, as a share of the axis.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import numpy as np
from harness import cpu_name, spread
from scipy.special import ndtr

from analysis.surface import boundary_band, fit_surface

GRID = np.geomspace(0.01, 10.0, 81), np.linspace(1.0, 10.0, 41)
LIMIT_SECONDS = 5.0
"""What 10,000 cells may take."""


def cells(points: int, seeds: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the points, verdicts and seeds of cells on a grid with twice as many learning rates as depths."""
    depths = max(2, round((points / 2) ** 0.5))
    rates = max(2, round(points / depths))
    x, y = np.meshgrid(np.linspace(0, 1, rates), np.linspace(0, 1, depths), indexing="ij")
    shifts = 0.04 * rng.standard_normal(seeds)
    lost = rng.random((x.size, seeds)) < ndtr(((x - edge(y)).reshape(-1, 1) - shifts) / 0.05)
    at = np.column_stack([0.01 * 1000 ** x.ravel(), 1 + 9 * y.ravel()])
    return np.repeat(at, seeds, axis=0), lost.ravel().astype(float), np.tile(np.arange(seeds), x.size)


def edge(y: np.ndarray) -> np.ndarray:
    """Return the true boundary along the first axis, both axes in the unit interval."""
    return 0.45 + 0.2 * y


def measure(points: int, seeds: int, rounds: int) -> list[str]:
    """Return a row of the table."""
    at, lost, names = cells(points, seeds, np.random.default_rng(0))
    fits, bands = [], []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        surface = fit_surface(at, lost, np.ones(len(lost)), clusters=names, scales=("log", "linear"))
        fitted = time.perf_counter()
        found = boundary_band(surface, GRID)
        fits.append(fitted - start)
        bands.append(time.perf_counter() - fitted)
    line = np.concatenate(found.lines)
    off = np.median(np.abs(np.log(line[:, 0] / 0.01) / np.log(1000) - edge((line[:, 1] - 1) / 9)))
    total = [fit + band for fit, band in zip(fits[1:], bands[1:], strict=True)]
    distinct = len(np.unique(at, axis=0))
    return [
        f"{len(lost):,}",
        f"{distinct:,}",
        spread(fits[1:]),
        spread(bands[1:]),
        spread(total),
        f"{LIMIT_SECONDS / np.median(total):.1f}x",
        f"{off:.3f}",
        f"{(len(lost) / distinct) ** 3:,.0f}x",
    ]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="measurements per row (default 3)")
    parser.add_argument("--points", type=int, nargs="+", default=[50, 250, 1250], metavar="N", help="points per row")
    parser.add_argument("--seeds", type=int, default=8, metavar="N", help="seeds per point (default 8)")
    options = parser.parse_args()
    print(f"{cpu_name()}, one thread; a boundary on {len(GRID[0])} x {len(GRID[1])} points\n")
    print(
        "| cells | points | fit (s) | boundary (s) | both (s) | 5 s over both | line is off by | one latent per cell |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for points in options.points:
        print(f"| {' | '.join(measure(points, options.seeds, options.rounds))} |", flush=True)


if __name__ == "__main__":
    main()
