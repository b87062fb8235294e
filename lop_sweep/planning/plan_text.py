"""Say in a few lines what a plan computes, what it costs, and how it was divided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lop_sweep.planning.plan import Plan
from lop_sweep.planning.status_text import bytes_text, seconds_text
from lop_sweep.storage import sizes_of_states


def plan_lines(plan: Plan, keeps_states: bool) -> Iterator[str]:
    """Yield what `lop-sweep plan` prints, and `lop-sweep sweep` before it starts.

    Args:
        plan: what is to be computed.
        keeps_states: whether each pack's last state is kept.
    """
    count = len(plan.space.cells)
    yield f"{plan.space.name}: {count:,} cell{'s' * (count != 1)}: {_cells_text(plan)}"
    if not plan.items:
        yield "0 to compute"
        return
    cost = f"{_time(plan.seconds)} of core-time by the cost model"
    if plan.sizing.gpu:
        cost += " on CPUs"
    else:
        cost += (
            f", {'about ' * (plan.wall_seconds >= 1)}{_time(plan.wall_seconds)} on {_slots(plan.sizing.slots, 'CPU')}"
        )
    packs = len(plan.items)
    yield f"{len(plan.cells):,} to compute in {packs:,} pack{'s' * (packs > 1)}: {cost}; {_files(plan, keeps_states)}"
    yield sizes_line(plan.description, "cuda" if plan.sizing.gpu else "cpu")


def sizes_line(sizes: Mapping[str, Any], device: str) -> str:
    """Format how a sweep's work was divided, from `Plan.description`, in one line."""
    return (
        f"on {_slots(sizes['slots'], 'GPU' if device == 'cuda' else 'CPU')}: "
        f"packs of {_range(sizes['cells_a_pack'])} cells (by {sizes['packs_by']}), "
        f"a report every {_range(sizes['tasks_per_report'])} tasks (by {sizes['reports_by']})"
    )


def _cells_text(plan: Plan) -> str:
    """Return how many cells are finished, continue from saved states, are new, and are not part of the plan."""
    starts = plan.starts
    new, later = starts.pop(0, 0), sorted(starts)
    parts = [f"{plan.finished:,} finished"]
    if later:
        span = f"task {later[0]:,}" if len(later) == 1 else f"tasks {later[0]:,} to {later[-1]:,}"
        parts.append(f"{starts.total():,} continue{'s' * (starts.total() == 1)} from {span}")
    parts.append(f"{new:,} new")
    if others := len(plan.space.cells) - plan.finished - len(plan.cells):
        parts.append(f"{others:,} left out")
    return ", ".join(parts)


def _files(plan: Plan, keeps_states: bool) -> str:
    """Return how many files the packs end as: one in tasks/ and one in cells/ each, and their states."""
    packs = len(plan.items)
    results = f"{2 * packs:,} files of results"
    if not keeps_states:
        return results
    size = sum(sizes_of_states(plan.cells, plan.sizing.dtype))
    return f"{results} and {packs:,} of states ({bytes_text(size)})"


def _time(seconds: float) -> str:
    return seconds_text(seconds) if seconds >= 1 else "less than 1 s"


def _slots(count: int, unit: str) -> str:
    return f"{count:,} {unit}{'s' * (count > 1)}"


def _range(bounds: Sequence[int]) -> str:
    low, high = bounds
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
