"""Optional metrics against independent oracles: closed forms, numpy.linalg, autograd point by point, full Hessians."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import stateful_components  # noqa: F401
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lop_sweep.config import CellConfig
from lop_sweep.experiment import Experiment, ReferenceExperiment
from lop_sweep.experiment.backends import NumpyDevice, make_device
from lop_sweep.experiment.batch import CellBatch
from lop_sweep.experiment.reference import ReferenceTrainer
from lop_sweep.metrics import (
    METRICS,
    dead_units,
    dormant_units,
    feature_count,
    frozen_units,
    gradient_variance,
    largest_curvature,
    measured_with,
    needed,
    optional_metrics,
    stable_rank,
    stack_metrics,
)
from lop_sweep.metrics.arrays import distance, mean_of_steps, norm
from lop_sweep.registry import components

CONFIG = CellConfig(seed=1, width=5, depth=2, input_dim=3, samples=12, lr=0.3, steps=10, tasks=4, fresh_baseline=0)


def row_of(metrics: Sequence[str], tasks: int = 3, **fields: Any) -> dict[str, np.ndarray]:
    """The metrics of the last of some tasks."""
    experiment = Experiment([CONFIG.replace(metrics=metrics, **fields)])
    for _ in range(tasks):
        row = experiment.run_task()
    return {name: values[0] for name, values in row.items()}


def trainer_before(task: int, **fields: Any) -> tuple[ReferenceTrainer, Any]:
    """The reference's network before this task of the sequence, and the task."""
    reference = ReferenceExperiment(CONFIG.replace(**fields))
    for _ in range(task - 1):
        reference.run_task()
    return reference._trainer, reference._draw_task()


@settings(deadline=None)  # the first decomposition of a process takes longer
@given(st.integers(2, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_stable_rank_is_that_of_numpys_norms(points: int, features: int, seed: int) -> None:
    a = np.random.default_rng(seed).normal(size=(3, points, features)) * 10.0 ** (seed % 7 - 3)
    expected = [np.linalg.norm(one) ** 2 / np.linalg.norm(one, 2) ** 2 for one in a]
    np.testing.assert_allclose(stable_rank(a), expected, rtol=1e-12)


def test_stable_rank_in_closed_form() -> None:
    assert stable_rank(np.eye(7)[None]) == pytest.approx(7, rel=1e-14)
    assert stable_rank(1e200 * np.diag([2.0, 1.0, 1.0])) == pytest.approx(1.5, rel=1e-14)
    assert np.array_equal(stable_rank(np.zeros((2, 4, 6))), [1.0, 1.0])


def test_dead_dormant_and_frozen_units_in_closed_form() -> None:
    a = np.zeros((1, 100, 4))
    a[0, :, 0] = np.linspace(-1, 1, 100)
    a[0, 0, 1] = 1e-300  # not dead
    a[0, :, 2] = 0.03
    sizes = np.abs(a[0]).mean(axis=0)
    assert dead_units(a)[0] == 1 / 4
    assert dormant_units(a)[0] == np.mean(sizes / sizes.mean() <= 0.1) == 2 / 4
    assert dormant_units(a, score=0.3)[0] == 3 / 4
    assert dormant_units(1e300 * a)[0] == dormant_units(1e-290 * a)[0] == 2 / 4
    assert dormant_units(np.zeros((2, 5, 3))).tolist() == dead_units(np.zeros((2, 5, 3))).tolist() == [1.0, 1.0]
    slopes = np.ones((1, 100, 4))
    slopes[0, :99, 0], slopes[0, :98, 1], slopes[0, :, 2], slopes[0, :, 3] = 0.0, 0.0, 0.05, -0.049
    assert frozen_units(slopes)[0] == 2 / 4  # 98 of 100 points are not more than 98%, and 0.05 is not below 0.05


@pytest.mark.parametrize("activation", ["tanh", "test_silu"])
def test_frozen_units_have_the_slopes_of_autograd(activation: str) -> None:
    slopes = []
    reference = ReferenceExperiment(CONFIG.replace(activation=activation, lr=3.0, metrics=["frozen_units"]))
    for _ in range(3):
        row = reference.run_task()
    task = ReferenceExperiment(CONFIG.replace(activation=activation))
    task = [task._draw_task() for _ in range(3)][-1]
    network = reference._trainer.network
    for z in network(torch.from_numpy(task.points))[1]:
        each = torch.func.vmap(torch.func.vmap(torch.func.grad(network.activation)))(z.detach())
        slopes.append(float(((each.abs() < 0.05).double().mean(dim=0) > 0.98).double().mean()))
    np.testing.assert_array_equal(row["frozen_units"][0], slopes)
    ours = row_of(["frozen_units"], activation=activation, lr=3.0)["frozen_units"]
    np.testing.assert_array_equal(ours, slopes)
    assert 0 < max(slopes) < 1


def test_norms_and_distances_are_numpys() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 4, 5)), rng.normal(size=(3, 1, 5))]
    others = [rng.normal(size=array.shape) for array in arrays]
    for index in range(3):
        flat, other = (np.concatenate([array[index].ravel() for array in both]) for both in (arrays, others))
        assert norm(arrays)[index] == pytest.approx(np.linalg.norm(flat), rel=1e-14)
        assert distance(arrays, others)[index] == pytest.approx(np.linalg.norm(flat - other), rel=1e-14)
    assert norm([np.full((1, 4), 1e300)])[0] == pytest.approx(2e300)
    assert norm([np.zeros((2, 3))]).tolist() == [0, 0]
    steps = rng.random((40, 7))
    np.testing.assert_allclose(mean_of_steps(steps), steps.mean(axis=0), rtol=1e-14)


