"""The components of a cell, found by the names in its configuration, and refusals of what does not belong to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from lop_sweep.components.activations import Activation
from lop_sweep.components.initializers import Initializer
from lop_sweep.components.losses import Loss
from lop_sweep.components.mitigations import Mitigation
from lop_sweep.components.norms import Norm
from lop_sweep.components.optimizers import Optimizer
from lop_sweep.components.recorded import check_own_metrics
from lop_sweep.components.streams import TaskStream, has_held_out
from lop_sweep.config import CHOOSES, FIELDS, NONE, CellConfig, chosen_components
from lop_sweep.errors import ConfigError, comma_list
from lop_sweep.metrics import held_out_points
from lop_sweep.registry import component, components, is_recorded, own_component, parse_used

KINDS: tuple[str, ...] = ("activation", "init", "optimizer", "norm", "stream", "mitigation")
"""Kinds of components that a configuration chooses by the field of that name."""


@dataclass(frozen=True)
class Components:
    """One component of each kind, and any number of mitigations."""

    activation: Activation
    init: Initializer
    optimizer: Optimizer
    norm: Norm
    loss: Loss
    stream: TaskStream
    mitigations: tuple[Mitigation, ...]

    @classmethod
    def of(cls, config: CellConfig) -> Components:
        """Return the components of a cell. The loss is that of its task stream.

        Raises:
            ConfigError: no component has the name that the configuration gives.
        """
        chosen: dict[str, Any] = {
            kind: component(kind, getattr(config, kind)) for kind in KINDS if kind != "mitigation"
        }
        loss = component("loss", chosen["stream"].loss)
        return cls(**chosen, loss=loss, mitigations=_mitigations(config.mitigation))

    def hyper(self) -> dict[str, Any]:
        """Return the hyperparameters of the optimizer and the mitigations, each with the component that uses it."""
        parts: list[Optimizer | Mitigation] = [self.optimizer, *self.mitigations]
        return {name: part for part in parts for name in part.hyper}

    def of_kind(self, kind: str) -> tuple[Any, ...]:
        """Return the components of a kind of `KINDS`."""
        return self.mitigations if kind == "mitigation" else (getattr(self, kind),)


def check(config: CellConfig) -> Components:
    """Return the components of a cell after checking that everything in its configuration belongs to them.

    Raises:
        ConfigError: a component or metric does not exist, a hyperparameter belongs to another component, the first
            control comes after the last task, a component refuses the configuration, or the cell is that of another
            version of a component of the user's own.
    """
    check_own_metrics()
    _refuse_others(config)
    chosen = Components.of(config)
    if held_out_points(config) and not has_held_out(chosen.stream):
        raise ConfigError(
            f"metrics = {config.metrics!r}: the tasks of stream {config.stream!r} have no held-out points; "
            "leave out the metrics that are measured on them"
        )
    if config.control_every > config.tasks:
        raise ConfigError(
            f"control_every = {config.control_every}: must be at most tasks = {config.tasks}, else no task has one; "
            "0 for none"
        )
    for name in _foreign(config, chosen):
        raise ConfigError(_refusal(config, name, chosen))
    for part in (part for kind in KINDS for part in chosen.of_kind(kind)):
        if refuse := getattr(part, "check", None):
            refuse(config)
    return chosen


def fit(configs: Sequence[CellConfig]) -> tuple[CellConfig, ...]:
    """Return the cells of a search space, each without the hyperparameters of components that only others have.

    So an axis of a hyperparameter, or a value that all cells share, applies to the cells whose component has it. The
    others get its default, and those that become equal are one.

    Raises:
        ConfigError: as `check`; a hyperparameter that no cell's component has is refused.
    """
    others = ("metrics", "own_components", "samples", "test_samples", "batch_size", "tasks", "control_every")
    names = [*KINDS, *others, *(name for name, info in FIELDS.items() if info.of)]
    values = attrgetter(*names)
    alike: dict[tuple[Any, ...], CellConfig] = {}
    for config in configs:
        alike.setdefault(values(config), config)
    for config in alike.values():
        _refuse_others(config)
    foreign = {key: _foreign(config, Components.of(config)) for key, config in alike.items()}
    if any(foreign.values()):
        used = {name for config in alike.values() for name in _used(Components.of(config))}
        foreign = {key: [name for name in found if name in used] for key, found in foreign.items()}
        changes = {key: {name: FIELDS[name].default for name in found} for key, found in foreign.items()}
        configs = [config.replace(**changed) if (changed := changes[values(config)]) else config for config in configs]
        alike = {values(config): config for config in configs}
    for config in alike.values():
        check(config)
    return tuple(dict.fromkeys(configs))


class LayerSizes(NamedTuple):
    """The sizes of a network's layers.

    Attributes:
        inputs, outputs: of the network, from the task stream.
        width: units per hidden layer.
        features: activations per hidden layer, which the next one takes as inputs.
        depth: number of hidden layers.
    """

    inputs: int
    outputs: int
    width: int
    features: int
    depth: int

    def pairs(self) -> list[tuple[int, int]]:
        """Return fan_in and fan_out of each layer, hidden ones first."""
        hidden = [(self.inputs, self.width)] + [(self.features, self.width)] * (self.depth - 1)
        return [*hidden, (self.features, self.outputs)]

    @property
    def weights(self) -> int:
        """Number of weights of all layers."""
        hidden = self.inputs * self.width + (self.depth - 1) * self.features * self.width
        return hidden + self.features * self.outputs

    @property
    def biases(self) -> int:
        """Number of biases of all layers."""
        return self.depth * self.width + self.outputs


def layer_sizes(config: CellConfig) -> LayerSizes:
    """Return the sizes of a cell's network, which follow from its task stream and its activation.

    Raises:
        ConfigError: no component has the name that the configuration gives.
    """
    inputs, outputs = component("stream", config.stream).dimensions(config)
    features = config.width * component("activation", config.activation).expansion
    return LayerSizes(inputs, outputs, config.width, features, config.depth)


def hyperparameters_of(config: CellConfig) -> set[str]:
    """Return the hyperparameters that a cell's components have; those of all, if one is not registered here."""
    every = {name for name, info in FIELDS.items() if info.of}
    if any(own_component(*used[:2]) is None for used in parse_used(config.own_components)):
        return every
    try:
        return _used(Components.of(config))
    except ConfigError:
        return every


