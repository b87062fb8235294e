"""`CellConfig`: defaults and ranges, refusals, JSON and ids; and the declarations of its fields."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_sweep.config import (
    FIELDS,
    FIRST_RELEASE,
    PACKABLE,
    CellConfig,
    FieldInfo,
    check_keys,
    declare,
    field_table,
    fields_of,
)
from lop_sweep.errors import ConfigError, LopSweepError
from lop_sweep.pack import Pack, expand, make_packs

IDS = json.loads((Path(__file__).parent / "golden" / "ids.json").read_text())

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
        "metrics": st.lists(st.text()),
        "test_samples": st.integers(1, 500).map(lambda half: 2 * half),
    },
)


def test_defaults_are_those_of_the_protocol() -> None:
    first = {name: value for name, value in CellConfig().model_dump().items() if FIELDS[name].since == FIRST_RELEASE}
    assert first == {
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


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [("learning_rate", "lr"), ("hidden_size", "width"), ("num_layers", "depth"), ("n_tasks", "tasks")],
)
def test_what_others_call_a_field_is_understood(foreign: str, ours: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown key '{foreign}' \(did you mean '{ours}'\?\)"):
        CellConfig(**{foreign: 1})


def test_unknown_keys_are_refused_with_the_closest_ones() -> None:
    """And once, in a line that can be read, with where all of them are listed."""
    where = "lop-sweep run --help and docs/configuration.md list all keys, lop-sweep components those of each component"
    with pytest.raises(ConfigError) as caught:
        CellConfig(dept=3, beta=0.9, zzz=1)
    assert str(caught.value) == (
        "unknown key 'dept' (did you mean 'depth'?); unknown key 'beta' (did you mean 'beta2' or 'beta1'?); "
        f"unknown key 'zzz'; {where}"
    )
    with pytest.raises(ConfigError) as caught:
        check_keys(["dept", 3])
    assert str(caught.value) == f"unknown key 'dept' (did you mean 'depth'?); unknown key 3; {where}"


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigError, match=r"depth = 0: .*; lr = -1: "):
        CellConfig(depth=0, lr=-1)


@pytest.mark.parametrize("text", ["", "[1]", "3", "{", '{"self": 1}', '{"depth": "5"}', '{"lr": NaN}'])
def test_json_that_is_not_a_configuration_is_refused(text: str) -> None:
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


@pytest.mark.parametrize(("fields", "cell", "trajectory"), IDS)
def test_ids_of_earlier_results_stay_valid(fields: dict[str, Any], cell: str, trajectory: str) -> None:
    config = CellConfig(**fields)
    assert config.id == cell
    assert config.trajectory == trajectory


def other_value(info: FieldInfo, value: Any) -> Any:
    """A valid value that differs."""
    if info.type is bool:
        return not value
    if info.type is str:
        return next((choice for choice in info.choices if choice != value), f"{value}x")
    return value + 2 if info.type is int else value / 2 or 0.1


@pytest.mark.parametrize("field", [field for field in FIELDS if field != "own_components"])
def test_every_field_is_part_of_the_id(field: str) -> None:
    config = CellConfig()
    changed = config.replace(**{field: other_value(FIELDS[field], getattr(config, field))})
    assert changed.id != config.id
    assert (changed.trajectory != config.trajectory) == FIELDS[field].trajectory


def test_packable_fields_exist_and_set_no_shapes() -> None:
    assert set(PACKABLE) < set(FIELDS)
    assert not {"width", "depth", "input_dim", "samples", "steps", "tasks"} & set(PACKABLE)


def test_json_holds_all_fields() -> None:
    assert tuple(json.loads(CellConfig().to_json())) == tuple(FIELDS)


def test_fields_at_their_defaults_take_no_memory() -> None:
    """The cells of a large sweep would otherwise take gigabytes: see `benchmarks/planning_scale.py`."""
    cell = CellConfig(lr=0.3, delta=FIELDS["delta"].default, steps=7)
    assert vars(cell) == {"lr": 0.3, "steps": 7, "fresh_steps": 7}
    whole = cell.with_valid(dict(cell))  # one that stores all fields is the same cell
    assert len(vars(whole)) == len(FIELDS)
    assert whole == cell
    assert (hash(whole), whole.id, repr(whole)) == (hash(cell), cell.id, repr(cell))
    assert whole.model_dump_json() == cell.model_dump_json()
    assert CellConfig(delta=0.5).with_valid({"delta": FIELDS["delta"].default}) == CellConfig()


def test_parts_of_a_cell_can_be_dumped() -> None:
    cell = CellConfig(lr=0.3)
    assert cell.model_dump(include={"lr", "seed"}) == {"lr": 0.3, "seed": 7}
    assert cell.model_dump(exclude_defaults=True) == {"lr": 0.3, "fresh_steps": 40}
    assert dict(cell) == cell.model_dump()
    assert cell != cell.model_dump()


class Newer(CellConfig):
    """A configuration with a newer field of each type."""

    schedule: str = declare("constant", "how lr changes", since="0.2", choices=("constant", "linear"))
    note: str = declare("", "any text", since="0.2", trajectory=False)
    centred: bool = declare(False, "whether inputs are centred", since="0.2", packable=True)
    decay: float = declare(0.0, "weight decay", since="0.2", ge=0)


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> type[CellConfig]:
    """`Newer`, with its fields in `FIELDS` and the names that depend on it."""
    for name, info in fields_of(Newer).items():
        monkeypatch.setitem(FIELDS, name, info)  # type: ignore[arg-type]
    monkeypatch.setattr("lop_sweep.pack.CellConfig", Newer)
    return Newer


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("schedule", 1, "schedule = 1: must be a string"),
        ("schedule", True, "schedule = True: must be a string"),
        ("schedule", None, "schedule = None: must be a string"),
        ("schedule", "cosine", "schedule = 'cosine': must be one of constant, linear"),
        ("schedule", "Linear", "schedule = 'Linear': must be one of constant, linear"),
        ("note", 0.5, "note = 0.5: must be a string"),
        ("centred", 1, "centred = 1: must be True or False"),
        ("centred", "True", "centred = 'True': must be True or False"),
        ("centred", None, "centred = None: must be True or False"),
        ("decay", "0.1", "decay = '0.1': must be a number"),
        ("decay", False, "decay = False: must be a number"),
        ("decay", -1, "decay = -1: must be greater than or equal to 0"),
    ],
)
def test_values_of_another_type_are_refused(newer: type[CellConfig], field: str, value: object, rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        newer(**{field: value})
    assert str(caught.value).startswith(rule)
    assert FIELDS[field].description in str(caught.value)


def test_numpy_strings_and_booleans_are_values(newer: type[CellConfig]) -> None:
    config: Any = newer(schedule=np.str_("linear"), centred=np.bool_(True))
    assert type(config.schedule) is str
    assert type(config.centred) is bool
    assert config == newer(schedule="linear", centred=True)
    assert newer.from_json(config.to_json()) == config


def test_a_newer_field_counts_only_if_not_the_default(newer: type[CellConfig]) -> None:
    old = CellConfig(seed=3)
    same = newer(seed=3, schedule="constant", note="", centred=False, decay=0.0)
    assert (same.id, same.trajectory) == (old.id, old.trajectory)
    assert newer(seed=3, decay=-0.0).id == old.id
    cells = [
        newer(seed=3, **changes)
        for changes in ({"schedule": "linear"}, {"note": "x"}, {"centred": True}, {"decay": 0.5}, {"decay": 1})
    ]
    assert len({cell.id for cell in cells} | {old.id}) == 6
    assert [cell.trajectory == old.trajectory for cell in cells] == [False, True, False, False, False]


@pytest.mark.parametrize(("fields", "cell", "trajectory"), IDS)
def test_a_newer_field_leaves_earlier_ids_alone(
    newer: type[CellConfig], fields: dict[str, Any], cell: str, trajectory: str
) -> None:
    assert (newer(**fields).id, newer(**fields).trajectory) == (cell, trajectory)


def test_fields_of_the_first_release_always_count() -> None:
    first = [name for name, info in FIELDS.items() if info.since == FIRST_RELEASE]
    assert first[0] == "seed"
    assert first[-1] == "fresh_baseline"
    assert len(first) == 16


def test_packs_hold_strings_and_booleans(newer: type[CellConfig]) -> None:
    cells = tuple(
        newer(seed=seed, schedule=schedule, centred=centred)
        for schedule in ("constant", "linear")
        for centred in (False, True)
        for seed in (1, 2)
    )
    packs = make_packs(cells, ["seed", "centred"])
    assert [len(pack.cells) for pack in packs] == [4, 4]
    for pack in packs:
        assert expand(json.loads(json.dumps(pack.to_config()))) == pack.cells
    assert expand(Pack(cells).to_config()) == cells


def test_the_table_describes_every_field(newer: type[CellConfig]) -> None:
    rows = field_table().splitlines()
    assert len(rows) == 2 + len(FIELDS)
    assert rows[2 + list(FIELDS).index("schedule")] == (
        "| `schedule` | str | `constant` | `constant`, `linear` |  | how lr changes |"
    )
    assert rows[2 + list(FIELDS).index("samples")].startswith("| `samples` | int | `96` | >= 2, multiple of 2 |  | ")
    assert "\\|correlation\\|" in field_table()
    assert all(row.replace("\\|", "").count("|") == 7 for row in rows)


def test_every_field_is_described() -> None:
    for name, info in FIELDS.items():
        assert info.name == name
        assert info.description
        assert info.label
        assert info.flag
        assert info.axis_label == (f"{info.label} ({info.unit})" if info.unit else info.label)
        assert info.is_category == (info.type in (str, bool))
    assert len({info.flag for info in FIELDS.values()}) == len(FIELDS)


def test_the_order_of_metrics_does_not_matter() -> None:
    one, other, text = (
        CellConfig(metrics=names) for names in (["srank", "test_ce"], ("test_ce", "srank"), "test_ce, srank,")
    )
    assert one == other == text
    assert one.metrics == "srank,test_ce"
    assert one.id == other.id != CellConfig().id
    assert one.trajectory != CellConfig().trajectory
    assert CellConfig(metrics=[]).id == CellConfig().id
    for wrong in (3, True, ["srank", 3]):
        with pytest.raises(ConfigError, match="metrics = "):
            CellConfig(metrics=wrong)
