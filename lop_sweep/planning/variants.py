"""Expand a parameter space with Ray Tune's own generator, and say what is wrong in one that it cannot expand."""

from __future__ import annotations

import contextlib
import itertools
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from traceback import extract_tb
from typing import Any

import numpy as np

from lop_sweep.errors import SpaceError, single_line

SAMPLERS = ("random", "sobol")
"""How Tune's sampling primitives are drawn: independently, by Tune, or as the points of a Sobol' sequence."""


def variants(
    param_space: Mapping[str, Any], num_samples: int, sampling_seed: int, sampler: str
) -> Iterator[dict[str, Any]]:
    """Yield the points of a parameter space, each a value per field; arguments as those of `SearchSpace`.

    The global generators, which functions in `tune.sample_from` may use, are seeded meanwhile and restored afterwards.

    Raises:
        SpaceError: Tune cannot expand it, or the sampler cannot draw a value of it.
    """
    from ray.tune.search.variant_generator import generate_variants

    rng = np.random.default_rng(sampling_seed)
    spaces: Iterator[Mapping[str, Any]] = itertools.repeat(param_space, num_samples)
    if sampler == "sobol":
        from lop_sweep.planning.sobol import drawn  # needs Ray and SciPy

        spaces = drawn(param_space, num_samples, sampling_seed)
    with _global_generators(sampling_seed):
        for space in spaces:
            found = generate_variants({"config": dict(space)}, random_state=rng)
            while True:
                try:
                    _, resolved = next(found)
                except StopIteration:
                    break
                except (Exception, SystemExit) as error:  # whatever Tune, or a sample_from function of the user, raises
                    problem = _problem(error, param_space)
                    raise SpaceError(f"Ray Tune cannot expand param_space: {problem}") from error
                yield resolved["config"]


@contextlib.contextmanager
def _global_generators(seed: int) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _problem(error: BaseException, param_space: Mapping[str, Any]) -> str:
    """Return why Tune failed: its own words, or what a sample_from function raised, and where."""
    from ray.tune.search.variant_generator import RecursiveDependencyError

    named = re.search(r"'config', '(\w+)'\)|^`(\w+)` recursively", str(error))
    field = next(filter(None, named.groups()), "") if named else ""
    if isinstance(error, RecursiveDependencyError):
        return (
            f"{field or 'a field'} depends on itself, by way of sample_from; give one of the fields values of its own"
        )
    cause = _raised_by_function(error)
    if cause is None:
        return single_line(error)
    where = _place(cause)
    function = f"the sample_from function of {field}" if field else "a sample_from function"
    return f"{function} failed with {type(cause).__name__}: {single_line(cause)} ({where}){_hint(cause, param_space)}"


def _raised_by_function(error: BaseException) -> BaseException | None:
    """Return what the function in a sample_from raised first; Tune calls it once more after some errors."""
    found, seen = None, error
    while True:
        if _first_of_user(seen) is not None:
            found = seen
        if seen.__context__ is None:
            return found
        seen = seen.__context__


def _first_of_user(error: BaseException) -> str | None:
    """Return the file of the function that Tune's sampler called, if the error passed through one."""
    files = [frame.filename for frame in extract_tb(error.__traceback__)]
    samplers = [place for place, file in enumerate(files) if Path(file).parts[-3:] == ("tune", "search", "sample.py")]
    return files[samplers[-1] + 1] if samplers and samplers[-1] + 1 < len(files) else None


def _place(error: BaseException) -> str:
    """Return the innermost line in the file of the function, which helpers elsewhere may have been called from."""
    file = _first_of_user(error)
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
    return f"{Path(file or '').name}, line {lines[-1]}"


def _hint(error: BaseException, param_space: Mapping[str, Any]) -> str:
    """Return how a function reads the other values, if the error looks as if it tried in another way."""
    if not isinstance(error, (KeyError, AttributeError, TypeError)):
        return ""
    name = error.args[0] if isinstance(error, KeyError) and error.args else getattr(error, "name", None)
    if isinstance(name, str) and name in param_space:
        return f"; the function gets a spec, not the configuration: write spec.config.{name}"
    return "; the function gets a spec: spec.config.depth holds the value of depth, if param_space gives one"