def _used(chosen: Components) -> set[str]:
    """Return the hyperparameters that components have."""
    return {name for kind in KINDS for part in chosen.of_kind(kind) for name in part.hyper}


def _foreign(config: CellConfig, chosen: Components) -> list[str]:
    """Return the hyperparameters of other components that differ from their defaults."""
    used = _used(chosen)
    return [
        name for name, info in FIELDS.items() if info.of and name not in used and getattr(config, name) != info.default
    ]


def hyperparameters(kind: str, parts: Iterable[Any]) -> dict[str, Any]:
    """Return the fields that components of a kind use, with their defaults."""
    used = {name for part in parts for name in part.hyper}
    return {name: info.default for name, info in FIELDS.items() if info.of == kind and name in used}


def _refuse_others(config: CellConfig) -> None:
    """Refuse a cell that names other components of the user's own than those that are registered here."""
    used = {one[:2]: one for one in parse_used(config.own_components)}
    for (kind, name), one in used.items():
        own = own_component(kind, name)
        if own is None:
            raise ConfigError(
                f"{kind} {name!r}: version {one.version} ({one.digest}) of a user's own is not registered here; "
                "load the search space that defines it, or import its module"
            )
        if own.used != one:
            raise ConfigError(
                f"{kind} {name!r}: the cell is that of version {one.version} ({one.digest}), registered here is "
                f"version {own.version} ({own.digest}); a cell is computed with its own version only"
            )
    for pair in chosen_components({field: getattr(config, field) for field in CHOOSES}):
        if pair not in used and own_component(*pair) is not None:
            raise ConfigError(f"{pair[0]} {pair[1]!r}: was registered after this configuration was made; make it anew")
        if is_recorded(*pair):
            raise ConfigError(f"{pair[0]} {pair[1]!r}: is known from results only; import the module that defines it")


def _mitigations(names: str) -> tuple[Mitigation, ...]:
    """Return mitigations in the order of their registration, in which they are applied."""
    chosen = set() if names == NONE else set(names.split(","))
    known = components("mitigation")
    if unknown := sorted(chosen - set(known)):
        raise ConfigError(
            f"unknown mitigation {comma_list(map(repr, unknown))}; choose from: {comma_list([NONE, *known])}; "
            "several as a list, or separated by commas"
        )
    return tuple(known[name] for name in known if name in chosen)


def _refusal(config: CellConfig, name: str, chosen: Components) -> str:
    """Return why a hyperparameter that belongs to other components is refused."""
    kind = FIELDS[name].of
    used = hyperparameters(kind, chosen.of_kind(kind))
    users = [other for other, part in components(kind).items() if name in part.hyper]
    return (
        f"{name} = {getattr(config, name)!r}: not a hyperparameter of {kind} {getattr(config, kind)!r}; "
        f"{f'it has {comma_list(used)}' if used else 'it has none'}; {name} belongs to {comma_list(users)}"
    )
