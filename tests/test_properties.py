"""Whatever comes in is refused with our error, on one line, or is taken and survives being written and read again."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import os
import random
import string
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ray import tune
from strategies import exact_json, examples, finite_json, keys, outcome, spoilt, texts

from lop_sweep.components.choice import KINDS
from lop_sweep.config import FIELDS, PACKABLE, CellConfig
from lop_sweep.errors import (
    ConfigError,
    LopSweepError,
    MissingFileError,
    SchemaVersionError,
    SpaceError,
    StateError,
    StoreError,
)
from lop_sweep.metrics import optional_metrics
from lop_sweep.pack import check_pack_axes, expand, make_packs
from lop_sweep.planning.space import SearchSpace, expand_space
from lop_sweep.planning.space_file import load_space
from lop_sweep.registry import components
from lop_sweep.storage.manifest import describe_space, requested_cells
from lop_sweep.storage.records import read_json, write_json
from lop_sweep.storage.serialization import load_header, load_state, save_state

LARGEST = sys.float_info.max
LEAST = math.ulp(0.0)

INTEGER_RANGES = {
    "seed": (0, 2**63 - 1), "input_dim": (2, 2**31 - 1), "width": (1, 2**31 - 1), "depth": (1, 2**31 - 1),
    "samples": (2, 2**31 - 2), "components": (1, 2**31 - 1), "steps": (1, 2**31 - 1), "fresh_steps": (1, 2**31 - 1),
    "tasks": (1, 2**31 - 1), "fresh_baseline": (0, 2**31 - 1), "test_samples": (2, 2**31 - 2),
}  # fmt: skip
FLOAT_RANGES = {
    "lr": (LEAST, LARGEST), "delta": (-LARGEST, LARGEST), "spread": (0.0, LARGEST), "sigma": (0.0, LARGEST),
    "relabel": (0.0, 1.0), "corr_thresh": (0.0, 1.0),
}  # fmt: skip

HALVED = {"samples", "test_samples"}
"""Fields that must be even."""

OPTIONAL = optional_metrics()

LATER = {"tasks", "fresh_steps", "fresh_baseline"}
"""Fields that change nothing of the tasks that two cells share."""


def valid_value(field: str) -> st.SearchStrategy[Any]:
    if field in FLOAT_RANGES:
        low, high = FLOAT_RANGES[field]
        return st.floats(low, high) | st.sampled_from([x for x in (-0.0, 0.0, LEAST, 0.5, 1.0) if low <= x <= high])
    if field == "metrics":
        return st.sets(st.sampled_from(sorted(OPTIONAL)), max_size=3).map(lambda chosen: ",".join(sorted(chosen)))
    if FIELDS[field].type is bool and not FIELDS[field].of:
        return st.booleans()
    if field in KINDS and field != "stream":  # other streams do not have the fields of the default one
        return st.sampled_from([*{FIELDS[field].default, *components(field)}])
    if field == "test_samples" or field not in INTEGER_RANGES:  # other values need a component that uses them
        return st.just(FIELDS[field].default)
    least, most = INTEGER_RANGES[field]
    if field in HALVED:
        return (st.integers(1, 3) | st.integers(least // 2, most // 2)).map(lambda half: 2 * half)
    return st.integers(least, least + 2) | st.integers(least, most)


def invalid_value(field: str) -> st.SearchStrategy[Any]:
    """Numbers that are out of a field's range, or between two that are in it."""
    if field in FLOAT_RANGES:
        low, high = FLOAT_RANGES[field]
        out_of_range = st.floats(max_value=low, exclude_max=True) | st.floats(min_value=high, exclude_min=True)
        return out_of_range | st.just(math.nan)
    if FIELDS[field].type in (str, bool):
        return st.integers() | st.lists(st.integers(), min_size=1)
    if field not in INTEGER_RANGES:
        return st.just(math.nan) | st.just(-1)
    least, most = INTEGER_RANGES[field]
    fractions = st.floats(least, least + 100).filter(lambda number: not number.is_integer())
    odd = st.integers(least // 2, most // 2).map(lambda half: 2 * half - 1) if field in HALVED else st.nothing()
    return st.integers(max_value=least - 1) | st.integers(min_value=most + 1) | fractions | odd


near_misses = [
    miss for field in FIELDS for miss in (field[1:], field.upper(), f"{field} ", f"{field}\n", f"{field}s", f"_{field}")
]
names = (
    st.sampled_from(list(FIELDS)) | st.sampled_from([*near_misses, "self", "cls", "fields", "config", "cells"]) | texts
)

numbers = (
    st.integers()
    | st.integers(-3, 12)
    | st.floats()
    | st.sampled_from(
        [2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2.0**31, 2.0**63, 1e18, 10**400, LEAST, -0.0, 0.5]
    )
)
plain_values = numbers | st.none() | st.booleans() | texts | st.binary(max_size=4)
hashable_values = (
    plain_values
    | st.fractions()
    | st.complex_numbers()
    | hnp.scalar_dtypes().flatmap(hnp.from_dtype)
    | st.sampled_from([np.longdouble("0.5"), Fraction(3), object, math.sin, ...])
)
leaves = (
    hashable_values
    | hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=2, max_side=2))
    | st.just(np.ma.masked)
    | st.builds(np.array, st.sampled_from([None, 3, 0.5, "3"]), dtype=st.just(object))
    | st.decimals()  # among them the signalling NaN, which can be neither compared nor hashed
    | st.builds(SimpleNamespace, shape=st.just(()))  # looks like a scalar of some array library, and is none
    | st.sets(st.integers(), max_size=2)
)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(names | st.integers(), inner, max_size=2)
    ),
    max_leaves=4,
)

