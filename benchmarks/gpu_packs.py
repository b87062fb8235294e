"""Cells a second of a GPU, by the number of cells in a pack, against one CPU core.

    python benchmarks/gpu_packs.py [--packs 64 512 2048 8192] [--device cuda]

Runs some tasks of packs of default cells on the device, after one to warm up (its CUDA graph is captured then), and of
a few cells on a CPU core. A cell a second means 100 tasks and their measures a second; the fresh baseline is left out
on both sides. The share of peak is that of batched matrix products of 1,024 x 1,024, at the same precision, on the same
device. Beside the time stands the largest relative difference of a task's final loss to the CPU's, in a stable regime.
`--device torch` runs the same code on the CPU, to try it out.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from lop_sweep import runtime

runtime.prepare_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from engine_speed import step_flops  # noqa: E402
from harness import Section  # noqa: E402

from lop_sweep.config import CellConfig  # noqa: E402
from lop_sweep.errors import ConfigError  # noqa: E402
from lop_sweep.experiment.backends import make_device  # noqa: E402
from lop_sweep.experiment.experiment import Experiment  # noqa: E402

TASKS, CHECKED = 5, 8


def seconds_a_task(cells: int, dtype: str, device: str) -> tuple[float, np.ndarray]:
    """Of a whole pack, measures included; and the final losses of the first cells' last task."""
    configs = [CellConfig(seed=seed, lr=0.01) for seed in range(cells)]
    experiment = Experiment(configs, dtype, device)
    experiment.run_task()
    start = time.perf_counter()
    for _ in range(TASKS):
        row = experiment.run_task()
    return (time.perf_counter() - start) / TASKS, row.final_ce[:CHECKED]


def peak_flops(dtype: str, device: torch.device) -> float:
    """Operations a second of batched products on the device."""
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
    """The table."""
    runtime.limit_threads()
    label = make_device(device).label
    where = torch.device("cuda" if device == "cuda" else "cpu")
    config = CellConfig()
    flops = config.steps * step_flops(config.samples, config.input_dim, config.width, config.depth)
    rows, data = [], []
    for dtype in ("float64", "float32"):
        cpu, expected = seconds_a_task(CHECKED, dtype, "cpu")
        peak = peak_flops(dtype, where)
        for cells in packs:
            seconds, losses = seconds_a_task(cells, dtype, device)
            figures: dict[str, Any] = {
                "dtype": dtype,
                "cells": cells,
                "cells_a_second": cells / seconds / config.tasks,
                "core_cells_a_second": CHECKED / cpu / config.tasks,
                "share_of_peak": cells * flops / seconds / peak,
                "peak_gflops": peak / 1e9,
                "loss_difference": float(np.abs(losses / expected[: len(losses)] - 1).max()),
            }
            data.append(figures)
            rows.append(
                (
                    dtype, f"{cells:,}", f"{figures['cells_a_second']:.2f}", f"{figures['core_cells_a_second']:.3f}",
                    f"{figures['cells_a_second'] / figures['core_cells_a_second']:.1f}",
                    f"{figures['share_of_peak']:.2f} of {figures['peak_gflops']:,.0f} GFLOP/s",
                    f"{figures['loss_difference']:.0e}",
                )
            )  # fmt: skip
    columns = ("", "cells a pack", "cells/s", "one CPU core, cells/s", "ratio", "share of peak", "losses differ by")
    command = f"python benchmarks/gpu_packs.py --device {device} --packs {' '.join(map(str, packs))}"
    return Section(f"Packs on {label}", command, columns, rows, data)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=int, nargs="+", default=[64, 512, 2048, 8192])
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    try:
        print(compare(options.packs, options.device).markdown())
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
