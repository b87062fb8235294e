"""Sampled search spaces: every point at every seed, and quasi-random points with Tune's distributions."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune
from ray.tune.search.sample import Domain
from scipy.stats import kstest, qmc

from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError, SpaceError
from lop_sweep.planning.sobol import drawn
from lop_sweep.planning.space import SearchSpace, expand_space
from lop_sweep.planning.space_file import load_space

DOCS = Path(__file__).parents[2] / "docs"

RANDOM = {"lr": tune.loguniform(0.01, 1.0), "width": tune.randint(4, 400)}


def points(space: SearchSpace) -> dict[CellConfig, set[int]]:
    """Return the seeds of each configuration."""
    found: dict[CellConfig, set[int]] = {}
    for cell in space.cells:
        found.setdefault(cell.replace(seed=0), set()).add(cell.seed)
    return found


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_seeds_repeat_every_sampled_point(sampler: str) -> None:
    """In contrast to a grid of seeds, for each of which Tune samples anew."""
    grid = SearchSpace({**RANDOM, "seed": tune.grid_search([0, 1])}, num_samples=15)
    assert {len(seeds) for seeds in points(grid).values()} == {1}
    once = SearchSpace(RANDOM, num_samples=15, sampler=sampler)
    space = SearchSpace(RANDOM, num_samples=15, sampler=sampler, seeds=8)
    assert len(space.cells) == 15 * 8
    assert points(space) == {cell.replace(seed=0): set(range(8)) for cell in once.cells}


def test_seeds_of_a_grid_are_those_of_a_seed_axis() -> None:
    """With the same cells in the same order."""
    grid = {"lr": tune.grid_search([0.1, 0.4]), "width": tune.grid_search([8, 9]), "tasks": 5}
    for seeds, values in ((3, [0, 1, 2]), ([7, 2], [7, 2]), (np.array([1, 4]), [1, 4]), (range(2), [0, 1])):
        space = SearchSpace(grid, seeds=seeds)  # type: ignore[arg-type]
        assert space.cells == SearchSpace({**grid, "seed": tune.grid_search(values)}).cells
    mixed = {**grid, "delta": tune.sample_from(lambda spec: 10 * spec.config.lr)}
    assert set(SearchSpace(mixed, seeds=2).cells) == set(SearchSpace({**mixed, "seed": tune.grid_search([0, 1])}).cells)


@pytest.mark.parametrize("content", [RANDOM, {"lr": tune.grid_search([0.1, 0.4])}])
@pytest.mark.parametrize(("seeds", "expected"), [(1, 160), ([3, 4, 5], 54), (8, 20), (100, 5)])
def test_an_automatic_baseline_counts_seeds(content: dict[str, Any], seeds: Any, expected: int) -> None:
    space = SearchSpace({**content, "fresh_baseline": "auto"}, num_samples=3, seeds=seeds)
    assert {cell.fresh_baseline for cell in space.cells} == {expected}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 0}, "seeds = 0: must be a number of seeds, for example 8, or a list of them"),
        ({"seeds": True}, "seeds = True: must be a number"),
        ({"seeds": 2.0}, "seeds = 2.0: must be a number"),
        ({"seeds": []}, r"seeds = \[\]: must be a number"),
        ({"seeds": "012"}, "seeds = '012': must be a number"),
        ({"seeds": 10**9}, "seeds = 1000000000: must be .* at most 4,000,000"),
        ({"seeds": 10**5000}, "must be a number of seeds"),
        ({"seeds": [0, -1]}, "seeds holds -1: must be integers of at least 0"),
        ({"seeds": [0, [1]]}, r"seeds holds \[1\]: must be integers"),
        ({"seeds": [0, 2**63]}, "seed = 9223372036854775808: must be less than or equal to"),
        ({"seeds": 4_000_000, "num_samples": 2}, "8,000,000 cells: must be 1 to 4,000,000"),
        ({"num_samples": 10**5000}, "must be at most 4,000,000"),
        ({"sampler": "sobo"}, r"sampler = 'sobo' \(did you mean 'sobol'\?\): must be one of random, sobol"),
        ({"sampler": 3}, "sampler = 3: must be one of"),
        ({"sampler": None}, "sampler = None: must be one of"),
        ({"cells": [CellConfig()], "seeds": 3}, "are for a param_space; cells are as they are"),
        ({"cells": [CellConfig()], "num_samples": 3}, "are for a param_space; cells are as they are"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((SpaceError, ConfigError), match=message):
        SearchSpace(**({} if "cells" in settings else {"param_space": RANDOM}), **settings)


def test_two_sources_of_seeds_are_refused() -> None:
    for own in (3, tune.grid_search([1, 2]), tune.randint(0, 9)):
        with pytest.raises(SpaceError, match=r"param_space has seeds of its own \('seed'\); leave one of them out"):
            SearchSpace({**RANDOM, "seed": own}, seeds=3)


DOMAINS: dict[str, Domain] = {
    "uniform": tune.uniform(-1, 3),
    "quniform": tune.quniform(0.1, 0.5, 0.1),
    "loguniform": tune.loguniform(1e-3, 1),
    "qloguniform": tune.qloguniform(0.1, 10, 0.1),
    "randn": tune.randn(2, 0.5),
    "qrandn": tune.qrandn(2, 5, 0.5),
    "randint": tune.randint(4, 12),
    "qrandint": tune.qrandint(10, 50, 10),
    "lograndint": tune.lograndint(1, 100),
    "qlograndint": tune.qlograndint(2, 64, 2),
    "choice": tune.choice(["a", "b", "c"]),
    "bools": tune.choice([False, True]),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_quasi_random_values_have_tunes_distribution(name: str) -> None:
    """By the largest distance of both distribution functions, over 1,024 points and 20,000 of Tune's."""
    domain, count = DOMAINS[name], 1024
    ours = [point["x"] for point in drawn({"x": domain}, count, 0)]
    theirs = domain.sample(size=20_000, random_state=np.random.default_rng(1))
    assert {type(value) for value in ours} == {type(domain.sample(random_state=0))}
    order = {value: place for place, value in enumerate(sorted({*ours, *theirs}))}
    a, b = ([order[value] for value in values] for values in (ours, theirs))
    assert set(ours) <= set(theirs) or len(set(theirs)) > 60  # of few values, 20,000 draws miss none
    distance = kstest(a, b).statistic
    assert distance < 1.7 / math.sqrt(20_000) + 2 / count