def test_distances_follow_the_weights_that_a_checkpoint_has() -> None:
    metrics = ["distance_moved", "distance_from_init", "weight_norm"]
    experiment = Experiment([CONFIG.replace(metrics=metrics)])
    initial = before = flat(experiment)
    for _ in range(3):
        row, now = experiment.run_task(), flat(experiment)
        assert row["distance_moved"][0] == pytest.approx(np.linalg.norm(now - before), rel=1e-13)
        assert row["distance_from_init"][0] == pytest.approx(np.linalg.norm(now - initial), rel=1e-13)
        weights = experiment.state_dict()["weights"][: CONFIG.depth]
        np.testing.assert_allclose(row["weight_norm"][0], [np.linalg.norm(one[0]) for one in weights], rtol=1e-13)
        before = now


def flat(experiment: Experiment) -> np.ndarray:
    state = experiment.state_dict()
    return np.concatenate([array.ravel() for array in (*state["weights"], *state["biases"])])


def test_online_accuracy_counts_right_answers_before_each_update() -> None:
    """With a single update per task the counted network is the one that the task begins with."""
    trainer, task = trainer_before(3, steps=1)
    with torch.no_grad():
        logits = trainer.network(torch.from_numpy(task.points))[0].numpy()
    expected = np.mean((logits > 0) == (task.labels == 1))
    assert row_of(["online_accuracy"], steps=1)["online_accuracy"] == expected
    fields = {"tasks": 1, "lr": 0.02, "relabel": 0.3}
    rows = [row_of(["online_accuracy"], steps=steps, **fields)["online_accuracy"] for steps in (4, 5)]
    last = 5 * rows[1] - 4 * rows[0]
    assert last * CONFIG.samples == pytest.approx(round(last * CONFIG.samples))
    assert 0 < rows[0] < 1


@pytest.mark.parametrize("batch_size", [0, 3])
def test_the_gradient_norm_is_of_all_parameters_and_the_first_update(batch_size: int) -> None:
    fields = {"batch_size": batch_size}
    trainer, task = trainer_before(3, **fields)
    reference = ReferenceExperiment(CONFIG.replace(**fields))
    first = slice(None)
    if batch_size:
        order = reference._order(task, 3)
        assert order is not None
        first = order[0]
    x, y = torch.from_numpy(task.points)[first], torch.from_numpy(task.labels)[first]
    loss = trainer.loss_of(trainer.network(x)[0], y)
    squares = [float(one.square().sum()) for one in torch.autograd.grad(loss, list(trainer.network.parameters()))]
    assert row_of(["gradient_norm"], **fields)["gradient_norm"] == pytest.approx(sum(squares) ** 0.5, rel=1e-10)


