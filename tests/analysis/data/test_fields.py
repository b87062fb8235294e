"""Configuration fields as numbers and as categories."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.data.configurations import by_configuration
from analysis.data.fields import (
    check_fields,
    combinations,
    describe_shared,
    format_fields,
    format_value,
    is_category,
    levels,
    seed_count,
    shared_fields,
    varying_fields,
)
from analysis.data.load import load_cells, parse_where, select
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import AnalysisError


@pytest.fixture
def made_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more configuration fields: a name and a switch."""
    for name, kind, default in (("optimizer", str, "sgd"), ("bias", bool, True)):
        monkeypatch.setitem(FIELDS, name, replace(FIELDS["lr"], name=name, type=kind, default=default, label=name))


def cells_of(**columns: list[object]) -> pd.DataFrame:
    """Make one row per cell with all configuration fields."""
    number = len(next(iter(columns.values())))
    return pd.DataFrame([CellConfig().model_dump()] * number).assign(**columns)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "0.1"), (np.float64(1e-7), "1e-07"), (5, "5"), (np.int64(5), "5"), (True, "true"), (np.False_, "false"),
     ("sgd", "sgd"), (1.23456789, "1.23457")],
)  # fmt: skip
def test_values_as_text(value: object, text: str) -> None:
    assert format_value(value) == text
    assert format_fields({"a": value, "b": 1}) == f"a = {text}, b = 1"


def test_strings_and_booleans_are_categories(made_fields: None) -> None:
    assert is_category(pd.Series(["a"], name="unknown"))
    assert is_category(pd.Series([True], name="unknown"))
    assert is_category(pd.Series([1, 2], name="optimizer"))
    assert not is_category(pd.Series([1, 2], name="depth"))


def test_levels_are_ordered_and_integers_stay_exact(made_fields: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels(pd.Series(["sgd", "adam", "sgd"], name="optimizer")).tolist() == ["adam", "sgd"]
    assert levels(pd.Series([True, False], name="bias")).tolist() == [False, True]
    monkeypatch.setitem(FIELDS, "optimizer", replace(FIELDS["optimizer"], choices=("sgd", "adam")))
    assert levels(pd.Series(["adam", "sgd", "lion"], name="optimizer")).tolist() == ["sgd", "adam", "lion"]
    ordered = pd.Series(["sgd", "adam"], name="optimizer").astype(pd.CategoricalDtype(["sgd", "lion", "adam"]))
    assert levels(ordered).tolist() == ["sgd", "adam"]
    assert levels(pd.Series([2**62 + 1, 2**62], name="seed")).tolist() == [2**62, 2**62 + 1]


def test_conditions_on_categories(made_fields: None) -> None:
    cells = cells_of(optimizer=["sgd", "adam", "adam"], bias=[True, True, False])
    assert parse_where(["optimizer=sgd, adam", "bias=True,false"]) == {
        "optimizer": ["sgd", "adam"],
        "bias": [True, False],
    }
    assert select(cells, parse_where(["optimizer=adam", "bias=false"])).index.tolist() == [2]
    with pytest.raises(AnalysisError, match="no cell has optimizer = lion; available: optimizer = adam, sgd"):
        select(cells, {"optimizer": ["lion"]})
    with pytest.raises(AnalysisError, match="--where bias=maybe: bias must be true or false, got 'maybe'"):
        parse_where(["bias=maybe"])


def test_categories_divide_cells_and_are_named(made_fields: None) -> None:
    cells = cells_of(optimizer=["sgd", "adam", "adam"], bias=[False] * 3, seed=[1, 1, 2])
    assert varying_fields(cells) == ["optimizer"]
    groups = by_configuration(cells, most=2)
    assert [(key, len(group)) for key, group in groups] == [({"optimizer": "adam"}, 2), ({"optimizer": "sgd"}, 1)]
    assert describe_shared(shared_fields(cells), without=("tasks",)).endswith("steps = 40, bias = false")


def test_captions_name_main_fields_and_special_values() -> None:
    cells = cells_of(seed=[1, 2], relabel=[0.1, 0.1])
    assert describe_shared(shared_fields(cells), without=("lr", "depth")) == (
        "width = 100, delta = 2.8, sigma = 0.22, steps = 40, tasks = 100, relabel = 0.1"
    )
    assert "fresh_steps = 9" in describe_shared(shared_fields(cells.assign(fresh_steps=9)))
    assert "srank" not in describe_shared(shared_fields(cells.assign(metrics="srank,test_ce", test_samples=20)))
    assert "fresh_steps" not in describe_shared(shared_fields(cells.assign(fresh_steps=9, steps=9)))


def test_unknown_fields_are_refused() -> None:
    check_fields(["lr", "depth"])
    with pytest.raises(AnalysisError, match="unknown configuration field 'dept', 'x'; choose from: seed, input_dim"):
        check_fields(["lr", "dept", "x"])


def test_varying_fields_leave_out_the_seed(store_dir: object) -> None:
    assert varying_fields(load_cells(store_dir)) == ["depth", "lr", "delta"]


def test_seed_counts() -> None:
    assert seed_count([3, 3]) == "3"
    assert seed_count([2, 5, 3]) == "2 to 5"


def test_combinations_are_those_of_pandas() -> None:
    rng = np.random.default_rng(0)
    cells = pd.DataFrame(
        {"depth": rng.integers(1, 4, 50), "stream": rng.choice(["a", "b"], 50), "seed": np.arange(50), "lr": 0.1}
    )
    fields = ["depth", "stream", "lr"]
    numbers, found = combinations(cells, fields)
    np.testing.assert_array_equal(numbers, cells.groupby(fields, sort=False).ngroup())
    assert found == cells[fields].drop_duplicates().to_dict("records")
    assert type(found[0]["depth"]) is int
    numbers, found = combinations(cells.iloc[:0], fields)
    assert (numbers.shape, numbers.dtype.kind, found) == ((0,), "i", [])
