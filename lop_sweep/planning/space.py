"""Search spaces: load a search-space file and expand it, through Ray Tune's own machinery, into cells.

A search-space file is Python code and is executed when it is loaded: run only files that you trust. It defines
`param_space` (a Tune parameter space over the fields of `CellConfig`) and, if it likes, `pack` (fields that one trial
runs together; without it packs are sized by cost), `num_samples` (as in `tune.TuneConfig`) and `sampling_seed` (seed of
Tune's sampling primitives).
"""

from __future__ import annotations

import contextlib
import random
import runpy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from lop_sweep.config import FIELDS, CellConfig, check_keys
from lop_sweep.errors import ConfigError, SpaceError, comma_list, safe_repr, single_line
from lop_sweep.pack import check_pack_axes
from lop_sweep.ray_environment import prepare_environment
from lop_sweep.storage import is_text


@dataclass(frozen=True)
class SearchSpace:
    """A search space, expanded.

    Attributes:
        name: for people: the file's name without its ending.
        cells: the distinct cells, in Tune's order.
        pack: the fields whose values one trial runs together; None to have packs sized by what cells cost.
    """

    name: str
    cells: tuple[CellConfig, ...]
    pack: tuple[str, ...] | None = None

    @property
    def axes(self) -> dict[str, list[Any]]:
        """The fields that vary, each with its sorted values."""
        values = {field: sorted({getattr(cell, field) for cell in self.cells}) for field in FIELDS}
        return {field: distinct for field, distinct in values.items() if len(distinct) > 1}


def shipped_spaces() -> dict[str, Path]:
    """The search spaces that come with lop-sweep, by name."""
    folder = Path(str(resources.files("search_spaces")))
    return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}


def load_space(source: str | Path) -> SearchSpace:
    """Load a search space by its file's path or by the name of a shipped one.

    Raises:
        SpaceError: there is no such file, it fails when executed, or what it defines is not a search space.
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
            name=path.stem,
            cells=expand_space(
                content["param_space"],
                num_samples=content.get("num_samples", 1),
                sampling_seed=content.get("sampling_seed", 0),
            ),
            pack=check_pack_axes(content["pack"]) if content.get("pack") is not None else None,
        )
    except (ConfigError, SpaceError) as error:
        raise SpaceError(f"{path}: {error}") from error


def expand_space(
    param_space: Mapping[str, Any], num_samples: int = 1, sampling_seed: int = 0
) -> tuple[CellConfig, ...]:
    """All cells of a Tune parameter space, without repetitions, in Tune's order.

    Args:
        param_space: configuration fields to values, `tune.grid_search` or Tune's sampling primitives.
        num_samples: how often the grid is gone through, with new samples each time.
        sampling_seed: seeds the sampling; the same seed gives the same cells.

    Raises:
        ConfigError: a key is no configuration field, or a value is not valid.
        SpaceError: `param_space` is no dictionary, holds no cell, or Tune cannot expand it.
    """
    if not isinstance(param_space, Mapping):
        raise SpaceError(f"param_space must be a dictionary of configuration fields, not {type(param_space).__name__}")
    check_keys(param_space)
    for name, value, least in (("num_samples", num_samples, 1), ("sampling_seed", sampling_seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SpaceError(f"{name} = {safe_repr(value)}: must be an integer of at least {least}")
    with _global_streams(sampling_seed):
        cells = dict.fromkeys(CellConfig(**fields) for fields in _variants(param_space, num_samples, sampling_seed))
    if not cells:
        raise SpaceError("the search space is empty: a grid_search in param_space has no values")
    return tuple(cells)


@contextlib.contextmanager
def _global_streams(seed: int) -> Iterator[None]:
    """Seed the global generators that functions in `tune.sample_from` use, and put them back afterwards."""
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
    what = "is a directory" if is_directory else "is no file"
    raise SpaceError(
        f"search space {str(source)!r} {what}; give a Python file or the name of a shipped space: {comma_list(shipped)}"
    )
