"""Search spaces: expand a Ray Tune parameter space into cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lop_sweep.cell_table import MAX_CELLS, check_size, grid_cells
from lop_sweep.components.choice import fit
from lop_sweep.config import FIELDS, CellConfig, check_keys
from lop_sweep.errors import SpaceError, comma_list, safe_repr, suggestion
from lop_sweep.pack import check_pack_axes
from lop_sweep.planning.variants import SAMPLERS, variants

AUTO = "auto"
"""The value of `fresh_baseline` in a parameter space that `POOLED_BASELINE` resolves."""

POOLED_BASELINE, MIN_BASELINE = 160, 5
"""Fresh networks of all seeds of a configuration, beyond which verdicts gain little power, and the least per cell."""


@dataclass(frozen=True, init=False)
class SearchSpace:
    """A search space, expanded into its distinct cells.

    A hyperparameter, whether an axis or one value, applies to the cells whose components have it.

        SearchSpace({"lr": tune.grid_search([0.1, 0.4]), "seed": tune.grid_search([0, 1])}, name="lr")
        SearchSpace(cells=[CellConfig(lr=0.1), CellConfig(lr=0.4)], name="lr")

    Attributes:
        name: what status, titles and `sweep.json` call it.
        cells: the distinct cells, in Tune's order or the order given.
        pack: the fields whose values one trial runs together; None: packs are sized by cost.
    """

    name: str
    cells: tuple[CellConfig, ...]
    pack: tuple[str, ...] | None

    def __init__(
        self,
        param_space: Mapping[str, Any] | None = None,
        *,
        cells: Iterable[CellConfig] | None = None,
        name: str = "space",
        num_samples: int = 1,
        sampling_seed: int = 0,
        sampler: str = "random",
        seeds: int | Sequence[int] | None = None,
        pack: Iterable[str] | None = None,
    ) -> None:
        """Expand a parameter space, or take cells as they are.

        Args:
            param_space: configuration fields to values, `tune.grid_search` or Tune's sampling primitives. A
                `fresh_baseline` of "auto" stands for 160 networks, shared among the seeds of each configuration.
            cells: the cells, in place of `param_space`.
            name: what status, titles and `sweep.json` call the search space.
            num_samples: how many times to go through the grid, with new samples each time; with "sobol", number of
                points at each point of the grid.
            sampling_seed: seed of what is sampled; the same seed gives the same cells.
            sampler: how Tune's sampling primitives are drawn: "random", independently, or "sobol", as the points of a
                scrambled Sobol' sequence, which fill the space evenly.
            seeds: the seeds at which every point is repeated: a list, or n for 0 to n - 1; None: as `param_space` says.
            pack: fields of `PACKABLE` whose values one trial runs together; None: packs are sized by cost.

        Raises:
            ConfigError: a key is not a configuration field, or a value is not valid.
            SpaceError: the space is empty, Tune cannot expand it, or an argument has a wrong type or value.
        """
        if (param_space is None) == (cells is None):
            raise SpaceError("a search space needs a param_space or cells, and not both; give one of them")
        if not isinstance(name, str):
            raise SpaceError(f"name = {safe_repr(name)}: must be a string")
        object.__setattr__(self, "name", name)
        if cells is None:
            expanded = expand_space(param_space, num_samples, sampling_seed, sampler, seeds)
        elif seeds is not None or (num_samples, sampling_seed, sampler) != (1, 0, "random"):
            raise SpaceError(
                "num_samples, sampling_seed, sampler and seeds are for a param_space; cells are as they are"
            )
        else:
            expanded = _distinct(cells)
        check_size(len(expanded))
        object.__setattr__(self, "cells", fit(expanded))
        object.__setattr__(self, "pack", None if pack is None else check_pack_axes(pack))

    @property
    def axes(self) -> dict[str, list[Any]]:
        """The fields that vary, each with its sorted values."""
        return axes_of(self.cells)


def axes_of(cells: Iterable[CellConfig]) -> dict[str, list[Any]]:
    """Return the fields in which cells differ, each with its sorted values: numbers, strings or booleans.

    `own_components` is left out: it follows from the other fields.
    """
    cells = tuple(cells)
    fields = [field for field in FIELDS if field != "own_components"]
    values = {field: sorted({getattr(cell, field) for cell in cells}) for field in fields}
    return {field: distinct for field, distinct in values.items() if len(distinct) > 1}


def expand_space(
    param_space: Any,
    num_samples: int = 1,
    sampling_seed: int = 0,
    sampler: str = "random",
    seeds: int | Sequence[int] | None = None,
) -> tuple[CellConfig, ...]:
    """Return the distinct cells of a Tune parameter space, in Tune's order; arguments and errors as `SearchSpace`."""
    check_keys(checked_mapping(param_space))
    for name, value, least in (("num_samples", num_samples, 1), ("sampling_seed", sampling_seed, 0)):
        if not _is_integer(value, least):
            raise SpaceError(f"{name} = {safe_repr(value)}: must be an integer of at least {least}")
    if not isinstance(sampler, str) or sampler not in SAMPLERS:
        near = suggestion(sampler, SAMPLERS)
        raise SpaceError(f"sampler = {safe_repr(sampler)}{near}: must be one of {comma_list(SAMPLERS)}")
    repeated = None if seeds is None else _checked_seeds(seeds, param_space)
    of_seed = {} if repeated is None else {"seed": {"grid_search": repeated}}
    grid = _as_grid({**param_space, **of_seed}) if sampler == "random" else None
    if grid is not None:
        return grid_cells(*grid)
    if num_samples > MAX_CELLS:
        raise SpaceError(f"num_samples = {safe_repr(num_samples)}: must be at most {MAX_CELLS:,}")
    points = list(variants(param_space, int(num_samples), int(sampling_seed), sampler))
    if repeated is not None:
        check_size(max(len(points), 1) * len(repeated))
        points = [{**fields, "seed": seed} for fields in points for seed in repeated]
    cells = dict.fromkeys(CellConfig(**fields) for fields in _with_baseline(points))
    if not cells:
        raise SpaceError("the search space is empty: a grid_search in param_space has no values")
    return tuple(cells)


