"""Measure cells per second of a GPU against one CPU core, by the number of cells per pack.

    python benchmarks/gpu_packs.py [--packs 64 512 2048 8192] [--device cuda]

Runs some tasks of packs of default cells on the device, after one warm-up task that captures the CUDA graph, and of a
few cells on a CPU core. One cell per second means 100 tasks and their metrics per second. The fresh baseline is left
out on both sides.

The share of peak compares with batched matrix products of 1,024 x 1,024, at the same precision, on the same device. The
table also has the largest relative difference of a task's final loss from the CPU's, in a stable regime.
`--device torch` runs the same code on the CPU, to try it out.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from engine_speed import step_flops
from harness import Section

from lop_sweep import runtime
from lop_sweep.errors import ConfigError

if TYPE_CHECKING:  # NumPy must not be imported before `prepare_process` has run
    import numpy as np
    import torch

TASKS, CHECKED = 5, 8


def seconds_per_task(cells: int, dtype: str, device: str) -> tuple[float, np.ndarray]:
    """Return the seconds per task of a whole pack, including metrics, and the last final losses of the first cells."""
    from lop_sweep.config import CellConfig
    from lop_sweep.experiment import Experiment

    configs = [CellConfig(seed=seed, lr=0.01) for seed in range(cells)]
    experiment = Experiment(configs, dtype, device)
    experiment.run_task()
    start = time.perf_counter()
    for _ in range(TASKS):
        row = experiment.run_task()
    return (time.perf_counter() - start) / TASKS, row["final_ce"][:CHECKED]


def peak_flops(dtype: str, device: torch.device) -> float:
    """Return the operations per second of batched products on the device."""
    import torch

    a = torch.randn(8, 1024, 1024, dtype=getattr(torch, dtype), device=device)
    torch.bmm(a, a)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(4):
            torch.bmm(a, a)
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 4 * 8 * 2 * 1024**3 / (time.perf_counter() - start))
    return best


def compare(packs: list[int], device: str) -> Section:
    """Measure all sizes of packs and return the table."""
    import numpy as np
    import torch

    from lop_sweep.config import CellConfig
    from lop_sweep.experiment import make_device

    runtime.limit_threads()
    label = make_device(device).label
    where = torch.device("cuda" if device == "cuda" else "cpu")
    config = CellConfig()
    flops = config.steps * step_flops(config.samples, config.input_dim, config.width, config.depth)
    rows, data = [], []
    for dtype in ("float64", "float32"):
        cpu, expected = seconds_per_task(CHECKED, dtype, "cpu")
        peak = peak_flops(dtype, where)
        for cells in packs:
            seconds, losses = seconds_per_task(cells, dtype, device)
            figures: dict[str, Any] = {
                "dtype": dtype,
                "cells": cells,
                "cells_per_second": cells / seconds / config.tasks,
                "core_cells_per_second": CHECKED / cpu / config.tasks,
                "share_of_peak": cells * flops / seconds / peak,
                "peak_gflops": peak / 1e9,
                "loss_difference": float(np.abs(losses / expected[: len(losses)] - 1).max()),
            }
            data.append(figures)
            rate, core_rate = figures["cells_per_second"], figures["core_cells_per_second"]
            rows.append(
                (
                    dtype, f"{cells:,}", f"{rate:.2f}", f"{core_rate:.3f}", f"{rate / core_rate:.1f}",
                    f"{figures['share_of_peak']:.2f} of {figures['peak_gflops']:,.0f} GFLOP/s",
                    f"{figures['loss_difference']:.0e}",
                )
            )  # fmt: skip
    columns = (
        "dtype", "cells per pack", "cells/s", "one CPU core, cells/s", "ratio", "share of peak", "losses differ by"
    )  # fmt: skip
    command = f"python benchmarks/gpu_packs.py --device {device} --packs {' '.join(map(str, packs))}"
    return Section(f"Packs on {label}", command, columns, rows, data)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=int, nargs="+", default=[64, 512, 2048, 8192])
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    runtime.prepare_process()
    try:
        print(compare(options.packs, options.device).markdown())
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
