"""Which metrics a cell measures, and the rows that they make."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import ConfigError, comma_list
from lop_sweep.metrics.metric import Metric, TaskRow
from lop_sweep.registry import components

METRICS: Mapping[str, Metric] = components("metric")
"""All metrics by name, in the order of the results' columns."""

LAYERED: tuple[str, ...] = tuple(n for n, metric in METRICS.items() if metric.per_layer and not metric.optional)
"""Those that every cell measures once per hidden layer."""


def measured(config: CellConfig) -> tuple[str, ...]:
    """Return the names of the metrics that a cell measures, in the order of `METRICS`.

    Raises:
        ConfigError: see `measured_with`; or the cell has `test_samples` of its own, which none of its metrics uses.
    """
    names = measured_with(config.metrics, control=config.control_every > 0)
    if config.test_samples != FIELDS["test_samples"].default and not _held_out(names):
        users = comma_list(_held_out(METRICS))
        raise ConfigError(
            f"test_samples = {config.test_samples}: nothing is measured on held-out points; name {users} in metrics, "
            "or leave test_samples out"
        )
    return names


def needed(config: CellConfig) -> frozenset[str]:
    """Return what must be observed for a cell's metrics, of `ON_DEMAND`. Errors as `measured`."""
    return frozenset().union(*(METRICS[name].needs for name in measured(config)))


def held_out_points(config: CellConfig) -> int:
    """Return how many held-out points of each task a cell's metrics need, often none. Errors as `measured`."""
    return config.test_samples if _held_out(measured(config)) else 0


def _held_out(names: Iterable[str]) -> list[str]:
    return [name for name in names if METRICS[name].held_out]


def optional_metrics() -> tuple[str, ...]:
    """Return the names that `CellConfig.metrics` may have."""
    return tuple(name for name, metric in METRICS.items() if metric.optional and not metric.of_control)


def measured_with(*settings: str, control: bool = False) -> tuple[str, ...]:
    """Return the names of the metrics that cells with any of these values of `CellConfig.metrics` measure.

    Args:
        settings: values of the field.
        control: whether any of the cells has control networks.

    Raises:
        ConfigError: a value names a metric that does not exist, one that every cell measures, or one of controls.
    """
    optional = optional_metrics()
    chosen = {name for setting in settings for name in setting.split(",") if name}
    if unknown := sorted(chosen - set(optional)):
        reason = "there is no such metric"
        if unknown[0] in METRICS:
            of_control = METRICS[unknown[0]].of_control
            reason = "cells with control_every measure it" if of_control else "every cell measures it"
        raise ConfigError(f"metrics = {comma_list(unknown)}: {reason}; choose from: {comma_list(optional)}")
    return tuple(
        name
        for name, metric in METRICS.items()
        if not metric.optional or name in chosen or (control and metric.of_control)
    )


def metric_table(optional: bool = False) -> str:
    """Return the docs' table of the metrics, in Markdown, one row each: those of every cell, or the optional ones.

    That of optional ones has a column with the time that each adds to a default cell.
    """
    head = ["name", "values per task", "definition", *(["adds to a default cell"] if optional else [])]
    rows = [head, ["---"] * len(head)]
    for name, metric in METRICS.items():
        if metric.optional == optional:
            definition = " ".join((inspect.getdoc(metric) or "").split("\n\n")[0].split()).removesuffix(".")
            values = "one per hidden layer" if metric.per_layer else "one"
            rows.append([f"`{name}`", values, definition.replace("|", "\\|")])
            rows[-1] += [_cost(metric)] if optional else []
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _cost(metric: Metric) -> str:
    if metric.of_control:
        return "all three: 80% / `control_every`"
    return f"{metric.cost:g}%" if metric.cost else "< 0.5%"


def undefined_metrics(shape: tuple[int, ...], config: CellConfig) -> TaskRow:
    """Return NaN for every metric that a cell measures: a diverged row, or rows in which nothing was measured.

    Args:
        shape: (P,), or (tasks, P) for several rows.
        config: of one of the cells. Its depth is the last axis of metrics per layer.
    """
    full = (*shape, config.depth)
    return {name: np.full(full if METRICS[name].per_layer else shape, np.nan) for name in measured(config)}


def stack_metrics(rows: Sequence[TaskRow]) -> dict[str, np.ndarray]:
    """Return rows of consecutive tasks as one array per metric, (tasks, P) or (tasks, P, depth)."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def unstack_metrics(history: Mapping[str, np.ndarray]) -> list[TaskRow]:
    """Return one row per task: the inverse of `stack_metrics`."""
    return [{name: values[task] for name, values in history.items()} for task in range(len(history["min_ce"]))]
