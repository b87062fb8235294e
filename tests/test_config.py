"""`CellConfig`: the protocol's defaults and ranges, refusals, JSON and ids."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_sweep.config import FIELDS, PACKABLE, CellConfig
from lop_sweep.errors import ConfigError, LopSweepError

valid_fields = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**63 - 1),
        "input_dim": st.integers(2, 1000),
        "width": st.integers(1, 1000),
        "depth": st.integers(1, 100),
        "samples": st.integers(1, 500).map(lambda half: 2 * half),
        "components": st.integers(1, 100),
        "lr": st.floats(0, exclude_min=True, allow_infinity=False),
        "steps": st.integers(1, 10**6),
        "fresh_steps": st.none() | st.integers(1, 10**6),
        "tasks": st.integers(1, 10**6),
        "delta": st.floats(allow_nan=False, allow_infinity=False),
        "spread": st.floats(0, allow_infinity=False),
        "sigma": st.floats(0, allow_infinity=False),
        "relabel": st.floats(0, 1),
        "corr_thresh": st.floats(0, 1),
        "fresh_baseline": st.integers(0, 1000),
    },
)


def test_defaults_are_those_of_the_protocol() -> None:
    assert CellConfig().model_dump() == {
        "seed": 7, "input_dim": 4, "width": 100, "depth": 5, "samples": 96, "components": 4, "lr": 0.6, "steps": 40,
        "fresh_steps": 40, "tasks": 100, "delta": 2.8, "spread": 0.7, "sigma": 0.22, "relabel": 0.0,
        "corr_thresh": 0.95, "fresh_baseline": 20,
    }  # fmt: skip


@given(valid_fields)
def test_valid_configurations_survive_json(fields: dict[str, object]) -> None:
    config = CellConfig(**fields)
    again = CellConfig.from_json(config.to_json())
    assert again == config
    assert again.id == config.id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, bad) for field in ("width", "depth", "components", "steps", "tasks") for bad in (0, -1, 2.5)),
        ("fresh_steps", 0),
        ("seed", -1), ("seed", 2**63), ("input_dim", 1), ("samples", 0), ("samples", 7), ("fresh_baseline", -1),
        *(("lr", bad) for bad in (0, -0.1, math.inf, math.nan)),
        *((field, bad) for field in ("sigma", "spread") for bad in (-1e-9, math.inf, math.nan)),
        ("delta", math.inf), ("delta", math.nan),
        *((field, bad) for field in ("relabel", "corr_thresh") for bad in (-0.1, 1.1, math.nan)),
        *((field, bad) for field in ("depth", "lr") for bad in ("5", None, True, [1, 2], {}, b"1")),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name_and_value(field: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        CellConfig(**{field: value})
    message = str(caught.value)
    assert message.startswith(f"{field} = {value!r}: ")
    assert "\n" not in message
    assert FIELDS[field].description in message
    assert isinstance(caught.value, LopSweepError)


def test_unknown_keys_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'learning_rate'.*valid keys: seed, .*, fresh_baseline$"):
        CellConfig(learning_rate=0.1)
    with pytest.raises(ConfigError, match=r"'dept' \(did you mean 'depth'\?\)"):
        CellConfig(dept=3)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"depth = 0: .*; lr = -1: "):
        CellConfig(depth=0, lr=-1)


@pytest.mark.parametrize("text", ["", "[1]", "3", "{", '{"self": 1}', '{"depth": "5"}', '{"lr": NaN}'])
def test_json_that_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        CellConfig.from_json(text)


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        CellConfig().depth = 3  # type: ignore[misc]


def test_numpy_scalars_and_integral_floats_are_numbers() -> None:
    config = CellConfig(depth=np.int64(3), lr=np.float64(0.5), tasks=4.0, delta=0)
    assert config == CellConfig(depth=3, lr=0.5, tasks=4, delta=0.0)
    assert config.id == CellConfig(depth=3, lr=0.5, tasks=4, delta=0.0).id


def test_fresh_steps_follow_steps_unless_given() -> None:
    assert CellConfig(steps=13) == CellConfig(steps=13, fresh_steps=13) != CellConfig(steps=13, fresh_steps=14)
    assert CellConfig(steps=13).replace(lr=0.1).fresh_steps == 13


def test_ids_are_stable_across_versions_and_processes() -> None:
    assert CellConfig().id == "d1230ec664bf61f2"
    assert CellConfig(delta=-0.0).id == CellConfig(delta=0.0).id


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_part_of_the_id(field: str) -> None:
    config = CellConfig()
    value = getattr(config, field)
    changed = config.replace(**{field: value + 2 if isinstance(value, int) else value / 2 + 0.1})
    assert changed.id != config.id


def test_packable_fields_exist_and_set_no_shapes() -> None:
    assert set(PACKABLE) < set(FIELDS)
    assert not {"width", "depth", "input_dim", "samples", "steps", "tasks"} & set(PACKABLE)


def test_json_holds_all_fields() -> None:
    assert tuple(json.loads(CellConfig().to_json())) == tuple(FIELDS)
