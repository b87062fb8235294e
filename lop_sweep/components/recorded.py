"""What a sweep directory says of components of a user's own, and components that are known from that alone.

`sweep.json` names each component with its version, its digest and its definition as text. Of metrics, activations, task
streams and losses it also holds what readers need. So results are read without the code, and nothing of the text is
executed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lop_sweep.array_api import Array
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import ConfigError, safe_repr, single_line
from lop_sweep.metrics import METRICS, Metric, Observation, OptionalMetric
from lop_sweep.registry import OwnComponent, components, own_component, own_components_of, parse_used, record

RESERVED = frozenset(FIELDS) | {
    "area_ce", "area_excess", "blas", "cell", "criterion", "device", "diverged_at", "dtype", "duplicates_at",
    "duplicates_at_risk", "duplicates_growth", "engine", "excess", "excess_paired", "failure_rate", "finished",
    "first_symptom", "host", "layer", "lead", "log_ratio", "lop_sweep_version", "loss", "lost", "lost_paired",
    "machine", "numpy_version", "onset", "onset_status", "pack", "python_version", "rank_at", "rank_at_risk",
    "rank_collapse", "ratio", "recovery", "saturation_at", "saturation_at_risk", "saturation_growth", "seconds",
    "slope", "status", "task", "tasks_done", "torch_version", "verdict", "verdict_paired",
}  # fmt: skip
"""Names of other columns and scores, which a metric cannot have."""
_RESERVED_PREFIXES = ("control_", "early_", "failure_", "fresh_", "late_", "slope_")
_TEXTS = ("label", "unit")
_SWITCHES = ("per_layer", "logarithmic")
_MAX_TEXT = 200
_PROBES = (CellConfig(), CellConfig(width=7, depth=2, samples=10, input_dim=3, test_samples=4))


class RecordedMetric(OptionalMetric):
    """A metric of a user's own whose code is not here.

    Args:
        content: as `describe` returns it under "metric".

    Raises:
        KeyError, TypeError, ValueError: `content` is not such a description.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.label, self.unit = (str(content[key])[:_MAX_TEXT] for key in _TEXTS)
        self.per_layer, self.logarithmic = (bool(content[key]) for key in _SWITCHES)
        self.late_statistic = str(content["late_statistic"])
        if self.late_statistic not in ("mean", "median"):
            raise ValueError("late_statistic must be mean or median")
        low, high = content["bounds"]
        self._bounds = (-float("inf") if low is None else float(low), float("inf") if high is None else float(high))

    def compute(self, task: Observation) -> Array:
        """Refuse: the code is not here.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"metric {self.name!r} is known from results only; import the module that defines it")

    def bounds(self, config: CellConfig) -> tuple[float, float]:
        """Return the bounds that are the same for all cells; infinity where there are none."""
        return self._bounds


class RecordedActivation:
    """An activation of a user's own whose code is not here."""

    hyper: tuple[str, ...] = ()

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.expansion = _count(content["expansion"])


class RecordedStream:
    """A task stream of a user's own whose code is not here. Its sizes are those of the cells that were described."""

    hyper: tuple[str, ...] = ()

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.loss, (inputs, outputs) = str(content["loss"])[:_MAX_TEXT], content["dimensions"]
        self._inputs, self._outputs = None if inputs is None else _count(inputs), _count(outputs)

    def dimensions(self, config: CellConfig) -> tuple[int, int]:
        """Return the numbers of inputs and of outputs; `input_dim` if the described cell had as many inputs."""
        return self._inputs or config.input_dim, self._outputs


