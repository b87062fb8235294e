"""Search-space files: load one, and refuse what it defines without effect.

A search-space file is Python code and is executed when it is loaded: run only files that you trust. It defines
`param_space`, a Tune parameter space over the fields of `CellConfig`, and may define the other names in `SETTINGS`,
with the meaning they have in `SearchSpace`. Modules beside it can be imported.
"""

from __future__ import annotations

import ast
import difflib
import os
import runpy
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import ConfigError, SpaceError, comma_list, safe_repr, single_line
from lop_sweep.planning.lattice import on_lattice
from lop_sweep.planning.neighbours import neighbours
from lop_sweep.planning.space import SearchSpace, checked_mapping
from lop_sweep.ray_environment import prepare_environment
from lop_sweep.storage import is_text

SETTINGS = ("param_space", "num_samples", "sampling_seed", "sampler", "seeds", "pack")
"""The names in a file that have a meaning."""
_NEAR = 0.75
"""Similarity to a setting, by `difflib`, from which a name is taken for a misspelt one."""
_NO_EFFECT = (
    ("TuneConfig", "write num_samples = {num_samples} in the file, and sampler = 'sobol' for a quasi-random design"),
    ("RunConfig", "use the options of lop-sweep sweep, such as --out and --max-failures"),
    ("Tuner", "lop-sweep makes its own; LopTrainable is for a Tuner of yours"),
    ("TrialScheduler", "every cell is computed to its end; schedulers are for LopTrainable in a Tuner of your own"),
    ("SearchAlgorithm", "write num_samples and sampler = 'sobol', or use LopTrainable in a Tuner of your own"),
    ("Searcher", "write num_samples and sampler = 'sobol', or use LopTrainable in a Tuner of your own"),
    ("object", "remove it, or use LopTrainable in a Tuner of your own"),
)
"""Classes of Ray's, and what to do in place of defining an object of them."""


def to_space(source: SearchSpace | Mapping[str, Any] | str | os.PathLike[str]) -> SearchSpace:
    """Return what stands for a search space as one: a parameter space, a file or the name of a shipped one.

    Raises:
        SpaceError: it stands for none; or as `SearchSpace` and `load_space`.
        ConfigError: as `SearchSpace`.
    """
    if isinstance(source, SearchSpace):
        return source
    if isinstance(source, Mapping):
        return SearchSpace(source)
    if isinstance(source, (str, os.PathLike)):
        return load_space(source)
    is_cells = isinstance(source, (CellConfig, list, tuple)) and not isinstance(source, type)
    raise SpaceError(
        f"space = {safe_repr(source)[:80]}: must be a SearchSpace, a parameter space (a dictionary), the path of a "
        f"search-space file or the name of a shipped one{'; for cells write SearchSpace(cells=[...])' * is_cells}"
    )


def shipped_spaces() -> dict[str, Path]:
    """Return the paths of the search spaces that come with lop-sweep, by name.

    They are found beside this package, since a folder of the user's named search_spaces may hide them from an import.
    """
    folder = Path(__file__).parents[2] / "search_spaces"
    return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}


def load_space(source: str | os.PathLike[str], *, lattice: int | None = None) -> SearchSpace:
    """Load a search space by its file's path or by the name of a shipped one.

    Args:
        source: the path, or the name.
        lattice: number of values along each range, for `lop-sweep refine`; None: values are drawn as the space says.

    Raises:
        SpaceError: the file does not exist, fails when executed, does not define a search space, or defines names that
            have no effect.
    """
    path = _find(source)
    prepare_environment()  # most search spaces import Ray
    with neighbours(path.resolve().parent):
        content = _execute(path)
        assigned, read = _names_in(path)
        _refuse_without_effect(path, content, assigned - read)
        if "param_space" not in content:
            raise SpaceError(
                f"{path}: defines no param_space; write param_space = {{'lr': tune.grid_search([...]), ...}}"
            )
        try:
            settings = {name: content[name] for name in SETTINGS if name in content}
            param_space = checked_mapping(settings.pop("param_space"))
            # Files older than these settings may use their names for something else.
            if "seeds" in read and "seed" in param_space:
                settings.pop("seeds", None)
            if "sampler" in read and not isinstance(settings.get("sampler"), str):
                settings.pop("sampler", None)
            if lattice is not None:
                param_space = on_lattice(param_space, lattice)
                settings = {name: value for name, value in settings.items() if name in ("seeds", "pack")}
            return SearchSpace(param_space, name=path.stem, **settings)
        except (ConfigError, SpaceError) as error:
            raise SpaceError(f"{path}: {error}") from error


def _find(source: str | os.PathLike[str]) -> Path:
    if not isinstance(source, (str, os.PathLike)):
        raise SpaceError(f"search space {safe_repr(source)[:80]}: must be a file's path or the name of a shipped space")
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


def _execute(path: Path) -> dict[str, Any]:
    try:
        return runpy.run_path(str(path))
    except SyntaxError as error:
        what = " ".join(str(error.msg).split())
        where = path if error.filename in (None, str(path)) else error.filename
        raise SpaceError(
            f"{where}, line {error.lineno}: syntax error: {what}; a search space is a Python file"
        ) from None
    except (Exception, SystemExit) as error:
        raise SpaceError(f"{path}: executing it failed with {type(error).__name__}: {single_line(error)}") from error


def _names_in(path: Path) -> tuple[set[str], set[str]]:
    """Return the names that a file assigns, and those that it reads.

    Both are empty for compiled code, and for expressions nested so deeply that they cannot be parsed.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set(), set()
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    return {node.id for node in names if isinstance(node.ctx, ast.Store)}, read


def _refuse_without_effect(path: Path, content: Mapping[str, Any], unread: set[str]) -> None:
    """Refuse objects of Tune that are not part of a parameter space, and misspelt settings.

    Args:
        path: the file.
        content: its names, with their values.
        unread: the names that it assigns and does not read, so that they can only be meant for lop-sweep.

    Raises:
        SpaceError: there is one.
    """
    for name, value in content.items():
        if name.startswith("_") or name in SETTINGS:
            continue
        if _is_tune_object(value):
            classes = {cls.__name__ for cls in type(value).__mro__}
            way_out = next(text for cls, text in _NO_EFFECT if cls in classes)
            samples = getattr(value, "num_samples", 1)
            raise SpaceError(
                f"{path}: {name} is an object of Tune's {type(value).__name__}, which has no effect in a search space; "
                + way_out.format(num_samples=samples)
            )
        if name not in unread or callable(value):
            continue
        if name in FIELDS:
            near = difflib.get_close_matches(name, SETTINGS, n=1, cutoff=_NEAR)
            raise SpaceError(
                f"{path}: {name} = {safe_repr(value)[:80]} has no effect outside param_space; write it in there"
                + (f", or did you mean {near[0]}?" if near else "")
            )
        if near := difflib.get_close_matches(name.lower(), SETTINGS, n=1, cutoff=_NEAR):
            raise SpaceError(
                f"{path}: {name} = {safe_repr(value)[:80]} has no effect (did you mean {near[0]}?); "
                f"the settings of a search space are {comma_list(SETTINGS)}"
            )


def _is_tune_object(value: object) -> bool:
    """Return whether a value is an instance of a class of Tune's that is not a distribution to sample from."""
    if isinstance(value, (type, ModuleType)):
        return False
    modules = [cls.__module__ for cls in type(value).__mro__]
    if "ray.tune.search.sample" in modules:
        return False
    return any(module.split(".")[:2] in (["ray", part] for part in ("tune", "air", "train")) for module in modules)
