"""Steps a second of the fast engine and of the plain PyTorch reference, side by side.

    python benchmarks/engine_vs_reference.py [--rounds 5] [--depth 5 10] [--out FILE.json]

Each measurement is a process of its own with one thread; engine and reference alternate, so that a machine whose speed
drifts slows both, and the ratio is taken round by round. The engine's process is set up as `lop-sweep`'s workers are
(`lop_sweep.machine`), the reference's is as a user's own script would be. Beside the time stands the loss after
training, in a stable regime: both must have done the same work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def measure(who: str, dtype: str, depth: int, width: int, seconds: float) -> dict[str, float]:
    """Steps a second of one implementation in this process, and the loss that it ends with."""
    if who == "engine":
        from lop_sweep import machine

        machine.prepare_process()
    import numpy as np
    import torch

    from lop_sweep.config import CellConfig
    from lop_sweep.machine import limit_threads
    from lop_sweep.tasks import draw_task

    limit_threads()
    config = CellConfig(depth=depth, width=width, lr=0.01)
    task = draw_task(config, np.random.default_rng(0))
    if who == "engine":
        from lop_sweep import engine
        from lop_sweep.experiment import Experiment

        parameters = Experiment([config], dtype)._cells[0].parameters
        x, y = (array[None].astype(dtype) for array in (task.points, task.labels))
        lr = np.full((1, 1, 1), config.lr, dtype=dtype)

        def train(steps: int) -> float:
            return float(engine.train(parameters, x, y, lr, steps).losses[-1][0])
    else:
        from lop_sweep.network import TorchStream, build_network
        from lop_sweep.reference import _train

        network = build_network(config, TorchStream(config.seed)).to(getattr(torch, dtype))
        inputs = type(task)(*(array.astype(dtype) for array in (task.points, task.labels)))

        def train(steps: int) -> float:
            return _train(network, inputs, config.lr, steps)[0][-1]

    loss = train(50)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        train(50)
        done += 50
    return {"steps_per_second": done / (time.perf_counter() - start), "loss_after_50_steps": loss}


def child(who: str, dtype: str, depth: int, width: int, seconds: float) -> dict[str, float]:
    """`measure` in a process of its own."""
    arguments = [sys.executable, __file__, "--child", who, dtype, str(depth), str(width), str(seconds)]
    output = subprocess.run(arguments, env={**os.environ, **ONE_THREAD}, check=True, capture_output=True, text=True)
    return json.loads(output.stdout)


def cpu_name() -> str:
    """The CPU's model name and family, as far as Linux tells."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    wanted = ("model name", "cpu family", "model\t")
    found = dict.fromkeys(line.replace("\t", "") for line in lines if line.startswith(wanted))
    return "; ".join(found) or platform.processor()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--depth", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1.5, help="length of one measurement")
    parser.add_argument("--out", type=Path, help="also write everything as JSON")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        who, dtype, depth, width, seconds = options.child
        print(json.dumps(measure(who, dtype, int(depth), int(width), float(seconds))))
        return

    from lop_sweep.machine import describe_numerics, prepare_process

    prepare_process()
    machine = {**describe_numerics(), "cpu": cpu_name()}
    print(json.dumps(machine, indent=1))
    print("depth  dtype     engine steps/s  reference (float64) steps/s  ratio: median (min to max)   losses differ by")
    rows = []
    for depth in options.depth:
        for dtype in ("float64", "float32"):
            pairs = []
            for _ in range(options.rounds):
                ours = child("engine", dtype, depth, options.width, options.seconds)
                theirs = child("reference", "float64", depth, options.width, options.seconds)
                pairs.append((ours, theirs))
            speeds = [[one["steps_per_second"] for one in pair] for pair in pairs]
            ratios = [ours / theirs for ours, theirs in speeds]
            medians = [statistics.median(column) for column in zip(*speeds, strict=True)]
            losses = [one["loss_after_50_steps"] for one in pairs[0]]
            difference = abs(losses[0] / losses[1] - 1)
            print(
                f"{depth:5}  {dtype}  {medians[0]:14.0f}  {medians[1]:27.0f}  "
                f"{statistics.median(ratios):11.2f} ({min(ratios):.2f} to {max(ratios):.2f})  {difference:18.1e}"
            )
            rows.append({"depth": depth, "dtype": dtype, "width": options.width, "pairs": pairs, "ratios": ratios})
    if options.out:
        options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