class RecordedLoss:
    """A loss of a user's own whose code is not here."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.unit, self.has_classes = str(content["unit"])[:_MAX_TEXT], bool(content["has_classes"])
        self._chance = {_count(int(outputs)): _infinite(value) for outputs, value in dict(content["chance"]).items()}

    def chance(self, outputs: int) -> float:
        """Return the loss of guessing; infinity where it is not known."""
        return self._chance.get(outputs, float("inf"))


_RECORDED: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "activation": RecordedActivation,
    "loss": RecordedLoss,
    "metric": RecordedMetric,
    "stream": RecordedStream,
}
"""Kinds of which more is recorded than the definition: what readers need."""


def describe(cells: Iterable[CellConfig]) -> list[dict[str, Any]]:
    """Return what `sweep.json` says of the components of a user's own that are registered here.

    Args:
        cells: which use them; one for each value of `CellConfig.own_components` is enough.

    Raises:
        ConfigError: a component lacks a part of its interface.
    """
    used = {one: cell for cell in cells for one in parse_used(cell.own_components)}
    found = [(own_component(*one[:2]), one, cell) for one, cell in used.items()]
    return [_described(own, cell) for own, one, cell in found if own is not None and own.used == one]


def declare(described: Any) -> None:
    """Make the components known that `sweep.json` describes, as far as their code is not here.

    Args:
        described: from `describe`, read from a file.

    Raises:
        ConfigError: a metric's name cannot be that of a column, or is known as that of another metric.
        KeyError, TypeError, ValueError, AttributeError: it is not such a description.
    """
    for content in described:
        kind, name = content["kind"], str(content["name"])
        if kind in _RECORDED:
            made = _RECORDED[kind](content[kind])
            if kind == "metric":
                _check_metric(name, made)
            record(kind, name, made)


def check_own_metrics() -> None:
    """Check that the metrics of a user's own can be columns of the results.

    Raises:
        ConfigError: one is measured by every cell, or its name or an attribute is not allowed.
    """
    for own in own_components_of("metric"):
        metric: Metric = METRICS[own.name]
        _check_name(own.name)
        if not metric.optional:
            raise ConfigError(
                f"metric {own.name!r}: must be optional, because the results of other cells do not have it; "
                "derive it from lop_sweep.metrics.OptionalMetric"
            )
        try:
            RecordedMetric(_metric(metric))
        except (AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"metric {own.name!r}: is incomplete: {error}; see lop_sweep.metrics.Metric") from error


def _check_metric(name: str, metric: Metric) -> None:
    _check_name(name)
    if name in METRICS and METRICS[name].per_layer != metric.per_layer:
        raise ConfigError(
            f"metric {name!r} is one per {'hidden layer' if metric.per_layer else 'task'} in these results, "
            "unlike another metric of that name; give metrics that differ in this other names"
        )


def _check_name(name: str) -> None:
    if not name.isidentifier() or name in RESERVED or name.startswith(_RESERVED_PREFIXES):
        raise ConfigError(f"metric {safe_repr(name)[:80]}: cannot be a column of the results; choose another name")


def _described(own: OwnComponent, cell: CellConfig) -> dict[str, Any]:
    content: dict[str, Any] = {"kind": own.kind, "name": own.name, "version": own.version, "digest": own.digest}
    content["definition"] = own.definition
    part = components(own.kind)[own.name]
    try:
        return {**content, **_facts(own.kind, part, cell)}
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{own.kind} {own.name!r}: is incomplete: {single_line(error)}") from error


def _facts(kind: str, part: Any, cell: CellConfig) -> dict[str, Any]:
    """Return what readers need to know of a component, under its kind; empty if nothing."""
    if kind == "metric":
        return {kind: _metric(part)}
    if kind == "activation":
        return {kind: {"expansion": part.expansion}}
    if kind == "stream":
        inputs, outputs = part.dimensions(cell)
        return {kind: {"loss": part.loss, "dimensions": [None if inputs == cell.input_dim else inputs, outputs]}}
    if kind == "loss":
        outputs = components("stream")[cell.stream].dimensions(cell)[1]
        chance = {str(outputs): _finite(part.chance(outputs))}
        return {kind: {"unit": part.unit, "has_classes": part.has_classes, "chance": chance}}
    return {}


def _metric(metric: Metric) -> dict[str, Any]:
    found = {metric.bounds(config) for config in _PROBES}
    low, high = (ends.pop() if len(ends) == 1 else float("inf") for ends in map(set, zip(*found, strict=True)))
    names = (*_TEXTS, *_SWITCHES, "late_statistic")
    return {**{name: getattr(metric, name) for name in names}, "bounds": [_finite(low), _finite(high)]}


def _finite(value: float) -> float | None:
    return None if abs(value) == float("inf") else float(value)


def _infinite(value: float | None) -> float:
    return float("inf") if value is None else float(value)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 < value < 2**31:
        raise ValueError(f"must be a positive integer, got {safe_repr(value)[:80]}")
    return value
