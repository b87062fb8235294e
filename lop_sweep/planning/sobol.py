"""Quasi-random designs: the points of a scrambled Sobol' sequence in place of independent random ones.

Point i has one coordinate u in (0, 1) for each sampled field. Tune's own sampler of the field draws the value, with u
in place of a random number: so values have Tune's distribution, quantised and rounded as Tune does it. A function in
`tune.sample_from` has no distribution to take u from; Tune calls it with the point's other values.

Source: A. B. Owen, "Randomly permuted (t, m, s)-nets and (t, s)-sequences", 1995; `scipy.stats.qmc.Sobol`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from ray.tune.search.sample import Domain, Function, _BackwardsCompatibleNumpyRng
from scipy.special import ndtri
from scipy.stats import qmc

from lop_sweep.errors import SpaceError, single_line

_BITS = 30
"""Of a coordinate. They are multiples of 2^-30, and the middle of such an interval is taken: never 0, never 1."""


def drawn(param_space: Mapping[str, Any], num_samples: int, sampling_seed: int) -> Iterator[dict[str, Any]]:
    """Yield the parameter space once per point, with the point's values in place of what is sampled.

    The first points do not depend on the number of points, so a design can be extended.

    Raises:
        SpaceError: nothing is sampled, or a sampled value cannot be drawn at a quantile.
    """
    domains = {
        field: value
        for field, value in sorted(param_space.items())
        if isinstance(value, Domain) and not isinstance(value, Function)
    }
    _refuse_nested(param_space)
    if not domains:
        raise SpaceError(
            "sampler = 'sobol': param_space samples nothing; write tune.uniform, tune.loguniform, ... for a field, "
            "or leave sampler out"
        )
    for point in _points(num_samples, len(domains), sampling_seed):
        values = {
            field: _value(field, domain, float(u)) for (field, domain), u in zip(domains.items(), point, strict=True)
        }
        yield {**param_space, **values}


def _points(count: int, dimensions: int, seed: int) -> NDArray[np.float64]:
    """Return the first points of a sequence: (count, dimensions), each coordinate in (0, 1)."""
    engine = qmc.Sobol(dimensions, scramble=True, bits=_BITS, rng=np.random.default_rng(seed))
    points: NDArray[np.float64] = engine.random_base2(math.ceil(math.log2(count)))[:count]
    return points + 0.5 ** (_BITS + 1)


def _value(field: str, domain: Domain, u: float) -> Any:
    try:
        return domain.sample(random_state=_Quantile(u))
    except Exception as error:  # whatever a sampler of the user's own, or a wrong domain, raises
        raise SpaceError(
            f"{field}: cannot be drawn with sampler = 'sobol': {single_line(error)}; use one of Tune's primitives, "
            "or sampler = 'random'"
        ) from error


def _refuse_nested(param_space: Mapping[str, Any]) -> None:
    """Refuse values that are sampled only for some of the points: a coordinate would be left for the others."""
    for field, value in param_space.items():
        choices = value.get("grid_search") if isinstance(value, dict) else getattr(value, "categories", None)
        if isinstance(choices, (list, tuple)) and any(isinstance(one, (Domain, dict)) for one in choices):
            raise SpaceError(
                f"{field}: sampler = 'sobol' cannot draw a sampled value within a list of values; "
                "sample the field itself, or use sampler = 'random'"
            )


class _Quantile(_BackwardsCompatibleNumpyRng):
    """What Tune's samplers take for a generator: each of its draws is the quantile at u of the distribution."""

    def __init__(self, u: float) -> None:
        super().__init__()
        self._u = u

    def uniform(self, low: float, high: float, size: int) -> NDArray[np.float64]:
        return np.full(size, low + self._u * (high - low))

    def integers(self, low: int, high: int, size: int) -> NDArray[np.int64]:
        return np.full(size, low + math.floor(self._u * (high - low)))

    def choice(self, values: NDArray[Any], size: int) -> NDArray[Any]:
        return np.full(size, values[math.floor(self._u * len(values))])

    def normal(self, mean: float, sd: float, size: int) -> NDArray[np.float64]:
        return np.full(size, mean + sd * ndtri(self._u))

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"the sampler draws by {name!r}, which has no quantile")