valid_fields = st.fixed_dictionaries(
    {}, optional={field: valid_value(field) for field in FIELDS if field != "own_components"}
)  # which a cell fills in by itself
few_valid_fields = st.lists(st.sampled_from(list(FIELDS)), max_size=2, unique=True).flatmap(
    lambda fields: st.fixed_dictionaries({field: valid_value(field) for field in fields})
)
cells = valid_fields.map(lambda fields: CellConfig(**fields))


def assert_survives(cell: CellConfig) -> None:
    assert {name: type(value) for name, value in cell.model_dump().items()} == {
        name: info.type for name, info in FIELDS.items()
    }
    for name, (least, most) in (INTEGER_RANGES | FLOAT_RANGES).items():
        assert least <= getattr(cell, name) <= most
    assert cell.samples % 2 == 0
    assert not any(math.copysign(1, getattr(cell, name)) < 0 for name in FLOAT_RANGES if not getattr(cell, name))
    for again in (
        CellConfig.from_json(cell.to_json()),
        CellConfig.from_json(cell.to_json().encode()),
        CellConfig(**cell.model_dump()),
        cell.replace(),
    ):
        assert again == cell
        assert hash(again) == hash(cell)
        assert (again.id, again.trajectory) == (cell.id, cell.trajectory)


# One cell


@examples(250)
@given(st.dictionaries(names, anything, max_size=3) | spoilt(few_valid_fields, names, anything))
@example({"self": 1})
@example({"depth": np.eye(2)})
@example({"depth": SimpleNamespace(shape=())})
def test_any_fields_are_refused_or_make_a_cell_that_survives(fields: dict[str, Any]) -> None:
    cell = outcome(lambda: CellConfig(**fields), ConfigError)
    if cell is not None:
        assert_survives(cell)


@examples(150)
@given(cells, st.dictionaries(names, anything, max_size=2))
@example(CellConfig(), {"self": 1})
def test_any_changes_are_refused_or_make_a_cell_that_survives(cell: CellConfig, changes: dict[str, Any]) -> None:
    changed = outcome(lambda: cell.replace(**changes), ConfigError)
    if changed is not None:
        assert_survives(changed)


json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
json_texts = st.builds(json.dumps, json_values | spoilt(few_valid_fields, names, json_values))
deep_json = st.builds(
    lambda depth, brackets: brackets[0] * depth + brackets[1] * depth,
    st.integers(1, 1000) | st.just(10**5),
    st.sampled_from([("[", "]"), ('{"lr":', "}"), ("[", ""), ('{"lr":[', "]}")]),
)
long_numbers = st.sampled_from([f'{{"seed": {"1" * 5000}}}', f'{{"lr": 1e{"9" * 50}}}', f'{{"lr": 0.{"1" * 5000}}}'])


