"""Configuration fields and their values in figures, tables and conditions: numbers or categories.

A *category* is a field whose values have no order or distance: strings and booleans. Figures show its values as they
are, in the order of the field's choices, else sorted. A pandas categorical column has the order of its categories.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
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

MIN_SAMPLED_VALUES, MIN_SAMPLED_ALONE = 6, 12
"""Fields with fewer values are not taken for sampled ones; the second where no other field varies by itself."""

_UNIQUE_SHARE = 0.75
"""Values identify configurations if there is one value per configuration, for at least this share of them."""

_MAX_TO_SCALE = 1e100

MAX_VALUES = 60
"""Distinct values along one axis of a grid."""

MAX_UNEVENNESS = 0.75
"""Values are spaced evenly if the standard deviation of their steps is at most this share of the mean step."""


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


def sampled_fields(cells: pd.DataFrame) -> list[str]:
    """Return the fields whose values were drawn at random: numbers that nearly all differ between configurations.

    In a grid each value of a field occurs with every value of the others. So a field with at least
    `MIN_SAMPLED_VALUES` values was sampled if hardly any of them is that of two configurations. If all other fields
    that vary rise or fall with it, there must be `MIN_SAMPLED_ALONE` values, unevenly spaced, or over `MAX_VALUES`.
    """
    varying = varying_fields(cells)
    found = []
    for field in identifying_fields(cells, varying):
        if not is_category(cells[field]):
            alone = all(_is_monotone(cells, other, field) for other in varying if other != field)
            if _is_sampled(levels(cells[field]).astype(float), alone=alone):
                found.append(field)
    return found


def follows(cells: pd.DataFrame, field: str, axis: str, identifying: Collection[str]) -> bool:
    """Return whether a field has one value per value of an axis, and not just because each configuration has its own.

    Any field has one value per value of an axis whose values identify configurations. It follows such an axis only if
    it rises or falls with it.

    Args:
        cells: one row per cell, with the configuration fields.
        field: a field that varies.
        axis: another one.
        identifying: from `identifying_fields`.
    """
    if axis in identifying:
        return _is_monotone(cells, field, axis)
    return bool((cells.groupby(axis, observed=True)[field].nunique() == 1).all())


def _is_monotone(cells: pd.DataFrame, field: str, axis: str) -> bool:
    """Return whether a field of numbers has one value per value of another, and strictly rises or falls with it."""
    if is_category(cells[field]) or is_category(cells[axis]):
        return False
    pairs = cells[[axis, field]].drop_duplicates().sort_values(axis).to_numpy(float)
    steps = np.diff(pairs, axis=0)
    return bool((steps[:, 0] > 0).all() and ((steps[:, 1] > 0).all() or (steps[:, 1] < 0).all()))


def identifying_fields(cells: pd.DataFrame, varying: Sequence[str]) -> list[str]:
    """Return those of the varying fields that have a value of their own for nearly every configuration."""
    configurations = len(cells[list(varying)].drop_duplicates()) if varying else 0
    return [field for field in varying if cells[field].nunique() >= _UNIQUE_SHARE * configurations]


def _is_sampled(values: np.ndarray, *, alone: bool) -> bool:
    least = MIN_SAMPLED_ALONE if alone else MIN_SAMPLED_VALUES
    if len(values) < least or np.abs(values).max() > _MAX_TO_SCALE:
        return False
    return not alone or len(values) > MAX_VALUES or unevenness(values) > MAX_UNEVENNESS


def unevenness(values: np.ndarray) -> float:
    """Return the steps' standard deviation over their mean, 0 for even spacing, on a linear or logarithmic scale.

    Of the two scales it is that on which sorted distinct values, two or more, are spaced more evenly.
    """
    logs = [np.log(values)] if values[0] > 0 else []
    return min(step_deviation(one) for one in (values, *logs))


def step_deviation(values: np.ndarray) -> float:
    """Return the standard deviation of the steps between sorted values over their mean."""
    steps = np.diff(values / np.abs(values).max())  # scaled so as not to overflow
    return float(steps.std() / steps.mean())


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


def combinations(cells: pd.DataFrame, fields: Sequence[str]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Return the number of each row's combination of values, (n,), and the combinations in the order of the rows.

    For a few hundred rows and dozens of fields this takes a tenth of the time of a grouping by pandas.
    """
    rows = list(zip(*(cells[name].tolist() for name in fields), strict=True))
    numbers = {row: number for number, row in enumerate(dict.fromkeys(rows))}
    return np.array([numbers[row] for row in rows], int), [dict(zip(fields, row, strict=True)) for row in numbers]


def plain(value: Any) -> Any:
    """Return a NumPy scalar as the Python value, and anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value
