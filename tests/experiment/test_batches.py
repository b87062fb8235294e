"""A cell's numbers do not depend on its batch, to the bit, and a batch's size follows from the shape and the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frozen.experiment import Experiment as FrozenExperiment
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, outcome

from lop_sweep.components import Components, check, draw_tasks
from lop_sweep.components.batch_size import MAX_BATCH_BYTES, MAX_CELLS_PER_BATCH, batch_bytes, cells_per_batch
from lop_sweep.components.choice import KINDS
from lop_sweep.config import FIRST_RELEASE, CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.experiment import Experiment
from lop_sweep.experiment.network import TorchRng, build_network, draw_networks
from lop_sweep.metrics import METRICS
from lop_sweep.pack import evenly
from lop_sweep.registry import components
from lop_sweep.storage.serialization import load_state, save_state

MAX_CELLS = 64

dtypes = st.sampled_from(["float64", "float32"])

shapes = st.fixed_dictionaries(
    {
        "width": st.integers(1, 12) | st.integers(1, 100) | st.sampled_from([1, 8, 15, 16, 17, 32, 33, 64, 100]),
        "depth": st.integers(1, 6),
        "samples": st.integers(1, 50).map(lambda half: 2 * half),
        "input_dim": st.integers(2, 8),
        "steps": st.integers(1, 20),
        "batch_size": st.just(0) | st.integers(0, 9),
    }
)
"""What all cells of a pack share."""

differences = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**63 - 1),
        "lr": st.sampled_from([0.01, 0.3, 1.0, 1e300, 1.7e308]),
        "components": st.integers(1, 5),
        "delta": st.sampled_from([0.0, -1.0, 2.8]),
        "spread": st.sampled_from([0.0, 0.7]),
        "sigma": st.sampled_from([0.0, 0.22]),
        "relabel": st.sampled_from([0.0, 0.3, 1.0]),
        "corr_thresh": st.sampled_from([0.5, 0.95, 1.0]),
    }
)
"""What may differ between them. The highest learning rates diverge, some of them at a later task."""


def pack_of(shape: dict[str, Any], cells: list[dict[str, Any]]) -> list[CellConfig]:
    """Return cells of two tasks and a fresh network. Of wide ones there are fewer, so that an example takes seconds."""
    few = cells[: max(MAX_CELLS * 16 // (shape["width"] * shape["depth"]), 3)]
    return [CellConfig(tasks=2, fresh_baseline=1, **shape, **cell) for cell in few]


SHAPE = {"width": 9, "depth": 9, "samples": 18, "steps": 12, "tasks": 2, "fresh_baseline": 1}
CHOICES = [
    choice
    for choice in [
        *({kind: name} for kind in KINDS for name in components(kind)),
        *({"metrics": name} for name, metric in METRICS.items() if metric.optional),
        {"batch_size": 9},
    ]
    if outcome(lambda: check(CellConfig(**{**SHAPE, **choice})), ConfigError) is not None  # noqa: B023
]
"""Every component that goes with the default ones, and every optional metric."""


def everything(experiment: Any) -> dict[str, np.ndarray]:
    """Run an experiment; return its rows, its fresh baseline and its final state."""
    rows = [experiment.run_task() for _ in range(experiment.tasks)]
    found = {f"{name} {task}": values for task, row in enumerate(rows) for name, values in row.items()}
    found["fresh baseline"] = experiment.run_fresh_baseline()
    state = experiment.state_dict()
    found |= {f"{kind} {layer}": array for kind in ("weights", "biases") for layer, array in enumerate(state[kind])}
    found["tasks' streams"] = np.array([repr(one) for one in state["task_streams"]], dtype="U500")
    found["networks' streams"] = state["network_streams"]
    found["diverged at"] = np.asarray(state["diverged_at"])
    return found


def bits(values: np.ndarray) -> bytes:
    """Return the bytes of an array, with one kind of NaN: its sign is no number."""
    return (np.where(np.isnan(values), np.nan, values) if values.dtype.kind == "f" else values).tobytes()


def assert_equal_to_the_bit(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], cells: slice) -> None:
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert bits(values[cells]) == bits(expected[name]), name


@examples(40)
@given(shapes, st.lists(differences, min_size=2, max_size=MAX_CELLS), st.data(), dtypes)
def test_a_cell_does_not_depend_on_its_batch(
    shape: dict[str, Any], cells: list[dict[str, Any]], data: st.DataObject, dtype: str
) -> None:
    shape["batch_size"] = min(shape["batch_size"], shape["samples"])
    pack = pack_of(shape, cells)
    batch = data.draw(st.integers(1, len(pack)) | st.none(), label="batch")
    together = everything(Experiment(pack, dtype, batch=batch))
    for index, cell in enumerate(pack):
        assert_equal_to_the_bit(together, everything(Experiment([cell], dtype)), slice(index, index + 1))


@examples(60)
@given(shapes, st.lists(differences, min_size=1, max_size=MAX_CELLS), dtypes)
def test_any_batch_equals_the_frozen_engine(shape: dict[str, Any], cells: list[dict[str, Any]], dtype: str) -> None:
    """At learning rates up to 1. Beyond, a cell diverges earlier here, where the loss after a task is a metric too."""
    pack = pack_of({**shape, "batch_size": 0}, [{**cell, "lr": min(cell["lr"], 1.0)} for cell in cells])
    ours, frozen = Experiment(pack, dtype), FrozenExperiment(pack, dtype)
    for _ in range(2):
        row, expected = ours.run_task(), frozen.run_task()
        for name, metric in METRICS.items():
            if metric.since == FIRST_RELEASE:
                assert row[name].tobytes() == getattr(expected, name).tobytes(), name
    assert ours.run_fresh_baseline().tobytes() == frozen.run_fresh_baseline().tobytes()
    state, expected_state = ours.state_dict(), frozen.state_dict()
    for kind in ("weights", "biases"):
        assert [one.tobytes() for one in state[kind]] == [one.tobytes() for one in expected_state[kind]]
    assert state["diverged_at"] == np.asarray(expected_state["diverged_at"]).tolist()


IN_TURNS = [
    pytest.param(choice, dtype, marks=[pytest.mark.long] * ((index + place) % 2), id=f"{choice}-{dtype}")
    for index, choice in enumerate(CHOICES)
    for place, dtype in enumerate(("float64", "float32"))
]
"""Each choice in one precision every day, in turns, and in the other one in the long run."""


@pytest.mark.parametrize(("choice", "dtype"), IN_TURNS)
def test_no_component_depends_on_its_batch(choice: dict[str, Any], dtype: str) -> None:
    """Sums of eight numbers and more are rounded as memory is laid out, so steps, layers and units are nine or more."""
    base = {**SHAPE, **choice}
    pack = [CellConfig(seed=seed, lr=lr, **base) for seed, lr in enumerate((0.05, 0.01, 0.05, 0.1, 0.02))]
    together = everything(Experiment(pack, dtype, batch=5))
    for index, cell in enumerate(pack):
        assert_equal_to_the_bit(together, everything(Experiment([cell], dtype)), slice(index, index + 1))


@pytest.mark.parametrize("saved_at", [0, 1, 3, 4])
def test_a_state_resumes_in_batches_of_another_size(small: CellConfig, saved_at: int, tmp_path: Path) -> None:
    pack = [small.replace(seed=seed, lr=1.7e308 if seed == 3 else 0.2) for seed in range(7)]
    expected = everything(Experiment(pack))
    first = Experiment(pack, batch=3)
    rows = [first.run_task() for _ in range(saved_at)]
    save_state(tmp_path / "state", first.state_dict())
    second = Experiment(pack, batch=5)
    second.load_state_dict(load_state(tmp_path / "state"))
    rows += [second.run_task() for _ in range(small.tasks - saved_at)]
    for task, row in enumerate(rows):
        for name, values in row.items():
            assert values.tobytes() == expected[f"{name} {task}"].tobytes()
    assert second.run_fresh_baseline().tobytes() == expected["fresh baseline"].tobytes()


def test_a_diverged_cell_is_not_trained_any_more(small: CellConfig) -> None:
    pack = [small.replace(seed=1), small.replace(seed=2, lr=1.7e308), small.replace(seed=3)]
    experiment = Experiment(pack, batch=3)
    for _ in range(2):
        experiment.run_task()
    before = [array[1].tobytes() for array in experiment.state_dict()["weights"]]
    experiment.run_task()
    weights = experiment.state_dict()["weights"]
    assert experiment.diverged_at.tolist() == [0, 2, 0]
    assert [array[1].tobytes() for array in weights] == before
    assert all(np.isfinite(array[[0, 2]]).all() for array in weights)


def test_cells_beside_a_diverged_one_measure_the_same(small: CellConfig) -> None:
    """Metrics that look back to the initial weights, and control networks, know which cells remain."""
    metrics = ["distance_from_init", "distance_moved", "test_ce"]
    base = small.replace(metrics=metrics, control_every=2, optimizer="adam", reset_optimizer=True, lr=0.01)
    pack = [base.replace(seed=1), base.replace(seed=2, lr=1.7e308), base.replace(seed=3)]
    together = everything(Experiment(pack, batch=3))
    assert together["diverged at"][1] in (1, 2)
    for index, cell in enumerate(pack):
        assert_equal_to_the_bit(together, everything(Experiment([cell])), slice(index, index + 1))


def test_time_is_divided_among_the_cells_of_a_batch(small: CellConfig) -> None:
    experiment = Experiment([small.replace(seed=seed) for seed in range(6)], batch=3)
    experiment.run_task()
    seconds = experiment.seconds
    assert (seconds > 0).all()
    assert len(set(seconds[:3])) == len(set(seconds[3:])) == 1


@pytest.mark.parametrize("batch", [0, -1, 1.5, "2"])
def test_a_batch_has_at_least_one_cell(small: CellConfig, batch: Any) -> None:
    with pytest.raises(ConfigError, match=r"batch = .*: must be an integer of at least 1"):
        Experiment([small], batch=batch)


@given(st.integers(1, 300), st.integers(1, 50))
def test_batches_are_few_and_almost_equal(cells: int, most: int) -> None:
    everyone = tuple(CellConfig(seed=seed) for seed in range(cells))
    batches = evenly(everyone, most)
    assert sum(batches, ()) == everyone
    sizes = [len(batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1
    assert len(batches) == -(-cells // most)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"width": 8, "samples": 16, "depth": 1}, MAX_CELLS_PER_BATCH),
        ({"width": 32, "depth": 2}, 18),  # 2^20 // (8 * (96 * 64 + 32 * 32))
        ({"width": 32, "depth": 5}, 14),  # 2^22 // (4 * 8 * (96 * 64 + 32 * 32) + 8 * (96 * 36 + 128 + 96 * 33 + 32))
        ({"width": 100, "depth": 5}, 3),
        ({"width": 256, "depth": 5}, 1),
        ({"width": 5, "depth": 1, "samples": 10_000, "input_dim": 20, "batch_size": 1}, MAX_BATCH_BYTES // 6_563_120),
    ],
)
def test_the_size_of_a_batch_follows_from_shape_and_cache(fields: dict[str, Any], size: int) -> None:
    config = CellConfig(**fields)
    assert cells_per_batch(config, "float64", 2**20) == size
    assert cells_per_batch(config, "float32", 2**20) >= size
    assert cells_per_batch(config, "float64", 2**21) >= size
    assert cells_per_batch(config, "float64", 1) == 1


@given(shapes, st.integers(2**16, 2**24), dtypes)
def test_a_batch_takes_bounded_memory(shape: dict[str, Any], cache: int, dtype: str) -> None:
    config = CellConfig(**{**shape, "batch_size": min(shape["batch_size"], shape["samples"])})
    size = cells_per_batch(config, dtype, cache)
    assert 1 <= size <= MAX_CELLS_PER_BATCH
    assert size == 1 or size * batch_bytes(config, dtype) <= MAX_BATCH_BYTES


@examples(200)
@given(st.lists(differences, min_size=3, max_size=9), st.integers(2, 7), st.integers(1, 60))
def test_tasks_drawn_together_are_those_drawn_one_by_one(cells: list[dict[str, Any]], dim: int, half: int) -> None:
    configs = [CellConfig(input_dim=dim, samples=2 * half, **cell) for cell in cells]
    stream = Components.of(configs[0]).stream
    ours, theirs = ([np.random.default_rng(config.seed) for config in configs] for _ in range(2))
    states, their_states = (list(map(stream.init, configs, rngs)) for rngs in (ours, theirs))
    for _ in range(3):
        tasks = draw_tasks(stream, configs, states, ours)
        for cell, task in enumerate(tasks):
            alone = stream.draw(configs[cell], their_states[cell], theirs[cell])
            assert task.points.tobytes() == alone.points.tobytes()
            assert task.labels.tobytes() == alone.labels.tobytes()
            assert task.source["centres"].tobytes() == alone.source["centres"].tobytes()
    assert [rng.bit_generator.state for rng in ours] == [rng.bit_generator.state for rng in theirs]


@pytest.mark.parametrize("init", components("init"))
@pytest.mark.parametrize("activation", components("activation"))
def test_networks_drawn_together_are_those_of_the_reference(init: str, activation: str) -> None:
    config = CellConfig(width=7, depth=3, init=init, activation=activation)
    ours, theirs = ([TorchRng(seed) for seed in range(3)] for _ in range(2))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for _ in range(2):
        layers = draw_networks(config, ours)
        for cell, rng in enumerate(theirs):
            for (weights, biases), layer in zip(layers, build_network(config, rng).layers(), strict=True):
                assert np.array_equal(weights[cell], layer.weight.detach().numpy().T)
                assert np.array_equal(biases[cell, 0], layer.bias.detach().numpy())
    assert all(torch.equal(a.state, b.state) for a, b in zip(ours, theirs, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
