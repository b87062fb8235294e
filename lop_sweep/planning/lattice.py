"""Ranges of a parameter space as fine axes, for sweeps that choose their cells.

A range is refined as far as its values lie apart: at a sharp edge a finer axis helps, and more seeds do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lop_sweep.errors import SpaceError

DIGITS = 5
"""Significant digits of the values between the ends, which should look as if written by hand."""

_TINY = 1e-9
"""Quotients that miss a whole number by less are whole: 0.7 / 0.1 is below 7."""


def on_lattice(param_space: Mapping[str, Any], values: int) -> dict[str, Any]:
    """Return a parameter space with an axis in place of each range: no value is drawn at random any more.

    `tune.uniform` and `tune.loguniform` become that many values, with both ends; `tune.randint` and quantised ranges
    theirs, or that many of them; `tune.choice` its categories. Grids and `tune.sample_from` stay.

    Args:
        param_space: a Tune parameter space.
        values: number of values along a range, at least 2.

    Raises:
        SpaceError: a distribution has no ends, such as `tune.randn`.
    """
    from ray.tune.search.sample import Categorical, Domain, Function

    found = {}
    for field, value in param_space.items():
        if isinstance(value, Categorical):
            found[field] = {"grid_search": list(value.categories)}
        elif isinstance(value, Domain) and not isinstance(value, Function):
            found[field] = {"grid_search": _axis(field, value, values)}
        else:
            found[field] = value
    return found


def _axis(field: str, domain: Any, count: int) -> list[Any]:
    from ray.tune.search.sample import Float, Integer, LogUniform, Quantized

    sampler = domain.get_sampler()
    step = 0.0
    if isinstance(sampler, Quantized):
        sampler, step = sampler.get_sampler(), float(sampler.q)
    low, high = getattr(domain, "lower", -np.inf), getattr(domain, "upper", np.inf)
    if not isinstance(domain, (Float, Integer)) or not np.isfinite([low, high]).all():
        name = type(sampler).__name__.strip("_")
        raise SpaceError(
            f"{field}: its distribution ({name}) has no ends, so it cannot be refined; "
            "use tune.uniform or tune.loguniform"
        )
    if isinstance(domain, Integer):
        high, step = high - (step <= 1), max(step, 1.0)  # Tune leaves the upper end out if nothing is quantised
    spaced = np.geomspace if isinstance(sampler, LogUniform) else np.linspace
    axis = spaced(low, high, count)
    if step:
        first, last = np.ceil(low / step - _TINY), np.floor(high / step + _TINY)
        axis = np.clip(np.round(axis / step), first, last) * step
    if isinstance(domain, Integer):
        return sorted({int(value) for value in axis})
    rounded = [float(f"{value:.{DIGITS}g}") for value in axis]
    return sorted(set(rounded) if step else {float(low), *rounded[1:-1], float(high)})