@examples(250)
@given(json_texts | json_texts.map(str.encode) | deep_json | long_numbers | texts | st.binary(max_size=20))
def test_any_json_is_refused_or_makes_a_cell_that_survives(text: str | bytes) -> None:
    cell = outcome(lambda: CellConfig.from_json(text), ConfigError)
    if cell is not None:
        assert_survives(cell)


@examples(150)
@given(valid_fields)
def test_all_values_in_range_are_taken_as_they_are(fields: dict[str, Any]) -> None:
    cell = CellConfig(**fields)
    assert fields.items() <= cell.model_dump().items()
    assert_survives(cell)


@examples(150)
@given(st.sampled_from(list(FIELDS)).flatmap(lambda field: st.fixed_dictionaries({field: invalid_value(field)})), cells)
def test_all_values_out_of_range_are_refused(fields: dict[str, Any], cell: CellConfig) -> None:
    assert outcome(lambda: CellConfig(**fields), ConfigError) is None
    assert outcome(lambda: cell.replace(**fields), ConfigError) is None


@examples(200)
@given(cells, few_valid_fields | st.fixed_dictionaries({}, optional={field: valid_value(field) for field in LATER}))
def test_ids_and_trajectories_differ_exactly_if_their_fields_do(cell: CellConfig, changes: dict[str, Any]) -> None:
    other = cell.replace(**changes)
    differing = {field for field in FIELDS if getattr(cell, field) != getattr(other, field)}
    assert (cell == other) == (not differing)
    assert (cell.id == other.id) == (not differing)
    assert (cell.trajectory == other.trajectory) == (differing <= LATER)


# A search space


def build(primitive: Callable[..., Any], *arguments: Any) -> Any:
    """One of Tune's sampling primitives; what Tune refuses to build never reaches our code."""
    try:
        return primitive(*arguments)
    except Exception:
        reject()


def raising(error: BaseException) -> Callable[[Any], Any]:
    def function(spec: Any) -> Any:
        raise error

    return function


bounds = st.floats(-2, 2) | st.floats() | st.integers(-3, 12) | st.integers()
positive_bounds = st.floats(1e-9, 2) | st.integers(1, 12) | st.integers(1)
sample_functions: list[Callable[..., Any]] = [
    *map(raising, (ValueError("a\nb"), KeyError(), StopIteration(), RecursionError(), SystemExit(0), LopSweepError())),
    lambda spec: spec.config.depth,
    lambda spec: spec.config.lr,
    lambda spec: spec.config,
    lambda spec: np.random.uniform(),
    lambda spec: random.randint(1, 9),
    lambda spec: tune.grid_search([1, 2]),
    lambda spec: tune.uniform(0, 1),
    lambda spec: np.zeros((2, 2)),
    lambda: 1,
]
domains = (
    st.builds(build, st.sampled_from([tune.uniform, tune.randn, tune.randint, tune.lograndint]), bounds, bounds)
    | st.builds(
        build, st.sampled_from([tune.loguniform, tune.lograndint, tune.randint]), positive_bounds, positive_bounds
    )
    | st.builds(
        lambda primitive, first, count, step: build(primitive, first * step, (first + count) * step, step),
        st.sampled_from([tune.quniform, tune.qloguniform, tune.qrandint, tune.qlograndint, tune.qrandn]),
        st.integers(-1, 5),
        st.integers(0, 5),
        st.sampled_from([0, 0.1, 1, 2, 5]),
    )
    | st.builds(build, st.just(tune.choice), st.lists(numbers, min_size=1, max_size=3))
    | st.builds(build, st.just(tune.choice), anything)
    | st.builds(build, st.just(tune.sample_from), st.sampled_from(sample_functions))
)
options = st.recursive(
    numbers | anything | domains,
    lambda inner: (
        st.lists(inner, max_size=3).map(tune.grid_search)
        | anything.map(tune.grid_search)
        | st.lists(inner, min_size=1, max_size=2).map(tune.choice)
        | st.lists(inner, max_size=2)
        | st.dictionaries(names, inner, max_size=2)
    ),
    max_leaves=3,
)
good_options = st.sampled_from(list(FIELDS)).flatmap(
    lambda field: st.fixed_dictionaries(
        {
            field: valid_value(field)
            | st.lists(valid_value(field), min_size=1, max_size=3).map(tune.grid_search)
            | st.lists(valid_value(field), min_size=1, max_size=3).map(tune.choice)
        }
    )
)
good_samples = st.sampled_from(
    [
        {"lr": tune.loguniform(1e-3, 1), "sigma": tune.sample_from(lambda spec: spec.config.lr / 2)},
        {"width": tune.randint(4, 400), "steps": tune.qrandint(10, 50, 10), "depth": tune.grid_search([1, 2])},
        {"delta": tune.sample_from(lambda spec: np.random.normal())},
        {"relabel": tune.sample_from(lambda spec: random.random())},
    ]
)
good_spaces = st.builds(lambda sampled, option: {**sampled, **option}, good_samples, good_options) | good_options
param_spaces = (
    good_spaces
    | spoilt(good_spaces, st.sampled_from(list(FIELDS)), options)
    | spoilt(good_spaces, st.sampled_from(list(FIELDS)), domains)
    | st.dictionaries(names | hashable_values | st.tuples(texts), options, max_size=2)
    | anything
)
sample_counts = st.integers(1, 3) | anything.filter(lambda value: not (isinstance(value, int) and value > 3))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, about bounds that Tune passes on to it
@examples(300)
@given(param_spaces, sample_counts, st.integers(0) | anything)
@example({"depth": tune.sample_from(raising(SystemExit(0)))}, 1, 0)
@example({"depth": np.eye(2)}, 1, 0)
@example({}, np.eye(2), 0)
@example({}, 1, np.eye(2))
def test_any_param_space_is_refused_or_gives_the_same_distinct_cells_every_time(
    param_space: Any, num_samples: Any, sampling_seed: Any
) -> None:
    def expanded() -> tuple[CellConfig, ...] | None:
        random.random()  # so that the global generators are elsewhere every time
        np.random.random()
        return outcome(lambda: expand_space(param_space, num_samples, sampling_seed), ConfigError, SpaceError)

    first, again = expanded(), expanded()
    assert first == again
    if first is not None:
        assert 0 < len(first) == len(set(first)) == len({cell.id for cell in first})
        for cell in first[:3]:
            assert_survives(cell)