def _checked_seeds(seeds: Any, param_space: Mapping[str, Any]) -> Sequence[int]:
    """Return the seeds at which every point of a parameter space is repeated.

    Raises:
        SpaceError: they are not seeds, or the parameter space has seeds of its own.
    """
    if _is_integer(seeds, 1) and seeds <= MAX_CELLS:
        seeds = range(seeds)
    if not _is_list(seeds) or not 1 <= len(seeds) <= MAX_CELLS:
        raise SpaceError(
            f"seeds = {safe_repr(seeds)[:80]}: must be a number of seeds, for example 8, or a list of them, "
            f"at most {MAX_CELLS:,}"
        )
    if wrong := [seed for seed in seeds if not _is_integer(seed, 0)]:
        raise SpaceError(f"seeds holds {safe_repr(wrong[0])}: must be integers of at least 0")
    if "seed" in param_space:
        raise SpaceError(
            "seeds repeats every point, and param_space has seeds of its own ('seed'); leave one of them out"
        )
    return seeds


def _is_integer(value: object, least: int) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= least)


def _as_grid(param_space: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Sequence[Any]]] | None:
    """Return the constants and the axes of a parameter space that is a plain grid; None if it is not.

    Tune expands a plain grid to the same cells, in the same order, in ten times the time: it varies the first axis
    fastest, of axes sorted by name. A value of None, which takes that of another field, is left to Tune.
    """
    axes: dict[str, Sequence[Any]] = {
        field: list(value["grid_search"])
        for field, value in sorted(param_space.items())
        if isinstance(value, dict) and value.keys() == {"grid_search"} and _is_list(value["grid_search"])
    }
    common = {field: value for field, value in param_space.items() if field not in axes}
    plain = all(value is None or _is_plain(value) or _is_names(value) for value in common.values())
    if not plain or not all(values and all(map(_is_plain, values)) for values in axes.values()):
        return None
    shared = _baseline(len(set(axes.get("seed", [0]))))
    if common.get("fresh_baseline") == AUTO:
        common["fresh_baseline"] = shared
    if "fresh_baseline" in axes:
        axes["fresh_baseline"] = [shared if value == AUTO else value for value in axes["fresh_baseline"]]
    return common, axes


def _is_list(values: object) -> bool:
    """Return whether these can be the values of an axis, and can be read twice."""
    return isinstance(values, (list, tuple, range)) or (isinstance(values, np.ndarray) and values.ndim == 1)


def _is_plain(value: object) -> bool:
    """Return whether a value is a number, a string or a boolean: nothing that Tune would expand."""
    return isinstance(value, (int, float, str, bool, np.number, np.bool_))


def _is_names(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)


def checked_mapping(param_space: Any) -> Mapping[str, Any]:
    """Return a parameter space.

    Raises:
        SpaceError: it is not a dictionary.
    """
    if not isinstance(param_space, Mapping):
        raise SpaceError(f"param_space must be a dictionary of configuration fields, not {type(param_space).__name__}")
    return param_space


def _distinct(cells: Iterable[CellConfig]) -> tuple[CellConfig, ...]:
    if not isinstance(cells, Iterable):
        raise SpaceError(f"cells = {safe_repr(cells)}: must be a list of CellConfig")
    cells = tuple(cells)
    for cell in cells:
        if not isinstance(cell, CellConfig):
            raise SpaceError(f"cells holds {safe_repr(cell)}: must be a list of CellConfig")
    if not cells:
        raise SpaceError("the search space is empty: cells holds no cell")
    return tuple(dict.fromkeys(cells))


def _with_baseline(variants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace `AUTO` by each seed's share of `POOLED_BASELINE`, at least `MIN_BASELINE`.

    All configurations get the same number, that of the one with the fewest seeds, so that it does not become an axis.

    Raises:
        ConfigError: another field of such a variant is not valid.
    """
    asked = [fields for fields in variants if fields.get("fresh_baseline") == AUTO]
    points = [CellConfig(**{**fields, "fresh_baseline": 0}) for fields in asked]
    seeds: dict[CellConfig, set[int]] = {}
    for point in points:
        seeds.setdefault(point.replace(seed=0), set()).add(point.seed)
    fewest = min(map(len, seeds.values()), default=1)
    for fields in asked:
        fields["fresh_baseline"] = _baseline(fewest)
    return variants


def _baseline(seeds: int) -> int:
    """Return each seed's share of `POOLED_BASELINE`, at least `MIN_BASELINE`."""
    return max(math.ceil(POOLED_BASELINE / seeds), MIN_BASELINE)
