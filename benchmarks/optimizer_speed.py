"""Measure whole training steps with each optimizer: the engine and plain PyTorch with `torch.optim`, one thread.

    python benchmarks/optimizer_speed.py [--rounds 7] [--seconds 0.3] [--optimizers sgd adam ...]

Both sides train the same network on the same points in float64, in one process and in turns, for `--seconds` in each
round, so that a drift of the machine's speed slows both. Times are CPU time, and the ratio is computed per round.
PyTorch's side is the reference of `lop_sweep/experiment/reference.py`: autograd, and `torch.optim` or, for the two
Muons, the same optimizer in plain PyTorch. The table also has the difference of the losses after 50 steps: both sides
must have done the same work.

Shapes are those of the default cell, of a narrow network, and of a batch of narrow networks, whose time is per network.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness import Section, child, median, spread

from lop_sweep import runtime

SCRIPT = "optimizer_speed.py"
STEPS = 50


@dataclass(frozen=True)
class Shape:
    """Networks to measure.

    Attributes:
        samples, width, depth: as in `CellConfig`.
        networks: how many the engine trains as one batch.
    """

    samples: int
    width: int
    depth: int
    networks: int


SHAPES = (Shape(96, 100, 5, 1), Shape(16, 8, 1, 1), Shape(16, 8, 1, 64))
LEARNING_RATES = {"sgd": 0.01, "momentum": 0.001, "muon": 0.001}
"""At which 50 steps are stable. All others: 0.0003."""


def measure(optimizer: str, shape: Shape, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure both sides in this process: microseconds per step of one network in each round, and final losses."""
    runtime.prepare_process()
    runtime.limit_threads()
    lr = LEARNING_RATES.get(optimizer, 0.0003)
    changes = {"optimizer": optimizer, "lr": lr, "samples": shape.samples, "width": shape.width, "depth": shape.depth}
    ours, theirs = _engine(changes, shape.networks), _reference(changes)
    losses = ours(), theirs()
    times: dict[str, list[float]] = {"engine": [], "reference": []}
    for _ in range(rounds):
        times["engine"].append(_seconds_per_call(ours, seconds) * 1e6 / STEPS / shape.networks)
        times["reference"].append(_seconds_per_call(theirs, seconds) * 1e6 / STEPS)
    return {**times, "loss_difference": abs(losses[0] / losses[1] - 1)}


def _engine(changes: dict[str, Any], networks: int) -> Callable[[], float]:
    """Return what trains a batch of equal networks, and returns the last loss of the first one."""
    import numpy as np

    from lop_sweep.components import Components
    from lop_sweep.config import FIELDS, CellConfig
    from lop_sweep.experiment.engine import Engine, Parameters, TaskArrays
    from lop_sweep.experiment.network import TorchRng, initial_weights

    config = CellConfig(**changes)
    chosen = Components.of(config)
    task = chosen.stream.draw(config, {}, np.random.default_rng(0))

    def repeated(array: Any) -> Any:
        return np.repeat(array[None], networks, axis=0)

    layers = initial_weights(config, TorchRng(config.seed))
    parameters = Parameters([repeated(weight) for weight, _ in layers], [repeated(bias) for _, bias in layers])
    hyper = {name: np.full((networks, 1, 1), getattr(config, name)) for name in chosen.hyper() if FIELDS[name].packable}
    engine = Engine.of(chosen, config)
    state = engine.init(parameters)
    arrays = TaskArrays(repeated(task.points), repeated(task.labels), hyper)
    return lambda: float(engine.train(state, arrays, STEPS).losses[-1][0])


def _reference(changes: dict[str, Any]) -> Callable[[], float]:
    """Return what trains one network in plain PyTorch, and returns the last loss."""
    import numpy as np

    from lop_sweep.components import Components
    from lop_sweep.config import CellConfig
    from lop_sweep.experiment import ReferenceTrainer
    from lop_sweep.experiment.network import TorchRng

    config = CellConfig(**changes)
    task = Components.of(config).stream.draw(config, {}, np.random.default_rng(0))
    trainer = ReferenceTrainer(config, TorchRng(config.seed))
    return lambda: trainer.train(task, STEPS)[0][-1]


def _seconds_per_call(work: Callable[[], object], seconds: float) -> float:
    calls, start = 0, time.process_time()
    while (elapsed := time.process_time() - start) < seconds or not calls:
        work()
        calls += 1
    return elapsed / calls


def compare(optimizers: list[str], rounds: int, seconds: float) -> Section:
    """Measure all optimizers and shapes, and return the table."""
    rows, data = [], []
    for shape in SHAPES:
        plain = None
        for name in optimizers:
            one = child(SCRIPT, name, *vars(shape).values(), rounds, seconds)
            ratios = [theirs / ours for ours, theirs in zip(one["engine"], one["reference"], strict=True)]
            plain = plain or median(one["engine"])
            data.append({"optimizer": name, **vars(shape), **one, "ratios": ratios})
            rows.append(
                (
                    f"{shape.samples}, {shape.width}, {shape.depth}", str(shape.networks), name,
                    f"{median(one['engine']):,.1f}", f"{median(one['engine']) / plain:.2f}",
                    f"{median(one['reference']):,.1f}", spread(ratios), f"{one['loss_difference']:.0e}",
                )
            )  # fmt: skip
    columns = (
        "points, width, depth", "networks", "optimizer", "engine, µs per step", f"times {optimizers[0]}",
        "PyTorch, µs per step", "ratio: median (min to max)", "losses differ by",
    )  # fmt: skip
    command = f"python benchmarks/optimizer_speed.py --rounds {rounds} --seconds {seconds}"
    return Section("Optimizers against plain PyTorch, one thread", command, columns, rows, data)


def names() -> list[str]:
    """Return all optimizers."""
    import lop_sweep.components  # noqa: F401
    from lop_sweep.registry import components

    return list(components("optimizer"))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="length of one measurement")
    parser.add_argument("--optimizers", nargs="+", help="their names; all if not given")
    parser.add_argument("--child", nargs=7, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, samples, width, depth, networks, rounds, seconds = options.child
        shape = Shape(int(samples), int(width), int(depth), int(networks))
        print(json.dumps(measure(name, shape, int(rounds), float(seconds))))
    else:
        print(compare(options.optimizers or names(), options.rounds, options.seconds).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