grids = st.lists(st.sampled_from([*PACKABLE, *FIELDS]), max_size=4, unique=True).flatmap(
    lambda fields: st.fixed_dictionaries(
        {field: st.lists(valid_value(field), min_size=1, max_size=3, unique=True) for field in fields}
    )
)
pack_axes = st.lists(st.sampled_from(PACKABLE), max_size=4)


def grid_cells(grid: dict[str, list[Any]]) -> tuple[CellConfig, ...]:
    return expand_space({field: tune.grid_search(values) for field, values in grid.items()})


@examples(60)
@given(grids)
def test_a_grid_gives_exactly_its_combinations(grid: dict[str, list[Any]]) -> None:
    combinations = (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))
    assert set(grid_cells(grid)) == {CellConfig(**fields) for fields in combinations}


@examples(60)
@given(grids, pack_axes, texts)
def test_what_was_asked_for_survives_in_json(grid: dict[str, list[Any]], axes: list[str], name: str) -> None:
    space = SearchSpace(cells=grid_cells(grid), name=name, pack=tuple(axes))
    description = json.loads(json.dumps(describe_space(space)))
    assert requested_cells(description) == space.cells
    assert (description["space"], description["pack"]) == (name, axes)


@examples(60)
@given(grids, pack_axes, st.integers(1, 3))
def test_packs_partition_the_cells_and_survive_as_trial_configurations(
    grid: dict[str, list[Any]], axes: list[str], modulus: int
) -> None:
    def group_key(cell: CellConfig) -> int:
        return int(cell.id, 16) % modulus

    asked = grid_cells(grid)
    packs = make_packs(asked, axes, group_key)
    fixed = [field for field in FIELDS if field not in axes]
    shared = [{(group_key(cell), *(getattr(cell, field) for field in fixed)) for cell in pack.cells} for pack in packs]
    assert all(len(values) == 1 for values in shared)
    assert len(set().union(*shared)) == len(packs)
    assert sorted(cell.id for pack in packs for cell in pack.cells) == sorted(cell.id for cell in asked)
    for pack in packs:
        assert list(pack.cells) == [cell for cell in asked if cell in set(pack.cells)]
        assert expand(pack.to_config()) == expand(json.loads(json.dumps(pack.to_config()))) == pack.cells