@pytest.mark.parametrize("fields", [{}, {"batch_size": 3}, {"activation": "test_silu", "depth": 1}])
def test_gradient_variance_is_that_of_every_points_own_gradient(fields: dict[str, Any]) -> None:
    """Each point's gradient is taken by autograd from its own loss alone."""
    trainer, task = trainer_before(3, **fields)
    gradients = []
    for x, y in zip(torch.from_numpy(task.points), torch.from_numpy(task.labels), strict=True):
        loss = trainer.loss_of(trainer.network(x[None])[0], y[None])
        parts = torch.autograd.grad(loss, list(trainer.network.parameters()))
        gradients.append(torch.cat([part.flatten() for part in parts]).numpy())
    expected = np.trace(np.cov(np.array(gradients), rowvar=False, bias=True))
    ours = row_of(["gradient_variance"], **fields)["gradient_variance"]
    assert ours == pytest.approx(expected, rel=1e-10)


def test_points_that_agree_have_no_variance() -> None:
    inputs, errors = np.full((2, 9, 4), 0.3), np.full((2, 9, 5), -0.7)
    assert gradient_variance([(inputs, errors)]) == pytest.approx([0, 0], abs=1e-12)
    assert (gradient_variance([(inputs, errors)]) >= 0).all()
    assert gradient_variance([(inputs[:, :1], errors[:, :1])]) == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"depth": 1, "width": 1, "input_dim": 2}, {"lr": 1.5}, {"batch_size": 1},
        *({"activation": name} for name in components("activation")),
        {"activation": "relu", "norm": "layer_norm_affine"}, {"activation": "crelu", "norm": "batch_norm"},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("task", [1, 3])
def test_sharpness_is_the_hessians_largest_eigenvalue(fields: dict[str, Any], task: int) -> None:
    trainer, points = trainer_before(task, **fields)
    shapes = [tuple(one.shape) for one in trainer.network.parameters()]
    names = [name for name, _ in trainer.network.named_parameters()]
    x, y = torch.from_numpy(points.points), torch.from_numpy(points.labels)

    def loss(vector: torch.Tensor) -> torch.Tensor:
        parts = [part.reshape(shape) for part, shape in zip(vector.split([int(np.prod(s)) for s in shapes]), shapes)]  # noqa: B905
        logits, _, _ = torch.func.functional_call(trainer.network, dict(zip(names, parts, strict=True)), (x,))
        return trainer.loss_of(logits, y)

    vector = torch.cat([one.detach().flatten() for one in trainer.network.parameters()])
    expected = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, vector))[-1]
    ours = row_of(["sharpness"], tasks=task, **fields)["sharpness"]
    assert ours == pytest.approx(float(expected), rel=1e-6)


def test_a_pre_activation_at_a_kink_has_no_curvature() -> None:
    """New biases are zero, so a point whose units of one layer are all off is at the kink of every unit above."""
    rows = []
    for seed in range(20):
        config = CONFIG.replace(seed=seed, width=2, depth=3, activation="relu", metrics=["sharpness"])
        trainer, task = ReferenceExperiment(config)._trainer, ReferenceExperiment(config)._draw_task()
        pre = trainer.network(torch.from_numpy(task.points))[1]
        ours = float(Experiment([config]).run_task()["sharpness"][0])
        expected = float(ReferenceExperiment(config).run_task()["sharpness"][0])
        rows.append((any(bool((z == 0).any()) for z in pre), ours == pytest.approx(expected, rel=1e-6, abs=1e-9)))
    assert sum(at_kink for at_kink, _ in rows) > 3
    assert all(equal for _, equal in rows)


def of_matrix(matrix: np.ndarray) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """The gradient of x H x / 2, of one network whose parameters are the vector x."""
    return lambda arrays: [arrays[0] @ matrix]


def test_sharpness_is_not_misled_by_a_larger_negative_eigenvalue() -> None:
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(60, 60)))[0]
    spectrum = np.concatenate([[-50.0, -49.0, 7.0], rng.uniform(-1, 1, 57)])
    start = [np.zeros((1, 60))]
    assert largest_curvature(of_matrix(rotation * spectrum @ rotation.T), start)[0] == pytest.approx(7, rel=1e-6)
    below = rotation * -np.abs(spectrum) @ rotation.T  # a maximum
    largest = -np.abs(spectrum).min()
    assert largest_curvature(of_matrix(below), start)[0] == pytest.approx(largest, abs=0.1)
    assert largest_curvature(of_matrix(below), start)[0] <= largest + 1e-6


@pytest.mark.parametrize("size", [1, 2, 19])
def test_sharpness_of_few_parameters_is_exact(size: int) -> None:
    matrix = np.random.default_rng(size).normal(size=(size, size))
    matrix = matrix + matrix.T
    expected = np.linalg.eigvalsh(matrix)[-1]
    assert largest_curvature(of_matrix(matrix), [np.zeros((1, size))])[0] == pytest.approx(expected, rel=1e-7)


