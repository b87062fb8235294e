"""The configuration of one cell: defaults, ranges, JSON both ways, and its id.

A *cell* is one full configuration with one seed. `CellConfig` is frozen and validated once, on construction, so code
that holds one need not check it again.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lop_sweep.errors import ConfigError, named, one_line, shown

_Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
_NonNegative = Annotated[float, Field(ge=0)]
_Share = Annotated[float, Field(ge=0, le=1)]


class CellConfig(BaseModel):
    """One cell: every parameter of the protocol, with the protocol's defaults.

    Numbers may come as NumPy scalars, and integers as integral floats (Tune's quantised samplers give those); strings
    and booleans are refused. `fresh_steps` left at None becomes `steps`, so both spellings are the same cell.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or is out of range. One line for all that is wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = Field(
        7, description="seeds the task stream and the network stream"
    )
    input_dim: Annotated[int, Field(ge=2, le=2**31 - 1)] = Field(4, description="input dimension")
    width: _Count = Field(100, description="units in each hidden layer")
    depth: _Count = Field(5, description="number of hidden layers")
    samples: Annotated[int, Field(ge=2, le=2**31 - 1, multiple_of=2)] = Field(
        96, description="points per task, half of each class; all of them are the batch of every step"
    )
    components: _Count = Field(4, description="Gaussian bumps per class")
    lr: Annotated[float, Field(gt=0)] = Field(0.6, description="learning rate of gradient descent without momentum")
    steps: _Count = Field(40, description="gradient steps per task")
    fresh_steps: _Count = Field(None, description="gradient steps of each fresh-baseline network; None: as `steps`")  # type: ignore[assignment]
    tasks: _Count = Field(100, description="length of the task sequence")
    delta: float = Field(2.8, description="half-distance between the two class anchors")
    spread: _NonNegative = Field(0.7, description="standard deviation of the bump centres around their class anchor")
    sigma: _NonNegative = Field(0.22, description="standard deviation of the points around their bump centre")
    relabel: _Share = Field(0.0, description="probability that a label is flipped")
    corr_thresh: _Share = Field(0.95, description="|correlation| above which a feature counts as a duplicate")
    fresh_baseline: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        20, description="fresh networks trained after the sequence; 0 turns the baseline off"
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
    def _plain_number(cls, value: Any) -> Any:
        if getattr(value, "shape", None) == () and hasattr(value, "item"):
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("must be a number")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _no_negative_zero(cls, value: int | float) -> int | float:
        return value + 0.0 if isinstance(value, float) else value

    @property
    def id(self) -> str:
        """16 hexadecimal digits that name this cell: equal configurations have equal ids, on every machine."""
        return digest(self.model_dump())

    @property
    def trajectory(self) -> str:
        """16 hexadecimal digits that name what the main network goes through, task by task.

        Cells that differ only in `BESIDE_TRAJECTORY` share it: the rows of the shorter are the first rows of the
        longer. Their fresh baselines differ, because its streams continue those of the tasks; so do their ids.
        """
        return digest(self.model_dump(exclude=set(BESIDE_TRAJECTORY)))

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
            raise ConfigError(f"a cell's configuration must be a JSON object: {one_line(error)}") from None
        if not isinstance(fields, dict):
            raise ConfigError(f"a cell's configuration must be a JSON object, not {shown(text)}")
        check_keys(fields)
        return cls(**fields)

    def replace(self, /, **changes: Any) -> CellConfig:
        """A copy with `changes`, validated like any other. `fresh_steps` stays what it was resolved to."""
        return CellConfig(**{**self.model_dump(), **changes})


FIELDS: tuple[str, ...] = tuple(CellConfig.model_fields)
"""Every configuration field, in the order of the protocol page."""

PACKABLE: tuple[str, ...] = ("seed", "components", "lr", "delta", "spread", "sigma", "relabel", "corr_thresh")
"""Fields in which the cells of one pack may differ; the others set array shapes or the length of the work."""

BESIDE_TRAJECTORY: tuple[str, ...] = ("tasks", "fresh_steps", "fresh_baseline")
"""Fields that say how far a sequence goes and what is measured after it, but change none of its tasks' rows."""


def check_keys(keys: Any) -> None:
    """Refuse names that are not configuration fields.

    Raises:
        ConfigError: names the unknown keys, the nearest valid one, and all valid ones.
    """
    unknown = [key for key in keys if key not in FIELDS]
    if unknown:
        raise ConfigError("; ".join(_unknown(key) for key in unknown) + f"; valid keys: {named(FIELDS)}")


def digest(content: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of `content` as canonical JSON (sorted keys, shortest exact floats)."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _unknown(key: object) -> str:
    near = difflib.get_close_matches(key, FIELDS, n=1) if isinstance(key, str) else []
    return f"unknown key {shown(key)}" + (f" (did you mean {near[0]!r}?)" if near else "")


def _explain(detail: Any) -> str:
    name = str(detail["loc"][0]) if detail["loc"] else "configuration"
    if detail["type"] == "extra_forbidden":
        return f"{_unknown(name)}; valid keys: {named(FIELDS)}"
    value, rule = detail["input"], str(detail["msg"]).removeprefix("Value error, ")
    rule = rule.replace("Input should be", "must be")
    way_out = (
        f"{name}: {CellConfig.model_fields[name].description}" if name in FIELDS else f"valid keys: {named(FIELDS)}"
    )
    if isinstance(value, (list, tuple)):
        way_out += "; for several values write tune.grid_search([...])"
    return f"{name} = {shown(value)}: {rule} ({way_out})"
