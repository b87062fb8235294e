"""Search spaces: expand a Ray Tune parameter space, or load a search-space file, into cells.

A search-space file is Python code and is executed when it is loaded: run only files that you trust. It defines
`param_space`, a Tune parameter space over the fields of `CellConfig`. It may also define `pack`, `num_samples` and
`sampling_seed`, with the meaning they have in `SearchSpace`.
"""

from __future__ import annotations

import contextlib
import math
import random
import runpy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from lop_sweep.cell_table import check_size, grid_cells
from lop_sweep.components.choice import fit
from lop_sweep.config import FIELDS, CellConfig, check_keys
from lop_sweep.errors import ConfigError, SpaceError, comma_list, safe_repr, single_line
from lop_sweep.pack import check_pack_axes
from lop_sweep.ray_environment import prepare_environment
from lop_sweep.storage import is_text

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
        pack: Iterable[str] | None = None,
    ) -> None:
        """Expand a parameter space, or take cells as they are.

        Args:
            param_space: configuration fields to values, `tune.grid_search` or Tune's sampling primitives. A
                `fresh_baseline` of "auto" stands for 160 networks, shared among the seeds of each configuration.
            cells: the cells, in place of `param_space`.
            name: what status, titles and `sweep.json` call the search space.
            num_samples: how many times to go through the grid, with new samples each time.
            sampling_seed: seed of Tune's sampling primitives; the same seed gives the same cells.
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
        expanded = expand_space(param_space, num_samples, sampling_seed) if cells is None else _distinct(cells)
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


def shipped_spaces() -> dict[str, Path]:
    """Return the paths of the search spaces that come with lop-sweep, by name."""
    folder = Path(str(resources.files("search_spaces")))
    return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}


def load_space(source: str | Path) -> SearchSpace:
    """Load a search space by its file's path or by the name of a shipped one.

    Raises:
        SpaceError: there is no such file, it fails when executed, or it does not define a search space.
    """
    path = _find(source)
    prepare_environment()  # most search spaces import Ray
    try:
        content = runpy.run_path(str(path))
    except SyntaxError as error:
        what = " ".join(str(error.msg).split())
        raise SpaceError(
            f"{path}, line {error.lineno}: syntax error: {what}; a search space is a Python file"
        ) from None
    except (Exception, SystemExit) as error:
        raise SpaceError(f"{path}: executing it failed with {type(error).__name__}: {single_line(error)}") from error
    if "param_space" not in content:
        raise SpaceError(f"{path}: defines no param_space; write param_space = {{'lr': tune.grid_search([...]), ...}}")
    try:
        return SearchSpace(
            _checked_mapping(content["param_space"]),
            name=path.stem,
            num_samples=content.get("num_samples", 1),
            sampling_seed=content.get("sampling_seed", 0),
            pack=content.get("pack"),
        )
    except (ConfigError, SpaceError) as error:
        raise SpaceError(f"{path}: {error}") from error


def expand_space(param_space: Any, num_samples: int = 1, sampling_seed: int = 0) -> tuple[CellConfig, ...]:
    """Return the distinct cells of a Tune parameter space, in Tune's order; arguments and errors as `SearchSpace`."""
    check_keys(_checked_mapping(param_space))
    for name, value, least in (("num_samples", num_samples, 1), ("sampling_seed", sampling_seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SpaceError(f"{name} = {safe_repr(value)}: must be an integer of at least {least}")
    grid = _as_grid(param_space)
    if grid is not None:
        return grid_cells(*grid)
    with _global_generators(sampling_seed):
        variants = _with_baseline(list(_variants(param_space, num_samples, sampling_seed)))
        cells = dict.fromkeys(CellConfig(**fields) for fields in variants)
    if not cells:
        raise SpaceError("the search space is empty: a grid_search in param_space has no values")
    return tuple(cells)


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


def _checked_mapping(param_space: Any) -> Mapping[str, Any]:
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


@contextlib.contextmanager
def _global_generators(seed: int) -> Iterator[None]:
    """Seed the global generators that functions in `tune.sample_from` use, and restore them afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _variants(param_space: Mapping[str, Any], num_samples: int, sampling_seed: int) -> Iterator[dict[str, Any]]:
    from ray.tune.search.variant_generator import generate_variants

    rng = np.random.default_rng(sampling_seed)
    for _ in range(num_samples):
        variants = generate_variants({"config": dict(param_space)}, random_state=rng)
        while True:
            try:
                _, resolved = next(variants)
            except StopIteration:
                break
            except (Exception, SystemExit) as error:  # whatever Tune, or a sample_from function of the file, raises
                raise SpaceError(f"Ray Tune cannot expand param_space: {single_line(error)}") from error
            yield resolved["config"]


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


def _find(source: str | Path) -> Path:
    path = Path(source)
    if not is_text(path):
        raise SpaceError(f"search space {safe_repr(str(source))} is not valid UTF-8, which Ray needs; rename the file")
    try:
        if path.is_file():
            return path
        is_directory = path.is_dir()
    except OSError as error:
        raise SpaceError(f"search space {str(source)!r} cannot be read: {single_line(error)}") from error
    shipped = shipped_spaces()
    if str(source) in shipped:
        return shipped[str(source)]
    what = "is a directory" if is_directory else "is not a file"
    raise SpaceError(
        f"search space {str(source)!r} {what}; give a Python file or the name of a shipped space: {comma_list(shipped)}"
    )
