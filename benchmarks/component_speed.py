"""Measure components against PyTorch's own, in pairs, one thread.

    python benchmarks/component_speed.py [--kind activation] [--names relu gelu] [--rounds 5] [--dtype float64 float32]

An activation is measured forward and backward: `value` and `backward` on NumPy arrays as the engine calls them, and the
reference's function with autograd on tensors. The shapes are those of a default network, and of a batch of 64 narrow
ones. Both sides are measured in one process, alternately, so that a drift of the machine's speed slows both. The table
also has the largest difference of their results: both must have done the same work.

Another kind of component needs one function in `PAIRS`.
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

SCRIPT = "component_speed.py"
SHAPES = ((1, 96, 100), (64, 16, 8))
"""Networks, points and units per layer."""
MIN_SECONDS = 2e-3
"""Repetitions of one measurement take at least this long."""
MEASUREMENTS = 25
"""Measurements of each side per round; the shortest counts."""


@dataclass(frozen=True)
class Pair:
    """The same work on both sides.

    Attributes:
        ours, theirs: do it once.
        difference: between their results, relative to the largest value.
    """

    ours: Callable[[], object]
    theirs: Callable[[], object]
    difference: float


def activation_pair(name: str, dtype: str, shape: tuple[int, ...]) -> Pair:
    """Return the value and the derivative of an activation, by the engine's side and by autograd."""
    import numpy as np
    import torch

    from lop_sweep.components import Activation
    from lop_sweep.registry import component

    activation: Activation = component("activation", name)
    function = activation.torch()
    rng = np.random.default_rng(0)
    z = rng.normal(size=shape).astype(dtype)
    error = rng.normal(size=activation.value(z).shape).astype(dtype)
    given, tensor, tensor_error = error.copy(), torch.from_numpy(z.copy()), torch.from_numpy(error.copy())

    def ours() -> Any:
        a = activation.value(z)
        np.copyto(error, given)  # because `backward` may overwrite it; PyTorch's does not
        return activation.backward(error, z if activation.keeps_z else None, a)

    def theirs() -> Any:
        leaf = tensor.detach().requires_grad_()
        function(leaf).backward(tensor_error)
        return leaf.grad

    expected = theirs().numpy()
    return Pair(ours, theirs, float(np.abs(ours() - expected).max() / np.abs(expected).max()))


PAIRS: dict[str, Callable[[str, str, tuple[int, ...]], Pair]] = {"activation": activation_pair}
"""How the components of a kind are measured: from a name, a dtype and a shape of `SHAPES` to both sides."""


def measure(kind: str, names: list[str], dtype: str) -> list[dict[str, Any]]:
    """Measure components in this process: microseconds of each side for every shape."""
    runtime.prepare_process()
    import torch

    runtime.limit_threads()
    torch.set_num_threads(1)
    found = []
    for name in names:
        for shape in SHAPES:
            pair = PAIRS[kind](name, dtype, shape)
            ours, theirs = _alternately(pair.ours, pair.theirs)
            row = {"name": name, "shape": shape, "ours_us": ours, "theirs_us": theirs, "difference": pair.difference}
            found.append(row)
    return found


def _alternately(*works: Callable[[], object]) -> list[float]:
    """Return the microseconds of one call of each: the smallest of several means."""
    counts = [max(int(MIN_SECONDS / _seconds(work, 20)), 1) for work in works]
    best = [float("inf")] * len(works)
    for _ in range(MEASUREMENTS):
        for index, (work, count) in enumerate(zip(works, counts, strict=True)):
            best[index] = min(best[index], 1e6 * _seconds(work, count))
    return best


def _seconds(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - start) / count


def compare(kind: str, names: list[str], dtypes: list[str], rounds: int) -> Section:
    """Measure components of a kind in fresh processes, and return the table."""
    rows, data = [], []
    for dtype in dtypes:
        measured = [child(SCRIPT, kind, ",".join(names), dtype) for _ in range(rounds)]
        for each in zip(*measured, strict=True):
            ratios = [one["theirs_us"] / one["ours_us"] for one in each]
            ours, theirs = (median([one[side] for one in each]) for side in ("ours_us", "theirs_us"))
            shape = " x ".join(map(str, each[0]["shape"]))
            text = (f"{ours:.1f}", f"{theirs:.1f}", spread(ratios), f"{each[0]['difference']:.0e}")
            rows.append((each[0]["name"], shape, dtype, *text))
            data.append({**each[0], "dtype": dtype, "ours_us": ours, "theirs_us": theirs, "ratios": ratios})
    columns = (
        kind, "networks x points x units", "dtype", "engine, us", "PyTorch, us", "ratio: median (min to max)",
        "differ by",
    )  # fmt: skip
    command = f"python benchmarks/component_speed.py --kind {kind} --rounds {rounds} --dtype {' '.join(dtypes)}"
    return Section(f"Components of the kind {kind} against PyTorch's, one thread", command, columns, rows, data)


def registered(kind: str) -> list[str]:
    """Return the names of a kind's components."""
    import lop_sweep.components  # noqa: F401
    from lop_sweep.registry import components

    return list(components(kind))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=PAIRS, default="activation")
    parser.add_argument("--names", nargs="+", help="components to measure; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", nargs="+", default=["float64", "float32"])
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, names, dtype = options.child
        print(json.dumps(measure(kind, names.split(","), dtype)))
        return 0
    known = registered(options.kind)
    if unknown := [name for name in options.names or () if name not in known]:
        parser.error(f"unknown {options.kind} {', '.join(unknown)}; choose from: {', '.join(known)}")
    print(compare(options.kind, options.names or known, options.dtype, options.rounds).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