@examples(200)
@given(anything | st.lists(st.sampled_from(PACKABLE) | anything, max_size=3))
@example(np.eye(2))
@example([np.eye(2)])
@example(["a\nb"])
def test_any_pack_axes_are_refused_or_can_be_packed(axes: Any) -> None:
    checked = outcome(lambda: check_pack_axes(axes), SpaceError)
    if checked is not None:
        assert checked == tuple(axes)
        assert set(checked) <= set(PACKABLE)


rows = st.lists(st.dictionaries(names, anything, max_size=2) | few_valid_fields, max_size=2)


@examples(150)
@given(
    few_valid_fields, st.fixed_dictionaries({"cells": rows | anything}) | st.dictionaries(names, anything, max_size=2)
)
@example({}, {"cells": np.eye(2)})
@example({}, {"cells": [{0: 1}]})
@example({"self": 1}, {})
def test_any_trial_configuration_is_refused_or_gives_cells(common: dict[str, Any], odd: dict[str, Any]) -> None:
    expanded = outcome(lambda: expand({**common, **odd}), ConfigError)
    assert expanded is None or all(isinstance(cell, CellConfig) for cell in expanded)


descriptions = grids.map(lambda grid: describe_space(SearchSpace(cells=grid_cells(grid), name="space")))
description_parts = st.sampled_from(["common", "fields", "rows", "pack", "axes", "space"])


@examples(100)
@given(json_values | spoilt(descriptions, description_parts, json_values))
def test_any_description_is_refused_or_gives_cells(description: Any) -> None:
    described = outcome(lambda: requested_cells(description), StoreError)
    assert described is None or all(isinstance(cell, CellConfig) for cell in described)


# A search-space file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("properties")


def load_written(path: Path, content: bytes) -> SearchSpace | None:
    path.write_bytes(content)
    space = outcome(lambda: load_space(path), SpaceError)
    assert space is None or (space.name == path.stem and space.cells)
    return space


literals = st.recursive(
    numbers | st.none() | st.booleans() | texts | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(names | st.integers(), inner, max_size=2)
        | st.lists(inner, max_size=3).map(tune.grid_search)
    ),
    max_leaves=4,
)
literal_spaces = (
    grids.map(lambda grid: {field: tune.grid_search(values) for field, values in grid.items()})
    | spoilt(few_valid_fields, names, literals)
    | literals
)
literal_counts = st.integers(-1, 3) | literals.filter(lambda value: not isinstance(value, int))
definitions = st.fixed_dictionaries(
    {"param_space": literal_spaces},
    optional={
        "pack": pack_axes | st.lists(names, max_size=3) | literals,
        "num_samples": literal_counts,
        "sampling_seed": st.integers(-1) | literals,
    },
)


@examples(150)
@given(definitions)
def test_a_file_of_any_definitions_is_refused_or_is_a_space(folder: Path, definitions: dict[str, Any]) -> None:
    lines = (f"{name} = {value!r}" for name, value in definitions.items())
    space = load_written(folder / "definitions.py", "\n".join(lines).encode(errors="backslashreplace"))
    if space is not None:
        assert space.cells == expand_space(
            definitions["param_space"], definitions.get("num_samples", 1), definitions.get("sampling_seed", 0)
        )
        assert space.pack == (None if definitions.get("pack") is None else tuple(definitions["pack"]))


# The text is executed: nothing in it may call, and `*` and `<` could ask for numbers without end.
HARMLESS = "".join(character for character in string.printable if character not in "(*<@")
FRAGMENTS = [
    "param_space", "pack", "num_samples", " = ", "{", "}", "'lr'", ": ", "0.1", "[", "]", "\n", "\r", "\0", "\f", "\t",
    "from", " ray", " import", " tune", "\n    ", "#", "# coding: nonsense\n", '"""', "\\", "seed", "'seed'",
    "raise ", "SyntaxError", "KeyError", "SystemExit", "RecursionError", "MemoryError", "assert 0, 'a\\nb'", "'a\\nb'",
    "{'lr': 0.1}", "lambda: ", "[" * 300, "-" * 3000, "1" * 5000, "\N{LINE SEPARATOR}", "yield ", "return ", "try: ",
]  # fmt: skip
programs = (
    st.text(HARMLESS, max_size=30).map(str.encode)
    | st.text(st.characters(codec="utf-8", exclude_characters="(*<@"), max_size=10).map(str.encode)
    | st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(lambda parts: "".join(parts).encode())
    | st.binary(max_size=20).map(lambda content: content.translate(None, b"(*<@"))
)


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
@examples(250)
@given(programs)
def test_a_file_of_any_text_is_refused_or_is_a_space(folder: Path, content: bytes) -> None:
    load_written(folder / "text.py", content)


