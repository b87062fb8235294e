"""Configuration fields and their values in figures, tables and conditions: numbers or categories.

A *category* is a field whose values have no order or distance: strings and booleans. Figures show its values as they
are, in the order of the field's choices, else sorted. A pandas categorical column has the order of its categories.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from lop_sweep.config import CHOOSES, FIELDS
from lop_sweep.errors import AnalysisError, comma_list

_MAIN = ("depth", "width", "lr", "delta", "sigma", "steps", "tasks")
"""Fields that a caption names whatever their value."""

NO_TEXT = "none"
"""How an empty string is written."""

_MEASURING = ("metrics", "test_samples")
"""Fields that choose what is measured. They do not affect results."""

_OWN = "own_components"


def check_fields(names: Iterable[str]) -> None:
    """Refuse names that are not configuration fields.

    Raises:
        AnalysisError: one is not. The message lists those that are.
    """
    unknown = [name for name in names if name not in FIELDS]
    if unknown:
        raise AnalysisError(
            f"unknown configuration field {comma_list(map(repr, unknown))}; choose from: {comma_list(FIELDS)}"
        )


def is_category(values: pd.Series) -> bool:
    """Return whether a column holds categories: by its field's declaration, or by its dtype."""
    info = FIELDS.get(str(values.name))
    if info is not None and info.is_category:
        return True
    return is_bool_dtype(values.dtype) or not is_numeric_dtype(values.dtype)


def levels(values: pd.Series) -> np.ndarray:
    """Return the distinct values of a column in the order in which figures show them, shape (k,)."""
    if not is_category(values):
        return np.unique(values.to_numpy())
    info = FIELDS.get(str(values.name))
    order = list(info.choices) if info else []
    if isinstance(values.dtype, pd.CategoricalDtype):
        order = list(values.cat.categories)
    present = set(values.dropna())
    return np.array([*(one for one in order if one in present), *sorted(present - set(order))], dtype=object)


def format_value(value: Any) -> str:
    """Return a field's value as text, as `--where` takes it: numbers with six digits, true, false, the name or none."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    return (value or NO_TEXT) if isinstance(value, str) else f"{value:g}"


def format_fields(values: Mapping[str, Any]) -> str:
    """Return fields with their values as text: "depth = 5, lr = 0.1"."""
    return comma_list(f"{field} = {format_value(value)}" for field, value in values.items())


def varying_fields(cells: pd.DataFrame) -> list[str]:
    """Return the configuration fields in which cells differ, without the seed, in the order of `CellConfig`.

    `own_components` is left out unless cells that are otherwise alike used different versions of a component.
    """
    varying = [field for field in FIELDS if field != "seed" and cells[field].nunique() > 1]
    return [field for field in varying if field != _OWN or not own_components_follow(cells)]


def own_components_follow(cells: pd.DataFrame) -> bool:
    """Return whether cells that choose the same components used the same versions of them."""
    if _OWN not in cells or cells[_OWN].nunique() < 2:
        return True
    choice = [field for field in CHOOSES if field in cells]
    return bool(choice) and not cells[[*choice, _OWN]].drop_duplicates().duplicated(choice).any()


def shared_fields(cells: pd.DataFrame) -> dict[str, Any]:
    """Return the configuration fields in which all cells agree, without the seed, and their plain values."""
    shared = [field for field in FIELDS if field != "seed" and field in cells and cells[field].nunique() == 1]
    return {field: plain(cells[field].iloc[0]) for field in shared}


def describe_shared(shared: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """Return shared fields as text for a caption: the main ones, and other conditions that differ from their defaults.

    Args:
        shared: from `shared_fields`.
        without: fields to leave out.
    """
    special = [field for field in shared if field not in (*_MAIN, *_MEASURING, _OWN) and _is_special(field, shared)]
    named = [field for field in (*_MAIN, *special) if field in shared and field not in without]
    return format_fields({field: shared[field] for field in named})


def _is_special(field: str, shared: Mapping[str, Any]) -> bool:
    default = shared.get("steps") if field == "fresh_steps" else FIELDS[field].default
    return default is not None and shared[field] != default


def seed_count(seeds: Collection[int]) -> str:
    """Return numbers of seeds as text for a caption: "3", or "2 to 3" where they differ."""
    return " to ".join(str(count) for count in dict.fromkeys([min(seeds), max(seeds)]))


def plain(value: Any) -> Any:
    """Return a NumPy scalar as the Python value, and anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value
