"""The cells of a search space as points of the axes that vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.data import step_deviation
from analysis.surface import MAX_AXES, Scaling, scaling_of
from lop_sweep.config import FIELDS, PACKABLE, CellConfig
from lop_sweep.errors import AnalysisError, comma_list

_NO_AXIS = ("seed", "own_components")


@dataclass(frozen=True)
class Candidates:
    """The cells to choose from, N of them.

    Attributes:
        points: (N, d) values of the axes, d from 1 to 4.
        scales: "linear", "log" or "category" for each axis.
        seeds: (N,) number of each cell's seed, from 0.
        seconds: (N,) what each costs.
        shapes: (N,) number of each cell's shape; cells of one shape can be computed together.

    Raises:
        AnalysisError: there is none, or an axis cannot be used.
    """

    points: np.ndarray
    scales: tuple[str, ...]
    seeds: np.ndarray
    seconds: np.ndarray
    shapes: np.ndarray

    def __post_init__(self) -> None:
        scaling_of(self.points, self.scales)

    @cached_property
    def scaling(self) -> Scaling:
        """The map to the unit cube."""
        return scaling_of(self.points, self.scales)

    @cached_property
    def coordinates(self) -> np.ndarray:
        """(N, d) in the unit cube."""
        return self.scaling.coordinates(self.points)

    @cached_property
    def at(self) -> np.ndarray:
        """(K, d) values of the axes at the distinct points."""
        return self.points[self._distinct[1]]

    @cached_property
    def place(self) -> np.ndarray:
        """(N,) number of each cell's distinct point."""
        return self._distinct[2].ravel()

    @cached_property
    def places(self) -> np.ndarray:
        """(K, d) coordinates of the distinct points."""
        return self._distinct[0]

    @cached_property
    def seed_count(self) -> int:
        """One more than the largest number of a seed."""
        return int(self.seeds.max()) + 1

    @cached_property
    def _distinct(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        places, first, place = np.unique(self.coordinates, axis=0, return_index=True, return_inverse=True)
        return places, first, place


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
