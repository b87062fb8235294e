"""Run the speed benchmarks: print one table each, and write all measurements as JSON.

    python benchmarks/run.py [--long] [--only NAME ...] [--out benchmarks.json]

This takes a few minutes, or most of an hour with --long: all depths, widths and rounds, 64 cells against the
alternative, ten thousand tiny cells. Each table names the command that measures only that table. Leave the machine
alone meanwhile.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import sys
from collections.abc import Callable
from pathlib import Path

from harness import Section
from harness import machine as describe_machine

from lop_sweep import runtime


def sections(long: bool) -> dict[str, Callable[[], Section]]:
    """Return the available measurements by name."""
    # Not at the top: NumPy must not be imported before `prepare_process` has run.
    import against_tune
    import component_speed
    import cost_model
    import default_cell
    import driver_load
    import engine_speed
    import million_rows
    import narrow_cells
    import object_store
    import optimizer_speed
    import planning_scale
    import scale_simulation
    import step_parts
    import tiny_cells
    import torch

    rounds = 5 if long else 3
    depths, widths = ([1, 2, 5, 10, 20], [32, 100, 256]) if long else ([5, 10], [100])
    available: dict[str, Callable[[], Section]] = {
        "engine": lambda: engine_speed.compare(depths, widths, rounds, 0.7),
        "step": lambda: step_parts.compare(5, 100),
        "optimizers": lambda: optimizer_speed.compare(optimizer_speed.names(), rounds, 0.3),
        "batches": lambda: narrow_cells.compare_steps(rounds),
        "narrow": lambda: narrow_cells.compare_cells(rounds, 512, 20 if long else 5),
        "cell": lambda: default_cell.whole(rounds),
        "shares": lambda: default_cell.shares(3),
        "cost": cost_model.compare,
        "sweep": lambda: against_tune.compare(64 if long else 8, 1, 100),
        "tiny": lambda: tiny_cells.grow(
            [1250, 2500, 5000, 10_000] if long else [2500, 5000], [1000] if long else [250]
        ),
        "rows": lambda: million_rows.measure(10_000, rounds),
        "bucket": lambda: object_store.rows_to_map(10_000, rounds),
        "planning": lambda: planning_scale.measure([10_000, 100_000, 1_000_000] if long else [10_000, 100_000]),
        "driver": lambda: driver_load.measure([250, 1000] if long else [250], 100, (2, 22)),
        "scale": lambda: scale_simulation.measure(
            1_000_000 if long else 100_000, [10, 100, 1000, 10_000], 0, scale_simulation.World()
        ),
    }
    for kind in component_speed.PAIRS:
        available[f"{kind}s"] = lambda kind=kind: component_speed.compare(
            kind, component_speed.registered(kind), ["float64", "float32"] if long else ["float64"], rounds
        )
    if torch.cuda.is_available():
        import gpu_packs

        available["gpu"] = lambda: gpu_packs.compare([64, 512, 2048, 8192], "cuda")
    return available


def main() -> int:
    """Measure, print each table as soon as it is there, and write the JSON."""
    runtime.prepare_process()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"choose from: {', '.join(sections(True))}")
    parser.add_argument("--out", type=Path, default=Path("benchmarks.json"))
    options = parser.parse_args()
    available = sections(options.long)
    unknown = [name for name in options.only or () if name not in available]
    if unknown:
        parser.error(f"unknown benchmark {', '.join(unknown)}; choose from: {', '.join(available)}")
    found = describe_machine()
    print(json.dumps(found, indent=1), flush=True)
    results = []
    for name in options.only or available:
        section = available[name]()
        print("\n" + section.markdown(), flush=True)
        results.append({"benchmark": name, **dataclasses.asdict(section)})
        when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        content = {"measured": when, "long": options.long, "machine": found, "sections": results}
        options.out.write_text(json.dumps(content, indent=1) + "\n")
    print(f"-> {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
