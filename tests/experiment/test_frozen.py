"""Today's experiment equals the frozen one of version 0.1.0 to the bit, rows, fresh baseline and states."""

from __future__ import annotations

import numpy as np
import pytest
from frozen.experiment import Experiment as FrozenExperiment
from golden_sets import GOLDEN, golden_config

from lop_sweep.config import FIRST_RELEASE, CellConfig
from lop_sweep.experiment import Experiment
from lop_sweep.metrics import METRICS

FROZEN_METRICS = [name for name, metric in METRICS.items() if metric.since == FIRST_RELEASE]
SETS = sorted(path.name for path in GOLDEN.iterdir() if (path / "config.json").exists())


def assert_equal_to_the_bit(cells: list[CellConfig], dtype: str = "float64") -> None:
    ours, frozen = Experiment(cells, dtype), FrozenExperiment(cells, dtype)
    for _ in range(cells[0].tasks):
        row, expected = ours.run_task(), frozen.run_task()
        for name in FROZEN_METRICS:
            assert row[name].tobytes() == getattr(expected, name).tobytes(), name
    assert ours.run_fresh_baseline().tobytes() == frozen.run_fresh_baseline().tobytes()
    np.testing.assert_array_equal(ours.diverged_at, frozen.diverged_at)
    weights, expected_weights = ours.state_dict()["weights"], frozen.state_dict()["weights"]
    assert [layer.tobytes() for layer in weights] == [layer.tobytes() for layer in expected_weights]


@pytest.mark.parametrize("name", SETS)
def test_golden_configurations_are_unchanged(name: str) -> None:
    config = golden_config(name)
    assert_equal_to_the_bit([config.replace(tasks=min(config.tasks, 8), fresh_baseline=min(config.fresh_baseline, 2))])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_packs_are_unchanged_where_some_cells_diverge(dtype: str, small: CellConfig) -> None:
    cells = [small.replace(seed=seed, lr=lr) for seed in range(2) for lr in (0.1, 2.0, 1.7e308)]
    assert_equal_to_the_bit(cells, dtype)


def random_config(number: int) -> CellConfig:
    """A small cell in which every field of the first release is drawn."""
    rng = np.random.default_rng(number)
    return CellConfig(
        seed=int(rng.integers(2**31)),
        input_dim=int(rng.integers(2, 7)),
        width=int(rng.integers(1, 41)),
        depth=int(rng.integers(1, 6)),
        samples=2 * int(rng.integers(1, 40)),
        components=int(rng.integers(1, 6)),
        lr=float(np.exp(rng.uniform(np.log(0.003), np.log(3)))),
        steps=int(rng.integers(1, 13)),
        fresh_steps=int(rng.integers(1, 13)),
        tasks=3,
        delta=float(rng.uniform(-3, 3)),
        spread=float(rng.uniform(0, 2)),
        sigma=float(rng.uniform(0, 1)),
        relabel=float(rng.choice([0.0, rng.random()])),
        corr_thresh=float(rng.random()),
        fresh_baseline=2,
    )


@pytest.mark.parametrize("first", range(0, 200, 40))
def test_random_configurations_are_unchanged(first: int) -> None:
    for number in range(first, first + 40):
        assert_equal_to_the_bit([random_config(number)], ("float64", "float32")[number % 2])
