"""Time the operations of one gradient step: each alone, at its shapes, and how often it occurs.

    python benchmarks/step_parts.py [--depth 5] [--width 100]

Operations are timed one after the other on few arrays, which stay in the cache. The engine's whole step, in the last
line, therefore takes longer than their sum. The product for the error below includes copying the transposed weights
where the engine does that.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from harness import Section, child

from lop_sweep import runtime

SCRIPT = "step_parts.py"
ROUNDS, REPETITIONS = 7, 1000


def best(work: Callable[[], object]) -> float:
    """Return the microseconds of one call: the smallest of several means."""
    means = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(REPETITIONS):
            work()
        means.append((time.perf_counter() - start) / REPETITIONS)
    return 1e6 * min(means)


def measure(dtype: str, depth: int, width: int) -> list[tuple[str, int, float]]:
    """Return each operation, how often it occurs in a step, and its microseconds."""
    runtime.prepare_process()
    import numpy as np

    from lop_sweep.components import Components
    from lop_sweep.config import CellConfig
    from lop_sweep.experiment import engine
    from lop_sweep.experiment.network import TorchRng, initial_weights

    runtime.limit_threads()
    config = CellConfig(depth=depth, width=width, lr=0.01)
    rng = np.random.default_rng(0)
    a, e, s = (rng.normal(size=(1, 96, columns)).astype(dtype) for columns in (width, width, 1))
    w, b, ones = rng.normal(size=(1, width, width)).astype(dtype), e[:, :1].copy(), np.ones((1, 1, 96), dtype)
    column, y, lr = w[:, :, :1].copy(), (s > 0).astype(dtype), np.full((1, 1, 1), 1e-9, dtype)
    scratch, change = e.copy(), np.zeros_like(w)

    def slope() -> None:
        flat = a * a
        flat *= e
        np.subtract(scratch, flat, out=scratch)

    def update() -> None:
        np.multiply(change, lr, out=change)
        np.subtract(w, change, out=w)

    layers = initial_weights(config, TorchRng(0))
    weights, biases = ([array[None].astype(dtype) for array in kind] for kind in zip(*layers, strict=True))
    parameters = engine.Parameters(weights, biases)
    components = Components.of(config)
    trainer, loss = engine.Engine.of(components, config), components.loss
    task = components.stream.draw(config, {}, rng)
    x, labels = (array[None].astype(dtype) for array in (task.points, task.labels))
    state, arrays = trainer.init(parameters), engine.TaskArrays(x, labels, {"lr": lr})
    hyper = {**arrays.hyper, **dict(trainer.fixed)}
    whole = best(lambda: trainer.step(state, (arrays.x, arrays.y, arrays.ones), hyper))
    first = layers[0][0].astype(dtype)
    inner = depth - 1
    parts: list[tuple[str, int, Callable[[], object]]] = [
        ("forward product", inner, lambda: a @ w),
        ("product for the weights' gradient", inner, lambda: a.mT @ e),
        ("product for the error below", inner, lambda: engine._below(e, w)),
        ("tanh", depth, lambda: np.tanh(a)),
        ("adding biases", depth, lambda: np.add(scratch, b, out=scratch)),
        ("times the slope of tanh", depth, slope),
        ("biases' gradient", depth, lambda: ones @ e),
        ("update of weights", inner, update),
        ("first layer's products", 1, lambda: (x @ first, x.mT @ e)),
        ("output layer, its error, and the way back", 1, lambda: (loss.error(a @ column, y), s * column.mT)),
    ]
    measured = [(name, count, best(work)) for name, count, work in parts]
    return [*measured, ("a whole step", 1, whole)]


def compare(depth: int, width: int) -> Section:
    """Measure both dtypes in fresh processes, and return the table."""
    data: dict[str, Any] = {dtype: child(SCRIPT, dtype, depth, width) for dtype in ("float64", "float32")}
    rows = []
    for double, single in zip(data["float64"], data["float32"], strict=True):
        name, count, micros = double
        rows.append((name, str(count), f"{micros:.1f}", f"{count * micros:.0f}", f"{count * single[2]:.0f}"))
    sums = [sum(count * micros for _, count, micros in data[dtype][:-1]) for dtype in data]
    rows.insert(-1, ("sum of these", "", "", *(f"{total:.0f}" for total in sums)))
    columns = ("operation", "times per step", "us each, float64", "us per step, float64", "us per step, float32")
    command = f"python benchmarks/step_parts.py --depth {depth} --width {width}"
    return Section(f"Parts of a step (depth {depth}, width {width})", command, columns, rows, data)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        dtype, depth, width = options.child
        print(json.dumps(measure(dtype, int(depth), int(width))))
    else:
        print(compare(options.depth, options.width).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
