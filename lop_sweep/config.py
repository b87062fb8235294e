"""The configuration of one cell: fields with defaults and ranges, conversion to and from JSON, and the cell's id.

A *cell* is one full configuration, including its seed. `CellConfig` is frozen and validates once, on construction, so
code that holds one need not check it again. Each field is declared once, in `CellConfig`. `FIELDS` has everything that
is known of a field by its name, and all lists of fields derive from it.

A cell stores only the fields that differ from their defaults. The defaults are attributes of the class, so that a field
reads the same either way. A sweep may have a million cells: sixty fields each would take 1.6 kB, a few take 0.3 kB.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from lop_sweep.errors import ConfigError, comma_list, safe_repr, single_line, suggestion
from lop_sweep.registry import KINDS, Used, components, has_own, own_component, parse_used

_MAX_COUNT = 2**31 - 1
NONE = "none"
"""The value of a field that chooses no component."""
FIRST_RELEASE = "0.1"
"""`FieldInfo.since` of the fields that always count towards a cell's id."""


def with_unit(label: str, unit: str) -> str:
    """Return the text of an axis: the label, and the unit in parentheses if there is one."""
    return f"{label} ({unit})" if unit else label


@dataclass(frozen=True)
class FieldInfo:
    """Everything that is known of one configuration field.

    Attributes:
        name: name in the configuration, the results and `--where`.
        type: `int`, `float`, `str` or `bool`. Strings and booleans are categories on maps and in tables.
        default: its default. That of `fresh_steps` is None, which is resolved to `steps`.
        description: one phrase for `--help` and the docs.
        label: axis label without the unit.
        unit: of its values; empty if it has none.
        packable: whether the cells of one pack may differ in it. Other fields set shapes or the length of the work.
        trajectory: whether it changes the tasks' rows. Other fields only set the length of a sequence and what follows
            it.
        flag: its flag in the single-file script.
        since: the release that added it. A field newer than `FIRST_RELEASE` counts towards a cell's id and trajectory
            only if it differs from its default. So ids of earlier results stay valid.
        choices: the valid values of a string; empty if any string is valid.
        limits: the range of a number for the docs, for example ">= 1"; empty if there is none.
        of: the kind of component that it is a hyperparameter of; empty if it is none. Components say by name which
            fields they use; a cell whose component does not use a field may only have its default.
    """

    name: str
    type: type
    default: Any
    description: str
    label: str
    unit: str
    packable: bool
    trajectory: bool
    flag: str
    since: str
    choices: tuple[str, ...]
    limits: str
    of: str

    @property
    def axis_label(self) -> str:
        """The label with the unit, for an axis of a figure."""
        return with_unit(self.label, self.unit)

    @property
    def is_category(self) -> bool:
        """Whether its values have no order or distance."""
        return self.type in (str, bool)


def declare(
    default: Any,
    description: str,
    *,
    label: str = "",
    unit: str = "",
    packable: bool = False,
    trajectory: bool = True,
    flag: str = "",
    since: str = FIRST_RELEASE,
    choices: tuple[str, ...] = (),
    of: str = "",
    **rules: Any,
) -> Any:
    """Declare a field by its attributes in `FieldInfo`. An empty `label` or `flag` stands for the field's name.

    `rules` are pydantic's rules for numbers (`ge`, `le`, `multiple_of`, ...).
    """
    known: dict[str, Any] = {
        "label": label,
        "unit": unit,
        "packable": packable,
        "trajectory": trajectory,
        "flag": flag,
        "since": since,
        "choices": choices,
        "limits": _limits(rules),
        "of": of,
    }
    return Field(default, description=description, json_schema_extra=known, **rules)


def _mitigation(default: Any, description: str, **rules: Any) -> Any:
    """Declare a number that mitigations use."""
    return declare(default, description, packable=True, of="mitigation", since="0.2", **rules)