def test_quasi_random_points_fill_the_space_evenly() -> None:
    """In each of 8 equal intervals of each field, and of 16 equal squares, there are equally many of 64 points."""
    space = {"lr": tune.loguniform(1e-3, 1), "delta": tune.uniform(0, 4)}
    cells = expand_space(space, 64, 3, "sobol")
    unit = np.array([((math.log10(cell.lr) + 3) / 3, cell.delta / 4) for cell in cells])
    for column in unit.T:
        assert set(Counter((column * 8).astype(int)).values()) == {8}
    assert set(Counter(map(tuple, (unit * 4).astype(int))).values()) == {4}
    alike = expand_space(space, 64, 3)
    random = np.array([((math.log10(cell.lr) + 3) / 3, cell.delta / 4) for cell in alike])
    assert qmc.discrepancy(unit) < qmc.discrepancy(random) / 5


def test_quasi_random_designs_are_seeded_and_extended() -> None:
    """A larger design begins with the smaller one, even if its size is not a power of 2. Fields may be reordered."""
    first = expand_space(RANDOM, 12, 5, "sobol")
    assert first == expand_space(dict(reversed(RANDOM.items())), 12, 5, "sobol")
    assert not set(first) & set(expand_space(RANDOM, 12, 6, "sobol"))
    assert expand_space(RANDOM, 31, 5, "sobol")[:12] == first
    assert [(round(cell.lr, 6), cell.width) for cell in first[:4]] == [
        (0.047259, 290),
        (0.760108, 57),
        (0.175848, 322),
        (0.028366, 137),
    ]


def test_each_point_of_a_grid_has_the_same_quasi_random_points() -> None:
    """So the values of the grid are compared at the same places, and further ones leave the others as they are."""
    space = {**RANDOM, "activation": tune.grid_search(["tanh", "relu"])}
    cells = expand_space(space, 8, 0, "sobol")
    by_activation = {
        name: {(cell.lr, cell.width) for cell in cells if cell.activation == name} for name in ("tanh", "relu")
    }
    assert by_activation["tanh"] == by_activation["relu"]
    assert len(by_activation["tanh"]) == 8


def test_more_random_samples_begin_with_the_same_points() -> None:
    space = {
        **RANDOM,
        "delta": tune.sample_from(lambda spec: np.random.uniform(0, 1)),
        "depth": tune.grid_search([1, 2]),
    }
    assert expand_space(space, 9)[:10] == expand_space(space, 5)


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_the_documented_conditional_space_has_conditional_values(tmp_path: Path, sampler: str) -> None:
    """Each optimizer has its own range of rates, and momentum varies only where the optimizer has it."""
    page = (DOCS / "random-search.md").read_text().partition("## Conditional values")[2]
    (tmp_path / "conditional.py").write_text(
        re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0] + f"sampler = {sampler!r}\n"
    )
    cells = load_space(tmp_path / "conditional.py").cells
    assert len(cells) == 24
    lowest = {"sgd": 0.05, "momentum": 0.005, "adam": 0.0005}
    assert {cell.optimizer for cell in cells} == set(lowest)
    for cell in cells:
        assert 1 <= cell.lr / lowest[cell.optimizer] <= 100
        assert (cell.momentum == CellConfig().momentum) == (cell.optimizer != "momentum")
    assert len({cell.lr for cell in cells}) == 12
    assert {cell.seed for cell in cells} == {0, 1}


def test_functions_see_the_quasi_random_values() -> None:
    space = {
        "depth": tune.choice([1, 2, 4]),
        "lr": tune.sample_from(lambda spec: 0.1 / spec.config.depth),
        "delta": tune.sample_from(lambda: np.random.uniform(0, 1)),
    }
    cells = expand_space(space, 16, 0, "sobol")
    assert {(cell.depth, cell.lr) for cell in cells} == {(1, 0.1), (2, 0.05), (4, 0.025)}
    assert len({cell.delta for cell in cells}) == 16
    assert cells == expand_space(space, 16, 0, "sobol")


class Strange(Domain):
    """A distribution without quantiles."""

    def sample(self, config: Any = None, size: int = 1, random_state: Any = None) -> Any:
        return random_state.standard_gamma(1.0)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"depth": tune.grid_search([1, 2])}, "sampler = 'sobol': param_space samples nothing; write tune.uniform"),
        ({"lr": tune.sample_from(lambda spec: 0.1)}, "param_space samples nothing"),
        ({"lr": tune.grid_search([0.1, tune.uniform(0.1, 0.2)])}, "lr: sampler = 'sobol' cannot draw a sampled"),
        ({"lr": tune.choice([0.1, tune.uniform(0.1, 0.2)])}, "lr: sampler = 'sobol' cannot draw a sampled"),
        ({"lr": Strange()}, "lr: cannot be drawn with sampler = 'sobol': the sampler draws by 'standard_"),
    ],
)
def test_what_has_no_quantiles_is_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        expand_space(space, 4, 0, "sobol")