@examples(100)
@given(texts | st.sampled_from(["", ".", "..", "/", "\0", "a/b", "a" * 300, "~", "demo ", "demo.py"]))
def test_any_name_of_a_space_is_refused_or_found(name: str) -> None:
    space = outcome(lambda: load_space(name), SpaceError)
    assert space is None or space.cells


# Saved files


arrays = hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
states = st.dictionaries(
    keys,
    st.recursive(
        exact_json | arrays,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
headers = st.dictionaries(keys, exact_json, max_size=2)


def bare(node: Any) -> Any:
    """`node` with its arrays as values that can be compared, types and all."""
    if isinstance(node, dict):
        return {key: bare(value) for key, value in node.items()}
    if isinstance(node, list):
        return [bare(value) for value in node]
    if isinstance(node, np.ndarray):
        return node.dtype, node.shape, node.tobytes()
    return type(node), repr(node)


@examples(60)
@given(states, headers)
def test_a_state_survives_exactly(folder: Path, state: dict[str, Any], header: dict[str, Any]) -> None:
    path = folder / "state"
    save_state(path, state, header)
    assert bare(load_state(path)) == bare(state)
    assert bare(load_header(path)) == bare(header)


def damaging(path: Path, flip: int) -> Iterator[None]:
    """Change each byte of a file in turn, and put it back; then cut the file off, a byte more every time."""
    with path.open("r+b", buffering=0) as file:
        content = file.read()
        for position, byte in enumerate(content):
            os.pwrite(file.fileno(), bytes([byte ^ flip]), position)
            yield
            os.pwrite(file.fileno(), bytes([byte]), position)
        for length in reversed(range(len(content))):
            file.truncate(length)
            yield


@examples(12)
@given(st.integers(1, 255))
def test_a_state_with_a_byte_changed_or_cut_off_is_refused(folder: Path, flip: int) -> None:
    path = folder / "scarred"
    save_state(path, {"array": np.arange(3), "stream": {"state": 2**100}}, {"tasks": 3})
    for _ in damaging(path, flip):
        assert outcome(lambda: load_state(path), StateError, SchemaVersionError) is None
        header = outcome(lambda: load_header(path), StateError, SchemaVersionError)
        assert header is None or isinstance(header, dict)


def sealed(body: bytes) -> bytes:
    return b"lop-sweep state 1 %s\n%s" % (hashlib.sha256(body).hexdigest().encode(), body)


def archive(structure: bytes) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{"0": np.arange(3), "structure": np.frombuffer(structure, dtype=np.uint8)})
    return buffer.getvalue()


@examples(4)
@given(st.integers(1, 255))
def test_a_state_damaged_before_it_was_sealed_is_refused_or_a_dictionary(folder: Path, flip: int) -> None:
    path, body = folder / "sealed", b"{}\n" + archive(b'{"array": {"$array": "0"}}')
    for position, byte in enumerate(body):
        path.write_bytes(sealed(body[:position] + bytes([byte ^ flip]) + body[position + 1 :]))
        state = outcome(lambda: load_state(path), StateError)
        assert state is None or isinstance(state, dict)


def single_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    return buffer.getvalue()


structures = json_texts | st.builds(lambda key: json.dumps({"a": {"$array": key}}), json_values) | deep_json
archives = structures.map(lambda structure: archive(structure.encode()))
first_lines = st.just(b"{}") | json_texts.map(str.encode) | deep_json.map(str.encode)
bodies = st.builds(
    lambda header, rest: header + b"\n" + rest,
    first_lines,
    archives | st.just(single_array()) | st.binary(max_size=20) | st.just(b"PK\x05\x06" + bytes(18)),
)


@examples(200)
@given(
    st.binary(max_size=100)
    | st.binary(max_size=20).map(lambda rest: b"lop-sweep state 1 " + rest)
    | st.binary(max_size=20).map(sealed)
    | bodies.map(sealed)
)
@example(sealed(b"{}\n" + single_array()))
@example(sealed(b"{}\n" + archive(b'{"a": {"$array": ["0"]}}')))
def test_any_file_is_refused_as_a_state_or_gives_a_dictionary(folder: Path, content: bytes) -> None:
    path = folder / "any"
    path.write_bytes(content)
    for load in (load_state, load_header):
        loaded = outcome(lambda load=load: load(path), StateError)  # type: ignore[misc]
        assert loaded is None or isinstance(loaded, dict)


records = st.dictionaries(keys, finite_json, max_size=3)


@examples(40)
@given(records, st.sampled_from([None, 1]), st.integers(1, 255))
@example(record={"a": [1e16]}, indent=None, flip=ord("+") ^ ord("7"))  # 1e+16 becomes 1e716, which is infinite
def test_a_record_survives_exactly_and_with_a_byte_changed_or_cut_off_is_refused_or_the_same(
    folder: Path, record: dict[str, Any], indent: int | None, flip: int
) -> None:
    path = folder / "record.json"
    write_json(path, record, indent)
    assert bare(read_json(path)) == bare(record)
    for _ in damaging(path, flip):
        again = outcome(lambda: read_json(path), StoreError)
        assert again is None or bare(again) == bare(record)


@examples(150)
@given(json_texts.map(str.encode) | deep_json.map(str.encode) | long_numbers.map(str.encode) | st.binary(max_size=50))
@example(b'{"a": NaN}')
@example(b"[" * 10**5)
def test_any_file_is_refused_as_a_record(folder: Path, content: bytes) -> None:
    path = folder / "any.json"
    path.write_bytes(content)
    assert outcome(lambda: read_json(path), StoreError) is None
    assert outcome(lambda: read_json(folder / "missing.json"), MissingFileError) is None


# Values that cannot be printed: Python refuses numbers of so many digits, and hypothesis could not report them either

ENDLESS = 10**5000


@pytest.mark.parametrize(
    "take",
    [
        lambda value: CellConfig(depth=value),
        lambda value: CellConfig(lr=value),
        lambda value: CellConfig(seed=value),
        lambda value: CellConfig(fresh_steps=value),
        lambda value: CellConfig(unknown=value),
        lambda value: CellConfig().replace(depth=value),
        lambda value: expand({"cells": value}),
        lambda value: expand({"cells": [value]}),
        lambda value: expand({"cells": [{"depth": value}]}),
        lambda value: check_pack_axes(value),
        lambda value: check_pack_axes([value]),
        lambda value: expand_space(value),
        lambda value: expand_space({"depth": value}),
        lambda value: expand_space({"depth": tune.grid_search([1, value])}),
        lambda value: expand_space({Fraction(-ENDLESS): value}),
        lambda value: expand_space({}, num_samples=[value]),
        lambda value: expand_space({}, num_samples=-ENDLESS),
        lambda value: expand_space({}, sampling_seed=[value]),
        lambda value: expand_space({}, sampling_seed=-ENDLESS),
        lambda value: requested_cells({"common": {}, "fields": ["depth"], "rows": [[value]]}),
    ],
)
def test_values_that_cannot_be_printed_are_refused(take: Callable[[Any], object]) -> None:
    for value in (ENDLESS, -ENDLESS, [ENDLESS], {"depth": ENDLESS}, Fraction(ENDLESS)):
        assert outcome(lambda value=value: take(value), ConfigError, SpaceError, StoreError) is None  # type: ignore[misc]


@pytest.mark.parametrize(
    "definition",
    [
        "param_space = {'depth': 10**5000}",
        "param_space = {10**5000: 1}",
        "param_space = {}; pack = [10**5000]",
        "param_space = {}; num_samples = -10**5000",
        "raise ValueError(10**5000)",
        "raise SyntaxError('a' + chr(10) + 'b')",
    ],
)
def test_files_with_what_cannot_be_printed_are_refused(folder: Path, definition: str) -> None:
    assert load_written(folder / "endless.py", definition.encode()) is None