def _limits(rules: Mapping[str, Any]) -> str:
    """Return a number's range in words, without upper limits that only keep numbers within the columns' types."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    limits = [f"{sign} {rules[rule]:g}" for rule, sign in signs.items() if rules.get(rule, _MAX_COUNT) < _MAX_COUNT]
    limits += [f"multiple of {rules['multiple_of']}"] if "multiple_of" in rules else []
    return ", ".join(limits)


class CellConfig(BaseModel):
    """One cell: every parameter of the protocol, with the protocol's defaults.

    Values may be NumPy scalars, and integers may be integral floats, which Tune's quantised samplers return. A number
    given as a string or a boolean is refused. If `fresh_steps` is None it becomes `steps`, so both spellings are the
    same cell.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or is out of range. One line lists all problems.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)

    seed: int = declare(7, "seed of the task stream and the network stream", packable=True, ge=0, le=2**63 - 1)
    input_dim: int = declare(4, "input dimension", flag="d", of="stream", ge=2, le=_MAX_COUNT)
    width: int = declare(
        100, "units in each hidden layer", label="width", unit="units per layer", flag="h", ge=1, le=_MAX_COUNT
    )
    depth: int = declare(
        5, "number of hidden layers", label="depth", unit="hidden layers", flag="L", ge=1, le=_MAX_COUNT
    )
    samples: int = declare(
        96,
        "points per task; of Gaussian mixtures half of each class",
        flag="n",
        ge=2,
        le=_MAX_COUNT,
        multiple_of=2,
    )
    components: int = declare(4, "Gaussian bumps per class", packable=True, flag="k", of="stream", ge=1, le=_MAX_COUNT)
    lr: float = declare(0.6, "learning rate", label="learning rate", packable=True, gt=0, of="optimizer")
    steps: int = declare(40, "gradient steps per task", label="steps", unit="per task", ge=1, le=_MAX_COUNT)
    fresh_steps: int = declare(
        None, "gradient steps of each fresh-baseline network; None: as `steps`", trajectory=False, ge=1, le=_MAX_COUNT
    )
    tasks: int = declare(100, "length of the task sequence", trajectory=False, ge=1, le=_MAX_COUNT)
    delta: float = declare(
        2.8,
        "half-distance between the two class anchors",
        label="delta (half-distance of the classes)",
        packable=True,
        of="stream",
    )
    spread: float = declare(
        0.7,
        "standard deviation of the bump centres around their class anchor",
        label="spread (of the bumps)",
        packable=True,
        ge=0,
        of="stream",
    )
    sigma: float = declare(
        0.22,
        "standard deviation of the points around their bump centre",
        label="sigma (noise)",
        packable=True,
        ge=0,
        of="stream",
    )
    relabel: float = declare(0.0, "probability that a label is flipped", packable=True, of="stream", ge=0, le=1)
    corr_thresh: float = declare(
        0.95, "|correlation| above which a feature counts as a duplicate", packable=True, ge=0, le=1
    )
    fresh_baseline: int = declare(
        20,
        "fresh networks trained after the sequence; 0 turns the baseline off",
        trajectory=False,
        ge=0,
        le=_MAX_COUNT,
    )
    metrics: str = declare(
        "",
        "optional metrics to measure besides those of every cell, separated by commas, or a list of them",
        since="0.2",
    )
    test_samples: int = declare(
        500,
        "held-out points per task, for the metrics that need them; of Gaussian mixtures half of each class",
        since="0.2",
        ge=2,
        le=_MAX_COUNT,
        multiple_of=2,
    )
    control_every: int = declare(
        0,
        "every how many tasks a fresh network is trained on the same points, as a control; 0: never",
        label="control every",
        unit="tasks",
        since="0.2",
        ge=0,
        le=_MAX_COUNT,
    )

    activation: str = declare("tanh", "activation of the hidden layers", since="0.2")
    init: str = declare("xavier_normal", "initial weights", label="initialisation", since="0.2")
    norm: str = declare(NONE, "normalisation before the activation", label="normalisation", since="0.2")
    optimizer: str = declare("sgd", "optimizer", since="0.2")
    weight_decay: float = declare(
        0.0, "weight decay, coupled (L2) or decoupled as the optimizer has it", of="optimizer", since="0.2", ge=0
    )
    momentum: float = declare(
        0.9, "share of the old velocity that is kept", packable=True, of="optimizer", since="0.2", ge=0, lt=1
    )
    nesterov: bool = declare(False, "whether momentum is Nesterov's", of="optimizer", since="0.2")
    beta1: float = declare(
        0.9, "decay of Adam's mean of gradients", packable=True, of="optimizer", since="0.2", ge=0, lt=1
    )
    beta2: float = declare(
        0.999, "decay of Adam's mean of squared gradients", packable=True, of="optimizer", since="0.2", ge=0, lt=1
    )
    alpha: float = declare(
        0.99, "decay of RMSprop's mean of squared gradients", packable=True, of="optimizer", since="0.2", ge=0, lt=1
    )
    eps: float = declare(
        1e-8,
        "what Adam and RMSprop add to the root that they divide by",
        packable=True,
        of="optimizer",
        since="0.2",
        gt=0,
    )
    muon_momentum: float = declare(
        0.95, "decay of Muon's momentum", packable=True, of="optimizer", since="0.2", ge=0, lt=1
    )
    adam_lr: float = declare(
        3e-4,
        "learning rate of the Adam that updates what muon does not",
        packable=True,
        of="optimizer",
        since="0.2",
        gt=0,
    )
    reset_optimizer: bool = declare(False, "whether the optimizer forgets its state at each new task", since="0.2")
    batch_size: int = declare(
        0, "points per update, from shuffled passes over the task; 0: all of them", since="0.2", ge=0, le=_MAX_COUNT
    )
    stream: str = declare("gaussian_mixture", "stream of tasks", label="task stream", since="0.2")
    drift: float = declare(
        1.0, "share of the way by which each task moves from the last one towards a new one", label="drift",
        of="stream", since="0.2", ge=0, le=1,
    )  # fmt: skip
    cycle: int = declare(
        0, "tasks after which the same ones recur; 0: never", label="cycle", unit="tasks", of="stream", since="0.2",
        ge=0, le=_MAX_COUNT,
    )  # fmt: skip
    data: str = declare("digits", "images that tasks are made of", of="stream", since="0.2")
    mitigation: str = declare(
        NONE, "what is done against loss of plasticity, a name, several separated by commas, or a list", since="0.2"
    )
    l2_init_strength: float = _mitigation(1e-2, "`l2_init`: strength of the pull towards the initial values", ge=0)
    parseval_strength: float = _mitigation(1e-3, "`parseval`: strength of the penalty", ge=0)
    parseval_scale: float = _mitigation(1.0, "`parseval`: squared length that each unit's weights should have", ge=0)
    spectral_strength: float = _mitigation(1e-4, "`spectral`: strength of the penalty", ge=0)
    spectral_exponent: float = _mitigation(2.0, "`spectral`: exponent k of the penalty", ge=1)
    gradient_noise_scale: float = _mitigation(1e-2, "`gradient_noise`: standard deviation", ge=0)
    weight_noise_scale: float = _mitigation(
        1e-4, "`weight_noise`, `shrink_perturb_gaussian`: standard deviation per step", ge=0
    )
    task_shrink: float = _mitigation(0.2, "`shrink_perturb_per_task`: share of the weights that is lost", ge=0, le=1)
    task_perturb: float = _mitigation(0.2, "`shrink_perturb_per_task`: share of fresh weights that is added", ge=0)
    step_shrink: float = _mitigation(1e-4, "`shrink_perturb_per_step`: share of the weights that is lost", ge=0, le=1)
    step_perturb: float = _mitigation(1e-2, "`shrink_perturb_per_step`: share of fresh weights that is added", ge=0)
    perturb_decay: float = _mitigation(1e-4, "`shrink_perturb_gaussian`: weight decay", ge=0)
    swr_factor: float = _mitigation(
        1e-6, "`swr`: utility, relative to the tensor's mean, up to which weights are drawn anew", ge=0
    )
    swr_steps: int = _mitigation(2048, "`swr`: steps between draws", ge=1, le=_MAX_COUNT)
    replacement_rate: float = _mitigation(
        1e-4, "`continual_backprop` and its variant: share of the eligible units replaced per step", ge=0, le=1
    )
    maturity_threshold: int = _mitigation(
        100, "`continual_backprop` and its variant: age in steps above which a unit is eligible", ge=0, le=_MAX_COUNT
    )
    utility_decay: float = _mitigation(
        0.99, "`continual_backprop` and its variant: decay of the utilities' running means", ge=0, lt=1
    )
    redo_threshold: float = _mitigation(
        0.1, "`redo`, `redo_per_step`: activity, relative to the layer's mean, up to which a unit is replaced", ge=0
    )
    redo_tasks: int = _mitigation(1, "`redo`: tasks between replacements", ge=1, le=_MAX_COUNT)
    redo_steps: int = _mitigation(780, "`redo_per_step`: steps between replacements", ge=1, le=_MAX_COUNT)
    own_components: str = declare(
        "",
        "components of your own that the cell uses, each with its version and its source's digest; filled in",
        label="components of your own",
        since="0.2",
    )

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            details = error.errors()
            if fields.get("fresh_steps") is None:  # then it repeats what is wrong with `steps`
                details = [detail for detail in details if detail["loc"] != ("fresh_steps",)]
            where = [_ALL_FIELDS] if any(detail["type"] == "extra_forbidden" for detail in details) else []
            raise ConfigError("; ".join([*map(_explain, details), *where])) from None

    @model_validator(mode="before")
    @classmethod
    def _resolve_fresh_steps(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("fresh_steps") is None:
            steps = fields.get("steps", cls.model_fields["steps"].default)
            return {**fields, "fresh_steps": steps}
        return fields

    @model_validator(mode="before")
    @classmethod
    def _sort_names(cls, fields: Any) -> Any:
        """Bring lists of names into one form, so that equal choices are the same cell."""
        return _with_sorted_names(fields) if isinstance(fields, dict) else fields

    @field_validator("*", mode="before")
    @classmethod
    def _check_type(cls, value: Any, info: ValidationInfo) -> Any:
        if getattr(value, "shape", None) == () and hasattr(value, "item"):
            value = value.item()
        field = cls.model_fields[str(info.field_name)]
        kind: Any = field.annotation
        if kind in (str, bool):
            if type(value) is not kind:
                raise ValueError(f"must be {'a string' if kind is str else 'True or False'}")
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("must be a number")
        known: Any = field.json_schema_extra or {}
        if known.get("choices") and value not in known["choices"]:
            raise ValueError(f"must be one of {comma_list(known['choices'])}")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _no_negative_zero(cls, value: Any) -> Any:
        return value + 0.0 if isinstance(value, float) else value

    @model_validator(mode="after")
    def _complete(self) -> CellConfig:
        """Fill in `own_components`, keeping what results say of components, and drop the fields at their defaults."""
        fields = self.__dict__
        if self.own_components or has_own():
            fields["own_components"] = own_components(fields, self.own_components)
        kept = {name: value for name, value in fields.items() if name not in _DEFAULTS or value != _DEFAULTS[name]}
        object.__setattr__(self, "__dict__", kept)
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        """Let a subclass inherit the declarations, which the defaults on this class would hide from pydantic."""
        super().__init_subclass__(**options)
        for name, field in CellConfig.model_fields.items():
            if name not in vars(cls):
                setattr(cls, name, copy(field))

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        names = (vars(self).keys() | vars(other).keys()) - {"id"}
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def __hash__(self) -> int:
        return hash(_values(self))

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        yield from self._all_fields().items()

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield from self._all_fields().items()

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> Any:
        return handler(self._holding(self._all_fields()))

    def _all_fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits that identify this cell: equal configurations have equal ids, on every machine."""
        return digest(self._identity())

    @property
    def trajectory(self) -> str:
        """16 hexadecimal digits that identify the rows of the main network, task by task.

        Cells that differ only in fields without `FieldInfo.trajectory` share it: the rows of the shorter sequence are
        the first rows of the longer one. Their ids differ, as do their fresh baselines, because the baseline's random
        streams continue those of the tasks.
        """
        return digest({name: value for name, value in self._identity().items() if FIELDS[name].trajectory})

    def _identity(self) -> dict[str, Any]:
        stored = {  # see `FieldInfo.since`
            name: value
            for name, value in vars(self).items()
            if name in FIELDS and (FIELDS[name].since == FIRST_RELEASE or value != FIELDS[name].default)
        }
        return {**_ALWAYS, **stored}

    def to_json(self) -> str:
        """Return all fields as a JSON object, of which `from_json` makes an equal configuration."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> CellConfig:
        """Return the configuration that a JSON object describes. Missing fields take their defaults.

        Raises:
            ConfigError: `text` is not a JSON object, or its content is not a valid configuration.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"a cell's configuration must be a JSON object: {single_line(error)}") from None
        if not isinstance(fields, dict):
            raise ConfigError(f"a cell's configuration must be a JSON object, got {safe_repr(text)}")
        check_keys(fields)
        return cls(**fields)

    def with_valid(self, changes: Mapping[str, Any]) -> CellConfig:
        """Return a copy with changes that were validated elsewhere, in a tenth of the time and with less memory.

        It is for search spaces of millions of cells. All copies share one set of the fields that are set.
        """
        fields = vars(self).copy()
        fields.pop("id", None)  # that of this cell, if it was asked for
        fields.update(changes)
        return self._holding(fields)

    def _holding(self, fields: dict[str, Any]) -> CellConfig:
        """Return a cell that stores exactly these fields. It shares the set of the fields that are set."""
        cell = self.__new__(type(self))
        for name, value in (
            ("__dict__", fields),
            ("__pydantic_fields_set__", self.__pydantic_fields_set__),
            ("__pydantic_extra__", None),
            ("__pydantic_private__", None),
        ):
            object.__setattr__(cell, name, value)
        return cell

    def replace(self, /, **changes: Any) -> CellConfig:
        """Return a copy with `changes`, validated like any other. `fresh_steps` keeps its resolved value."""
        fields = {**dict(self), **changes}
        if self.own_components and "own_components" not in changes:
            others = _with_sorted_names({name: fields[name] for name in CHOOSES})
            kept = [used for used in parse_used(self.own_components) if _is_chosen(used, others, self.stream)]
            fields["own_components"] = ",".join(map(str, kept))
        return CellConfig(**fields)


def own_components(fields: Mapping[str, Any], given: str = "") -> str:
    """Return the field `own_components` of a cell: the components of a user's own that its other fields choose.

    Args:
        fields: the cell's other fields.
        given: what its results say of them. This counts even if other components are registered here, or none.

    Raises:
        ConfigError: `given` has another form, or names components that the cell does not use.
    """
    named = {used[:2]: used for used in parse_used(given)}
    registered = {pair: own.used for pair in chosen_components(fields) if (own := own_component(*pair))}
    found = [used for pair in chosen_components(fields) if (used := named.get(pair) or registered.get(pair))]
    streams = {used.name for used in found if used.kind == "stream"}
    if streams and not any(used.kind == "loss" for used in found):  # the stream, which chooses it, may be unknown here
        found += [used for used in named.values() if used.kind == "loss"]
    if unused := [used for used in named.values() if used not in found]:
        raise ConfigError(
            f"own_components = {given!r}: the cell does not use {unused[0].kind} {unused[0].name!r}; "
            "the field is filled in automatically, so leave it out"
        )
    return ",".join(map(str, sorted(found, key=lambda used: (KINDS.index(used.kind), used.name))))


def chosen_components(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield kind and name of each component that these fields choose, the built-in ones of every cell left out."""
    for field, kind in CHOOSES.items():
        for name in str(fields.get(field, "")).split(","):
            yield kind, name
            if kind == "stream" and name in components("stream"):
                yield "loss", getattr(components("stream")[name], "loss", "")


def _is_chosen(used: Used, fields: Mapping[str, Any], stream: str) -> bool:
    """Return whether fields choose a component that a cell with this stream used."""
    same_stream = used.kind == "loss" and fields["stream"] == stream
    return same_stream or used[:2] in chosen_components(fields)


def _with_sorted_names(fields: dict[str, Any]) -> dict[str, Any]:
    empty = {"metrics": "", "mitigation": NONE}
    return {**fields, **{name: _sorted_names(fields[name], empty[name]) for name in empty.keys() & fields.keys()}}


def _sorted_names(names: Any, empty: str) -> Any:
    """Return names as one string, sorted and separated by commas, or `empty`; anything else as it is."""
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
        names = ",".join(names)
    if not isinstance(names, str):
        return names
    return ",".join(sorted({name.strip() for name in names.split(",")} - {"", empty})) or empty


def fields_of(model: type[CellConfig]) -> dict[str, FieldInfo]:
    """Return what a configuration class declares, by field."""
    found = {}
    for name, field in model.model_fields.items():
        known: Any = dict(field.json_schema_extra)  # type: ignore[arg-type]
        known["label"], known["flag"] = known["label"] or name, known["flag"] or name
        annotation: Any = field.annotation
        found[name] = FieldInfo(name, annotation, field.default, str(field.description), **known)
    return found


FIELDS: Mapping[str, FieldInfo] = fields_of(CellConfig)
"""Every configuration field by name, in the order of the protocol page."""

CHOOSES = {**{kind: kind for kind in KINDS if kind in FIELDS}, "metrics": "metric"}
"""Fields by which a cell chooses components, and their kinds. The loss is that of the task stream."""

_DEFAULTS = {name: info.default for name, info in FIELDS.items()}
_ALWAYS = {name: default for name, default in _DEFAULTS.items() if FIELDS[name].since == FIRST_RELEASE}
"""The defaults of the fields that always count towards a cell's id."""
_values = attrgetter(*FIELDS)
"""All values of a cell."""
for _name, _default in _DEFAULTS.items():
    setattr(CellConfig, _name, _default)

PACKABLE: tuple[str, ...] = tuple(name for name, info in FIELDS.items() if info.packable)
"""Fields in which the cells of one pack may differ."""


def check_keys(keys: Any) -> None:
    """Refuse names that are not configuration fields.

    Raises:
        ConfigError: a key is unknown. The message names it, the nearest valid ones, and where all are listed.
    """
    unknown = [key for key in keys if key not in FIELDS]
    if unknown:
        raise ConfigError("; ".join([*map(_unknown, unknown), _ALL_FIELDS]))


def digest(content: Any) -> str:
    """Return 16 hexadecimal digits: the start of the SHA-256 of `content` as canonical JSON.

    Canonical JSON has sorted keys, no spaces, and the shortest exact form of each float.
    """
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def field_table() -> str:
    """Return the docs' table of all fields, in Markdown, one row per field."""
    head = ("field", "type", "default", "valid", "in a pack", "description")
    rows = [head, ("---",) * len(head), *(_table_row(info) for info in FIELDS.values())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _table_row(info: FieldInfo) -> tuple[str, ...]:
    default = "as `steps`" if info.default is None else "none" if info.default == "" else f"`{info.default}`"
    valid = comma_list(f"`{choice}`" for choice in info.choices) or info.limits
    description = info.description.replace("|", "\\|")
    return f"`{info.name}`", info.type.__name__, default, valid, "yes" if info.packable else "", description


_ELSEWHERE = {
    **dict.fromkeys(("learning_rate", "eta", "step_size"), "lr"),
    **dict.fromkeys(("hidden", "hidden_size", "hidden_dim", "n_hidden", "units"), "width"),
    **dict.fromkeys(("layers", "num_layers", "n_layers", "hidden_layers"), "depth"),
    **dict.fromkeys(("num_tasks", "n_tasks"), "tasks"),
    **dict.fromkeys(("batch", "minibatch_size"), "batch_size"),
}
"""What other libraries call our fields."""


_ALL_FIELDS = (
    "lop-sweep run --help and docs/configuration.md list all keys, lop-sweep components those of each component"
)
"""Where to look up the keys of a configuration."""


def _unknown(key: object) -> str:
    ours = _ELSEWHERE.get(key) if isinstance(key, str) else None
    return f"unknown key {safe_repr(key)}{f' (did you mean {ours!r}?)' if ours else suggestion(key, FIELDS, most=3)}"


def _explain(detail: Any) -> str:
    name = str(detail["loc"][0]) if detail["loc"] else "configuration"
    if detail["type"] == "extra_forbidden":
        return _unknown(name)
    value, rule = detail["input"], str(detail["msg"]).removeprefix("Value error, ")
    rule = rule.replace("Input should be", "must be")
    way_out = f"{name}: {FIELDS[name].description}" if name in FIELDS else _ALL_FIELDS
    if isinstance(value, (list, tuple)) and name not in ("metrics", "mitigation"):
        way_out += "; for several values write tune.grid_search([...])"
    return f"{name} = {safe_repr(value)}: {rule} ({way_out})"
