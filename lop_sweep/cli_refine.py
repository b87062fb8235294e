"""`lop-sweep refine`: joins a sweep that chooses its cells with `analysis`, which knows the boundary.

`analysis` is imported only when the command runs.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lop_sweep.config import CellConfig
from lop_sweep.console import signals
from lop_sweep.console.options import add_options, check_options, option, options_from
from lop_sweep.console.own_analysis import check_own_analysis
from lop_sweep.console.terminal import check_output, remark, say
from lop_sweep.errors import SweepError
from lop_sweep.planning.status_text import seconds_text
from lop_sweep.storage import Store
from lop_sweep.tune import SweepOptions

if TYPE_CHECKING:
    from analysis.refinement import Budget, Refiner

REFINE_HELP = "compute the cells that tell most about a boundary"

_OF_SWEEPS = ("shard", "retry_failed")
_UNITS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class RefineOptions:
    """What a refinement looks for, and when it has enough.

    Raises:
        SweepError: an option has a wrong type or value.
    """

    budget: str | None = option(
        None, "number of cells, or core-time by the cost model such as 2h or 30min, with what DIR has", metavar="N|TIME"
    )
    until: float | None = option(
        None, "stop when the side is unknown at no more than this share of the points", metavar="WIDTH"
    )
    target: str = option("lost", "verdict whose share of seeds has the boundary, or late_failure_rate")
    level: float = option(0.5, "of the share or rate")
    resolution: int = option(65, "values along each range, such as tune.loguniform(0.05, 3.2)", at_least=2)

    def __post_init__(self) -> None:
        check_options(self, SweepError)
        if self.budget is None and self.until is None:
            raise SweepError("refine needs --budget or --until: how many cells, how much core-time, or which width")


def parse_budget(text: str) -> tuple[int | None, float | None]:
    """Return the number of cells or the core-seconds that a text says; None for the other.

    Raises:
        SweepError: it says neither.
    """
    if re.fullmatch("0*[1-9][0-9]{0,8}", text):
        return int(text), None
    time = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?)(s|min|m|h|d)", text)
    seconds = float(time[1]) * _UNITS[time[2]] if time else 0.0
    if seconds <= 0:
        raise SweepError(
            f"budget = {text[:40]!r}: must be a number of cells of at least 1, or core-time such as 2h or 30min"
        )
    return None, seconds


def budget_line(text: str, space: Sequence[CellConfig], seconds: Sequence[float]) -> str:
    """Say what a refinement would cost at most.

    Args:
        text: the budget.
        space: the cells to choose from.
        seconds: what each of them costs; those that are chosen may cost more or less than the mean.

    Raises:
        SweepError: the text is not a budget.
        AnalysisError: the cells cannot be refined.
    """
    check_own_analysis("refine needs", SweepError)
    from analysis.refinement import make_candidates

    make_candidates(space, seconds)
    cells, limit = parse_budget(text)
    mean, count = sum(seconds) / len(seconds), len(seconds)
    chosen = min(count, cells if cells is not None else math.ceil((limit or 0.0) / mean))
    cost = seconds_text(min(chosen * mean, limit or math.inf))
    return (
        f"refine --budget {text}: {'' if cells else 'about '}{chosen:,} of {count:,} cells, about {cost} of core-time "
        f"if they cost as much as the mean, at most {chosen:,} packs and {2 * chosen:,} files of results"
    )


def add_refine(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `lop-sweep refine`."""
    parser.add_argument("space", metavar="SPACE", help="what to choose from; a file, which is executed, or a name")
    parser.add_argument("--out", required=True, metavar="DIR", help="the sweep directory; run again to continue")
    add_options(parser, RefineOptions)
    add_options(parser, SweepOptions, [name for name in SweepOptions.__dataclass_fields__ if name not in _OF_SWEEPS])
    parser.set_defaults(interruptible=False)  # it handles signals itself


def refine(arguments: argparse.Namespace) -> int:
    """Compute, of a search space, the cells that tell most about where a verdict or rate passes a level.

    The result is a sweep directory like any other. The same command continues it; a larger budget refines further.
    Exit status 0 only if the budget is spent and every cell that was chosen is complete.
    """
    check_own_analysis("refine needs", SweepError)
    from analysis.refinement import Budget, Refiner
    from lop_sweep.planning import load_space
    from lop_sweep.tune.refining import run_refinement

    check_output()
    wanted = options_from(RefineOptions, arguments)
    options = options_from(SweepOptions, arguments)
    cells, seconds = (None, None) if wanted.budget is None else parse_budget(wanted.budget)
    budget: Budget = Budget(cells, seconds, wanted.until)
    with signals.unblocked():  # it may start programs
        space = load_space(arguments.space, lattice=wanted.resolution)
    made: list[Refiner] = []

    def make_chooser(cells: Sequence[CellConfig], costs: Sequence[float], directory: Path) -> Refiner:
        found = Refiner(cells, directory, budget=budget, seconds=costs, target=wanted.target, level=wanted.level)
        made.append(found)
        return found

    store = Store(arguments.out)
    if store.read_sweep() is None:  # what cannot be refined leaves no new directory behind
        make_chooser(space.cells, [1.0] * len(space.cells), store.root)
    outcome = run_refinement(space, arguments.out, make_chooser, **vars(options))
    status, chooser = outcome.status, made[-1]
    failed = f", {status.failed} failed" if status.failed else ""
    say(
        f"{chooser.told} of {len(space.cells)} cells finished{failed}; {chooser.note}; "
        f"{outcome.computed} computed now in {outcome.seconds:.0f} s -> {arguments.out}"
    )
    if status.complete and not outcome.signal:
        return 0
    if outcome.gave_up:
        remark(f"gave up: {outcome.gave_up}")
    remark("run the same command again to go on")
    return signals.exit_status(outcome.signal) if outcome.signal else 1
