"""Ranges as fine axes: each of Tune's distributions becomes values that it can draw, its ends among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune

from lop_sweep.errors import SpaceError
from lop_sweep.planning.lattice import DIGITS, on_lattice
from lop_sweep.planning.space_file import load_space


def axis(domain: Any, values: int) -> list[Any]:
    found: list[Any] = on_lattice({"lr": domain}, values)["lr"]["grid_search"]
    return found


@pytest.mark.parametrize(
    ("domain", "values", "expected"),
    [
        (tune.uniform(0.0, 1.0), 5, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (tune.uniform(-1.0, 1.0), 2, [-1.0, 1.0]),
        (tune.loguniform(0.01, 100), 5, [0.01, 0.1, 1.0, 10.0, 100.0]),
        (tune.quniform(0.0, 1.0, 0.25), 65, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (tune.quniform(0.1, 0.7, 0.1), 65, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        (tune.quniform(0.0, 1.0, 0.25), 3, [0.0, 0.5, 1.0]),
        (tune.qloguniform(0.5, 8.0, 0.5), 5, [0.5, 1.0, 2.0, 4.0, 8.0]),
        (tune.randint(2, 7), 65, [2, 3, 4, 5, 6]),
        (tune.randint(0, 101), 5, [0, 25, 50, 75, 100]),
        (tune.lograndint(1, 65), 7, [1, 2, 4, 8, 16, 32, 64]),
        (tune.lograndint(1, 5), 65, [1, 2, 3, 4]),
        (tune.qrandint(0, 10, 5), 65, [0, 5, 10]),
        (tune.qrandint(3, 6), 65, [3, 4, 5]),
        (tune.qlograndint(2, 16, 2), 4, [2, 4, 8, 16]),
        (tune.choice([0.3, 0.1]), 65, [0.3, 0.1]),
    ],
)
def test_values_of_a_distribution(domain: Any, values: int, expected: list[Any]) -> None:
    found = axis(domain, values)
    assert found == pytest.approx(expected, abs=1e-12)
    assert [type(value) for value in found] == [type(value) for value in expected]


def test_values_have_few_digits_and_the_exact_ends() -> None:
    low, high = 0.0123456789, 3.2
    found = axis(tune.loguniform(low, high), 65)
    assert len(found) == 65
    assert (found[0], found[-1]) == (low, high)
    assert all(float(f"{value:.{DIGITS}g}") == value for value in found[1:-1])
    np.testing.assert_allclose(np.diff(np.log(found)), np.log(high / low) / 64, rtol=0.01)


@pytest.mark.parametrize(
    "domain",
    [
        tune.quniform(0.3, 2.1, 0.3), tune.qloguniform(0.1, 6.4, 0.1), tune.randint(1, 9), tune.lograndint(1, 9),
        tune.qrandint(1, 10, 3), tune.qlograndint(4, 12, 4),
    ],
    ids=lambda domain: type(domain.get_sampler()).__name__,
)  # fmt: skip
def test_values_are_those_that_tune_draws(domain: Any) -> None:
    rng = np.random.RandomState(0)
    drawn = {round(float(domain.sample(random_state=rng)), 6) for _ in range(3000)}
    assert {round(float(value), 6) for value in axis(domain, 400)} == drawn


def test_what_is_no_range_stays() -> None:
    function = tune.sample_from(lambda: 3)
    space = {"depth": tune.grid_search([1, 2]), "width": function, "steps": 5}
    assert on_lattice(space, 9) == space


@pytest.mark.parametrize("domain", [tune.randn(1, 1), tune.qrandn(1, 1, 0.5)])
def test_a_distribution_without_ends_is_refused(domain: Any) -> None:
    with pytest.raises(
        SpaceError, match=r"lr: its distribution \(Normal\) has no ends, so it cannot be refined; use tune\.uniform"
    ) as caught:
        on_lattice({"lr": domain}, 9)
    assert "\n" not in str(caught.value)


def test_a_space_is_loaded_on_a_lattice(tmp_path: Path) -> None:
    """Settings of drawing have no effect; seeds do."""
    path = tmp_path / "space.py"
    path.write_text(
        "from ray import tune\n"
        "param_space = {'lr': tune.loguniform(0.05, 3.2), 'depth': tune.grid_search([1, 2])}\n"
        "num_samples = 50\nsampler = 'sobol'\nseeds = 3\n"
    )
    space = load_space(path, lattice=7)
    assert len(space.cells) == 7 * 2 * 3
    assert sorted({cell.lr for cell in space.cells}) == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    assert {cell.seed for cell in space.cells} == {0, 1, 2}
    assert len({cell.lr for cell in load_space(path).cells}) > 40


def test_a_space_that_cannot_be_refined_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "space.py"
    path.write_text("from ray import tune\nparam_space = {'lr': tune.randn(1, 1)}\n")
    with pytest.raises(SpaceError, match=r"space\.py: lr: .* has no ends"):
        load_space(path, lattice=7)
