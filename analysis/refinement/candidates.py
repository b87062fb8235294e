"""The cells of a search space as points of the axes that vary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.data import step_deviation
from analysis.refinement.level_set import Candidates
from analysis.surface import MAX_AXES
from lop_sweep.config import FIELDS, PACKABLE, CellConfig
from lop_sweep.errors import AnalysisError, comma_list

_NO_AXIS = ("seed", "own_components")


def make_candidates(cells: Sequence[CellConfig], seconds: Sequence[float]) -> tuple[tuple[str, ...], Candidates]:
    """Return the fields that vary between cells beside the seed, and the cells as points of these.

    Numbers are on a logarithmic axis if their logarithms are spaced more evenly. Strings and booleans are categories.

    Args:
        cells: of a search space.
        seconds: what each costs.

    Raises:
        AnalysisError: no field varies, or more than a surface can have axes.
    """
    columns = {name: np.array([getattr(cell, name) for cell in cells]) for name in FIELDS if name not in _NO_AXIS}
    axes = tuple(name for name, values in columns.items() if (values != values[0]).any())
    if not 1 <= len(axes) <= MAX_AXES:
        raise AnalysisError(
            f"refine needs 1 to {MAX_AXES} fields that vary beside the seed, here {len(axes)}"
            + (f" do: {comma_list(axes)}; fix some of them" if axes else "; give one of them several values")
        )
    coded = {name: _coded(columns[name]) for name in axes}
    names = [name for name in FIELDS if name not in PACKABLE]
    shapes: dict[tuple[object, ...], int] = {}
    shape = [shapes.setdefault(tuple(getattr(cell, name) for name in names), len(shapes)) for cell in cells]
    _, seed = np.unique([cell.seed for cell in cells], return_inverse=True)
    candidates = Candidates(
        np.column_stack([values for values, _ in coded.values()]).astype(float),
        tuple(scale for _, scale in coded.values()),
        seed, np.asarray(seconds, float), np.array(shape),
    )  # fmt: skip
    return axes, candidates


def _coded(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Return a field's values as numbers, and the scale of its axis."""
    distinct, codes = np.unique(values, return_inverse=True)
    if values.dtype.kind in "bUO":
        return codes, "category"
    if len(distinct) > 2 and distinct[0] > 0 and step_deviation(np.log(distinct)) < step_deviation(distinct):
        return values, "log"
    return values, "linear"
