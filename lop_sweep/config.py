"""The configuration of one cell: defaults, ranges, JSON both ways, and its id.

A *cell* is one full configuration, including its seed. `CellConfig` is frozen and validates once, on construction, so
code that holds one need not check it again. Each field is declared once, in `CellConfig`, with everything that is known
of it; `FIELDS` has that information by name, and whatever depends on fields derives from it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from lop_sweep.errors import ConfigError, comma_list, safe_repr, single_line

_MAX_COUNT = 2**31 - 1
_FIRST_RELEASE = "0.1"


@dataclass(frozen=True)
class FieldInfo:
    """Everything that is known of one configuration field.

    Attributes:
        name: as in the configuration, the results and `--where`.
        type: `int`, `float`, `str` or `bool`. Strings and booleans are categories on maps and in tables.
        default: its default; None for that of `fresh_steps`, which is resolved to `steps`.
        description: one phrase for `--help` and the docs.
        label: what an axis says.
        unit: of its values; empty if it has none.
        packable: whether the cells of one pack may differ in it. Other fields set shapes or the length of the work.
        trajectory: whether it changes the tasks' rows. Other fields only say how long a sequence is and what
            follows it.
        flag: its flag in the single-file script.
        since: the release that added it. A field that is newer than 0.1 counts towards a cell's id only where it
            differs from its default, so that ids of earlier results stay valid.
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

    @property
    def axis_label(self) -> str:
        """The label with the unit, for an axis of a figure."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def is_category(self) -> bool:
        """Whether its values have no order or distance."""
        return self.type in (str, bool)


def _declare(
    default: Any,
    description: str,
    *,
    label: str = "",
    unit: str = "",
    packable: bool = False,
    trajectory: bool = True,
    flag: str = "",
    since: str = _FIRST_RELEASE,
    **rules: Any,
) -> Any:
    """Declare a field. `rules` are pydantic's (`ge`, `le`, `multiple_of`, ...); the others are those of `FieldInfo`."""
    known: dict[str, Any] = {
        "label": label,
        "unit": unit,
        "packable": packable,
        "trajectory": trajectory,
        "flag": flag,
        "since": since,
    }
    return Field(default, description=description, json_schema_extra=known, **rules)


