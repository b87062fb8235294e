"""Format a sweep's status for people and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from lop_sweep.planning.choosing import Refinement
from lop_sweep.planning.status import STATES, Driver, Status

_MAX_VALUES = 24
"""An axis with more values than this is not counted by value."""
_MAX_FAILURES = 3
"""Failures shown, the newest first."""
_MAX_WIDTH = 24
"""Characters of an axis value."""


def status_lines(status: Status) -> Iterator[str]:
    """Yield the lines that `lop-sweep status` prints."""
    yield f"{'cells':9} {status.cells:>9,}"
    for name in STATES:
        count = getattr(status, name)
        if count or name != "failed":
            yield f"{name:9} {count:>9,}"
    if status.others:
        yield f"and {status.others:,} finished cells that the newest request does not include"
    complete = status.complete
    if status.refinement is not None:
        finished = status.finished + status.diverged
        yield from _refinement_lines(status.refinement, finished)
        complete = complete and status.refinement.ended
    if status.driver is not None:
        at_work = any(shard.alive for shard in status.shards)
        command = "sweep" if status.refinement is None else "refine"
        yield from _driver_lines(status.driver, complete or at_work, command)
    for shard in status.shards:
        yield from _driver_lines(shard, status.complete)
    if status.kept_states:
        size = bytes_text(status.kept_bytes)
        yield f"the last states of {status.kept_states:,} packs are kept for more tasks: {size} in states/"
    yield from _axis_lines(status)
    if status.failures:
        yield f"failed: {len(status.failures):,} packs (tracebacks in failed/; --retry-failed runs just these); newest:"
        for failure in status.failures[:_MAX_FAILURES]:
            yield f"  pack {failure.pack}, {len(failure.cells)} cells, tried {failure.attempts} times: {failure.reason}"


def status_json(status: Status) -> dict[str, Any]:
    """Return a status as JSON values; unknown rates and times are null."""
    apart = ("axes", "driver", "shards", "failures", "refinement")
    content = {key: value for key, value in vars(status).items() if key not in apart}
    content["axes"] = {
        axis: [{"value": value, **{name: count[name] for name in STATES}} for value, count in values.items()]
        for axis, values in status.axes.items()
    }
    content["driver"] = None if status.driver is None else _driver_json(status.driver)
    content["shards"] = [_driver_json(shard) for shard in status.shards]
    content["refinement"] = None if status.refinement is None else asdict(status.refinement)
    content["failures"] = [asdict(failure) for failure in status.failures]
    return content


def seconds_text(seconds: float) -> str:
    """Format a time for people: "40 s", "12 min", "3.5 h", "2.1 days"."""
    for unit, size in (("days", 86400), ("h", 3600)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _driver_json(driver: Driver) -> dict[str, Any]:
    numbers = {"rate": driver.rate, "seconds_left": driver.seconds_left}
    return {**asdict(driver), **{key: value if math.isfinite(value) else None for key, value in numbers.items()}}


def _refinement_lines(refinement: Refinement, finished: int) -> Iterator[str]:
    """Yield what a refinement looks for, when it ends, and what it knows."""
    target = refinement.target
    rate = target if target.endswith("_rate") else f"P({target})"
    yield (
        f"refinement: boundary {rate} = {refinement.level:g}; {finished:,} finished of {refinement.choice:,} cells "
        "to choose from"
    )
    limits = [
        None if refinement.cells is None else f"{refinement.cells:,} cells",
        None if refinement.seconds is None else f"{seconds_text(refinement.seconds)} of core-time",
        None if refinement.until is None else f"side unknown at {100 * refinement.until:.3g}% of the points",
    ]
    ended = "; ended" if refinement.ended else ""
    known = "" if refinement.width is None else f"; side unknown at {100 * refinement.width:.0f}% of the points"
    yield f"limit: {' or '.join(filter(None, limits))}{ended}{known}"


def _driver_lines(driver: Driver, complete: bool, command: str = "sweep") -> Iterator[str]:
    if driver.alive:
        what = f"shard {driver.shard}" if driver.shard else "driver"
        yield f"{what}: {driver.process}, running for {seconds_text(driver.seconds)}"
        if math.isfinite(driver.seconds_left):
            rate = (
                f"{driver.rate * 60:.3g} cells per minute" if driver.rate < 1 else f"{driver.rate:.3g} cells per second"
            )
            yield f"{rate}, {driver.done:,.1f} of {driver.cells:,} done; about {seconds_text(driver.seconds_left)} left"
    elif not (complete or (driver.shard and driver.released and driver.done >= driver.cells)):
        ended = "has ended" if driver.released else "has crashed or cannot be reached"
        what = f"shard {driver.shard} is not running" if driver.shard else "not running"
        yield f"{what}: {driver.process} {ended}; run the same lop-sweep {command} command to continue"


def _axis_lines(status: Status) -> Iterator[str]:
    """Yield counts by axis value, for axes whose values differ in their shares of states."""
    for axis, values in status.axes.items():
        shares = {tuple(count[name] / count.total() for name in STATES) for count in values.values()}
        if len(values) > _MAX_VALUES or len(shares) < 2:
            continue
        present = [name for name in STATES if any(count[name] for count in values.values())]
        rows = [(value_text(value), count) for value, count in values.items()]
        width = max(12, *(len(text) for text, _ in rows))
        yield f"{axis:>{width}} " + " ".join(f"{name:>9}" for name in present)
        for text, count in rows:
            yield f"{text:>{width}} " + " ".join(f"{count[name]:>9,}" for name in present)


def value_text(value: object) -> str:
    """Format the value of a configuration field: a number in short, a boolean or a string as it is."""
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text if len(text) <= _MAX_WIDTH else f"{text[: _MAX_WIDTH - 3]}..."


def bytes_text(count: int) -> str:
    """Format a size for people: "96 bytes", "1.2 MB"."""
    size, unit = float(count), "bytes"
    for bigger in ("kB", "MB", "GB"):
        if size >= 1000:
            size, unit = size / 1000, bigger
    return f"{size:.3g} {unit}"