def test_sharpness_of_a_plane_and_of_one_direction() -> None:
    start = [np.zeros((1, 30))]
    assert largest_curvature(of_matrix(np.zeros((30, 30))), start)[0] == 0
    assert largest_curvature(of_matrix(-np.eye(30)), start)[0] == pytest.approx(-1)
    assert largest_curvature(of_matrix(3 * np.outer(np.eye(30)[4], np.eye(30)[4])), start)[0] == pytest.approx(3)


def test_sharpness_without_finite_gradients_is_undefined() -> None:
    start = [np.zeros((2, 5))]
    found = largest_curvature(lambda arrays: [arrays[0] * np.array([[1.0], [np.nan]])], start)
    assert found[0] == pytest.approx(1)
    assert np.isnan(found[1])


EVERYTHING = {"metrics": optional_metrics(), "test_samples": 30, "control_every": 2}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "fields", [{}, {"width": 1}, {"width": 9, "depth": 3}, {"batch_size": 3}, {"batch_size": 1}], ids=str
)
def test_bits_do_not_depend_on_the_batch(fields: dict[str, Any], dtype: str) -> None:
    """Networks of a batch of 1, 2 and 7 on NumPy, in all metrics there are."""
    configs = [CONFIG.replace(seed=seed, lr=0.1 + 0.1 * seed, **EVERYTHING, **fields) for seed in range(7)]

    def rows(size: int) -> dict[str, np.ndarray]:
        batch = CellBatch(configs[:size], np.dtype(dtype), NumpyDevice())
        return stack_metrics([batch.run_task(number) for number in range(1, 4)])

    alone, two, seven = rows(1), rows(2), rows(7)
    for name in METRICS:
        np.testing.assert_array_equal(two[name], seven[name][:, :2], err_msg=name)
        np.testing.assert_array_equal(alone[name], two[name][:, :1], err_msg=name)


@pytest.mark.parametrize("fields", [{}, {"batch_size": 3}], ids=str)
def test_float32_networks_have_about_the_same_metrics(fields: dict[str, Any]) -> None:
    """Metrics are float64 of either; sharpness is taken in float64 from the float32 weights."""
    config = CONFIG.replace(lr=0.02, **EVERYTHING, **fields)
    single, double = (Experiment([config], dtype=dtype) for dtype in ("float32", "float64"))
    for _ in range(2):
        row, expected = single.run_task(), double.run_task()
        for name in METRICS:
            assert row[name].dtype == np.float64
            np.testing.assert_allclose(row[name], expected[name], rtol=2e-3, atol=1e-5, err_msg=name)


def test_default_cells_observe_nothing_more() -> None:
    assert needed(CONFIG) == frozenset()
    wanted = needed(CONFIG.replace(**EVERYTHING))
    assert all(METRICS[name].needs <= wanted for name in METRICS)
    plain = [Experiment([CONFIG.replace(**changes)]) for changes in ({}, EVERYTHING)]
    for _ in range(CONFIG.tasks):
        rows = [experiment.run_task() for experiment in plain]
        for name in measured_with():
            np.testing.assert_array_equal(rows[0][name], rows[1][name], err_msg=name)


def test_bounds_follow_the_number_of_features() -> None:
    """An activation may have several per unit; one that is not registered here may have any number."""
    assert feature_count(CONFIG) == 5
    unknown = CONFIG.replace(activation="of_another_sweep")
    assert METRICS["srank"].bounds(unknown) == METRICS["stable_rank"].bounds(unknown) == (1.0, 12.0)
    assert METRICS["duplicate_fraction"].bounds(unknown) == (0.0, 1.0)
    assert METRICS["duplicate_fraction"].bounds(CONFIG) == (0.0, 0.8)


def test_a_device_observes_what_numpy_does() -> None:
    config = CONFIG.replace(lr=0.02, **EVERYTHING)
    ours = CellBatch([config], np.dtype(float), NumpyDevice())
    theirs = CellBatch([config], np.dtype(float), make_device("torch"))
    for number in (1, 2):
        row, expected = theirs.run_task(number), ours.run_task(number)
        for name in METRICS:
            np.testing.assert_allclose(row[name], expected[name], rtol=1e-8, atol=1e-11, err_msg=name)