class CellConfig(BaseModel):
    """One cell: every parameter of the protocol, with the protocol's defaults.

    Numbers may be NumPy scalars, and integers may be integral floats, which Tune's quantised samplers return. A number
    given as a string or a boolean is refused. `fresh_steps` becomes `steps` if it is None, so both spellings are the
    same cell.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or is out of range. One line names all that is
            wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)

    seed: int = _declare(7, "seed of the task stream and the network stream", packable=True, ge=0, le=2**63 - 1)
    input_dim: int = _declare(4, "input dimension", flag="d", ge=2, le=_MAX_COUNT)
    width: int = _declare(
        100, "units in each hidden layer", label="width", unit="units per layer", flag="h", ge=1, le=_MAX_COUNT
    )
    depth: int = _declare(
        5, "number of hidden layers", label="depth", unit="hidden layers", flag="L", ge=1, le=_MAX_COUNT
    )
    samples: int = _declare(
        96,
        "points per task, half of each class; all of them are the batch of every step",
        flag="n",
        ge=2,
        le=_MAX_COUNT,
        multiple_of=2,
    )
    components: int = _declare(4, "Gaussian bumps per class", packable=True, flag="k", ge=1, le=_MAX_COUNT)
    lr: float = _declare(
        0.6, "learning rate of gradient descent without momentum", label="learning rate", packable=True, gt=0
    )
    steps: int = _declare(40, "gradient steps per task", label="steps", unit="per task", ge=1, le=_MAX_COUNT)
    fresh_steps: int = _declare(
        None, "gradient steps of each fresh-baseline network; None: as `steps`", trajectory=False, ge=1, le=_MAX_COUNT
    )
    tasks: int = _declare(100, "length of the task sequence", trajectory=False, ge=1, le=_MAX_COUNT)
    delta: float = _declare(
        2.8,
        "half-distance between the two class anchors",
        label="delta (half-distance of the classes)",
        packable=True,
    )
    spread: float = _declare(
        0.7,
        "standard deviation of the bump centres around their class anchor",
        label="spread (of the bumps)",
        packable=True,
        ge=0,
    )
    sigma: float = _declare(
        0.22,
        "standard deviation of the points around their bump centre",
        label="sigma (noise)",
        packable=True,
        ge=0,
    )
    relabel: float = _declare(0.0, "probability that a label is flipped", packable=True, ge=0, le=1)
    corr_thresh: float = _declare(
        0.95, "|correlation| above which a feature counts as a duplicate", packable=True, ge=0, le=1
    )
    fresh_baseline: int = _declare(
        20,
        "fresh networks trained after the sequence; 0 turns the baseline off",
        trajectory=False,
        ge=0,
        le=_MAX_COUNT,
    )

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            details = error.errors()
            if fields.get("fresh_steps") is None:  # then it only repeats what is wrong with `steps`
                details = [detail for detail in details if detail["loc"] != ("fresh_steps",)]
            raise ConfigError("; ".join(_explain(detail) for detail in details)) from None

    @model_validator(mode="before")
    @classmethod
    def _resolve_fresh_steps(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("fresh_steps") is None:
            steps = fields.get("steps", cls.model_fields["steps"].default)
            return {**fields, "fresh_steps": steps}
        return fields

    @field_validator("*", mode="before")
    @classmethod
    def _check_type(cls, value: Any, info: ValidationInfo) -> Any:
        if getattr(value, "shape", None) == () and hasattr(value, "item"):
            value = value.item()
        kind: Any = cls.model_fields[str(info.field_name)].annotation
        if kind in (str, bool):
            if type(value) is not kind:
                raise ValueError(f"must be a {'string' if kind is str else 'boolean'}")
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("must be a number")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _no_negative_zero(cls, value: Any) -> Any:
        return value + 0.0 if isinstance(value, float) else value

    @property
    def id(self) -> str:
        """16 hexadecimal digits that name this cell: equal configurations have equal ids, on every machine."""
        return digest(self._identity())

    @property
    def trajectory(self) -> str:
        """16 hexadecimal digits that name what the main network goes through, task by task.

        Cells that differ only in fields without `FieldInfo.trajectory` share it: the rows of the shorter sequence are
        the first rows of the longer one. Their fresh baselines differ, because its random streams continue those of the
        tasks; so do their ids.
        """
        return digest({name: value for name, value in self._identity().items() if FIELDS[name].trajectory})

    def _identity(self) -> dict[str, Any]:
        """Return the fields that count: all of the first release, and newer ones that differ from their defaults."""
        return {
            name: value
            for name, value in self.model_dump().items()
            if FIELDS[name].since == _FIRST_RELEASE or value != FIELDS[name].default
        }

    def to_json(self) -> str:
        """All fields as a JSON object; `from_json` gives an equal configuration back."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> CellConfig:
        """The configuration that a JSON object describes; fields that are left out take their defaults.

        Raises:
            ConfigError: `text` is no JSON object, or its content is not a valid configuration.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"a cell's configuration must be a JSON object: {single_line(error)}") from None
        if not isinstance(fields, dict):
            raise ConfigError(f"a cell's configuration must be a JSON object, not {safe_repr(text)}")
        check_keys(fields)
        return cls(**fields)

    def replace(self, /, **changes: Any) -> CellConfig:
        """A copy with `changes`, validated like any other. `fresh_steps` stays what it was resolved to."""
        return CellConfig(**{**self.model_dump(), **changes})


def _describe(name: str) -> FieldInfo:
    field = CellConfig.model_fields[name]
    known: Any = dict(field.json_schema_extra)  # type: ignore[arg-type]
    known["label"], known["flag"] = known["label"] or name, known["flag"] or name
    annotation: Any = field.annotation
    return FieldInfo(name, annotation, field.default, str(field.description), **known)


FIELDS: Mapping[str, FieldInfo] = {name: _describe(name) for name in CellConfig.model_fields}
"""Every configuration field by name, in the order of the protocol page."""

PACKABLE: tuple[str, ...] = tuple(name for name, info in FIELDS.items() if info.packable)
"""Fields in which the cells of one pack may differ."""


def check_keys(keys: Any) -> None:
    """Refuse names that are not configuration fields.

    Raises:
        ConfigError: names the unknown keys, the nearest valid one, and all valid ones.
    """
    unknown = [key for key in keys if key not in FIELDS]
    if unknown:
        raise ConfigError("; ".join(_unknown(key) for key in unknown) + f"; valid keys: {comma_list(FIELDS)}")


def digest(content: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of `content` as canonical JSON (sorted keys, shortest exact floats)."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _unknown(key: object) -> str:
    near = difflib.get_close_matches(key, FIELDS, n=1) if isinstance(key, str) else []
    return f"unknown key {safe_repr(key)}" + (f" (did you mean {near[0]!r}?)" if near else "")


def _explain(detail: Any) -> str:
    name = str(detail["loc"][0]) if detail["loc"] else "configuration"
    if detail["type"] == "extra_forbidden":
        return f"{_unknown(name)}; valid keys: {comma_list(FIELDS)}"
    value, rule = detail["input"], str(detail["msg"]).removeprefix("Value error, ")
    rule = rule.replace("Input should be", "must be")
    way_out = (
        f"{name}: {CellConfig.model_fields[name].description}"
        if name in FIELDS
        else f"valid keys: {comma_list(FIELDS)}"
    )
    if isinstance(value, (list, tuple)):
        way_out += "; for several values write tune.grid_search([...])"
    return f"{name} = {safe_repr(value)}: {rule} ({way_out})"
