"""Measure steps per second of the engine and of plain PyTorch, and the limit that the machine's BLAS sets.

    python benchmarks/engine_speed.py [--rounds 5] [--depth 5 10] [--width 100] [--seconds 0.7]

Engine and reference (`lop_sweep/experiment/reference.py`) run in separate processes with one thread each. They
alternate, so that a drift of the machine's speed slows both, and the ratio is computed per round. The engine's process
is set up like the workers of `lop-sweep` (`lop_sweep.runtime`), the reference's like a user's own script. The reference
always computes in float64. The table also has the difference of the losses after 50 steps in a stable regime: both
sides must have done the same work.

The machine's limit is the rate at which NumPy multiplies matrices in the engine's own process: large ones (1,500 x
1,500), and those of a step (samples x width by width x width, plain and transposed).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from harness import Section, child, median, spread

from lop_sweep import runtime

SCRIPT = "engine_speed.py"
LARGE = 1500


def measure(who: str, dtype: str, depth: int, width: int, seconds: float) -> dict[str, float]:
    """Measure one implementation in this process: steps per second, its final loss, and rates of matrix products."""
    if who == "engine":
        runtime.prepare_process()
    import numpy as np

    from lop_sweep.components import Components
    from lop_sweep.config import CellConfig

    runtime.limit_threads()
    config = CellConfig(depth=depth, width=width, lr=0.01)
    components = Components.of(config)
    task = components.stream.draw(config, {}, np.random.default_rng(0))
    if who == "engine":
        from lop_sweep.experiment.engine import Engine, Parameters, TaskArrays
        from lop_sweep.experiment.network import TorchRng, initial_weights

        layers = initial_weights(config, TorchRng(config.seed))
        parameters = Parameters(
            [weight[None].astype(dtype) for weight, _ in layers], [bias[None].astype(dtype) for _, bias in layers]
        )
        x, y = (array[None].astype(dtype) for array in (task.points, task.labels))
        lr = np.full((1, 1, 1), config.lr, dtype=dtype)
        engine = Engine.of(components, config)
        state, arrays = engine.init(parameters), TaskArrays(x, y, {"lr": lr})

        def train() -> float:
            return float(engine.train(state, arrays, 50).losses[-1][0])
    else:
        from lop_sweep.experiment import ReferenceTrainer
        from lop_sweep.experiment.network import TorchRng

        trainer = ReferenceTrainer(config, TorchRng(config.seed))

        def train() -> float:
            return trainer.train(task, 50)[0][-1]

    loss = train()
    result = {"loss_after_50_steps": loss, "steps_per_second": 50 * _rate(train, seconds)}
    if who == "engine":
        result |= _products(dtype, config.samples, width, seconds / 4)
    return result


def _rate(work: Callable[[], object], seconds: float) -> float:
    """Return the calls per second."""
    work()
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        work()
        calls += 1
    return calls / (time.perf_counter() - start)


def _products(dtype: str, samples: int, width: int, seconds: float) -> dict[str, float]:
    """Return the operations per second of NumPy's matrix products."""
    import numpy as np

    rng = np.random.default_rng(0)
    large = rng.normal(size=(LARGE, LARGE)).astype(dtype)
    a, w = rng.normal(size=(samples, width)).astype(dtype), rng.normal(size=(width, width)).astype(dtype)
    e = a + 1  # not `a` itself: BLAS has another routine for a matrix times its own transpose
    each = [1 / _rate(product, seconds / 3) for product in (lambda: a @ w, lambda: a.T @ e, lambda: e @ w.T)]
    return {
        "large_product_flops": 2 * LARGE**3 * _rate(lambda: large @ large, seconds),
        "step_product_flops": 3 * 2 * samples * width**2 / sum(each),
    }


def step_flops(samples: int, dim: int, width: int, depth: int) -> int:
    """Count the operations of one step's matrix products: forward, gradients of weights, errors of the layers below."""
    square = (depth - 1) * width * width
    return 2 * samples * (2 * (dim * width + square + width) + square + width)


def compare(depths: list[int], widths: list[int], rounds: int, seconds: float) -> Section:
    """Measure all depths and widths, and return the table."""
    rows, data = [], []
    for depth in depths:
        for width in widths:
            rounds_of: dict[str, list[dict[str, float]]] = {"reference": [], "float64": [], "float32": []}
            for _ in range(rounds):
                for name, measured in rounds_of.items():
                    who, dtype = ("reference", "float64") if name == "reference" else ("engine", name)
                    measured.append(child(SCRIPT, who, dtype, depth, width, seconds))
            for dtype in ("float64", "float32"):
                row = _summarise(rounds_of[dtype], rounds_of["reference"], depth, width)
                data.append({"depth": depth, "width": width, "dtype": dtype, **row, "rounds": rounds_of})
                rows.append(_cells(depth, width, dtype, row))
    columns = (
        "depth", "width", "engine", "engine, steps/s", "PyTorch (float64), steps/s", "ratio: median (min to max)",
        "share of large products' rate", "of the step's products' rate", "losses differ by",
    )  # fmt: skip
    command = (
        f"python benchmarks/engine_speed.py --rounds {rounds} --seconds {seconds} "
        f"--depth {' '.join(map(str, depths))} --width {' '.join(map(str, widths))}"
    )
    return Section("The engine against plain PyTorch, one core", command, columns, rows, data)


def _summarise(
    engine: list[dict[str, float]], reference: list[dict[str, float]], depth: int, width: int
) -> dict[str, Any]:
    flops = step_flops(96, 4, width, depth)
    used = [one["steps_per_second"] * flops for one in engine]
    return {
        "steps_per_second": median([one["steps_per_second"] for one in engine]),
        "reference_steps_per_second": median([one["steps_per_second"] for one in reference]),
        "ratios": [a["steps_per_second"] / b["steps_per_second"] for a, b in zip(engine, reference, strict=True)],
        "large_share": median([rate / one["large_product_flops"] for rate, one in zip(used, engine, strict=True)]),
        "step_share": median([rate / one["step_product_flops"] for rate, one in zip(used, engine, strict=True)]),
        "large_product_gflops": median([one["large_product_flops"] for one in engine]) / 1e9,
        "step_product_gflops": median([one["step_product_flops"] for one in engine]) / 1e9,
        "loss_difference": abs(engine[0]["loss_after_50_steps"] / reference[0]["loss_after_50_steps"] - 1),
    }


def _cells(depth: int, width: int, dtype: str, row: dict[str, Any]) -> tuple[str, ...]:
    large, step = row["large_product_gflops"], row["step_product_gflops"]
    return (
        str(depth), str(width), dtype, f"{row['steps_per_second']:,.0f}", f"{row['reference_steps_per_second']:,.0f}",
        spread(row["ratios"]), f"{row['large_share']:.2f} of {large:.0f} GFLOP/s",
        f"{row['step_share']:.2f} of {step:.0f} GFLOP/s", f"{row['loss_difference']:.0e}",
    )  # fmt: skip


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--depth", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--width", type=int, nargs="+", default=[100])
    parser.add_argument("--seconds", type=float, default=0.7, help="length of one measurement")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        who, dtype, depth, width, seconds = options.child
        print(json.dumps(measure(who, dtype, int(depth), int(width), float(seconds))))
    else:
        print(compare(options.depth, options.width, options.rounds, options.seconds).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
