"""The task: its distribution, its draw order, and nothing drawn that the protocol does not draw."""

from __future__ import annotations

import numpy as np
import pytest

from lop_sweep.components.streams import GaussianMixture, Task
from lop_sweep.config import CellConfig


def draw_task(config: CellConfig, rng: np.random.Generator) -> Task:
    stream = GaussianMixture()
    return stream.draw(config, stream.init(config, rng), rng)


def test_shapes_classes_and_precision() -> None:
    config = CellConfig(samples=30, input_dim=5)
    task = draw_task(config, np.random.default_rng(0))
    assert task.points.shape == (30, 5)
    assert task.labels.shape == (30, 1)
    assert task.points.dtype == task.labels.dtype == np.float64
    assert task.labels.sum() == 15


def test_anchors_of_the_classes_are_two_delta_apart() -> None:
    """With no spread and no noise all points of a class are its anchor: shift -+ delta u."""
    config = CellConfig(spread=0, sigma=0, delta=1.7, input_dim=2)
    task = draw_task(config, np.random.default_rng(3))
    zero, one = (np.unique(task.points[task.labels[:, 0] == label], axis=0) for label in (0, 1))
    assert len(zero) == len(one) == 1
    assert np.linalg.norm(one - zero) == pytest.approx(2 * 1.7)


def test_extra_dimensions_are_not_separated_by_delta() -> None:
    config = CellConfig(spread=0, sigma=0, delta=1000.0, input_dim=4)
    task = draw_task(config, np.random.default_rng(3))
    assert np.abs(task.points[:, 2:]).max() < 3


def test_number_of_bumps() -> None:
    config = CellConfig(sigma=0, components=3, samples=400)
    task = draw_task(config, np.random.default_rng(0))
    assert len(np.unique(task.points, axis=0)) == 6


def test_sampled_variances_are_those_asked_for() -> None:
    rng = np.random.default_rng(5)
    config = CellConfig(input_dim=2, delta=0, spread=0, sigma=0.5, samples=200)
    noise = np.concatenate([(t := draw_task(config, rng).points) - t.mean(axis=0) for _ in range(200)])
    # 80,000 values: the standard error of the standard deviation is 0.5 / sqrt(160,000) = 0.00125
    assert noise.std() == pytest.approx(0.5, abs=0.006)


def test_relabel_zero_draws_nothing_and_one_flips_everything() -> None:
    plain, flipped = (
        draw_task(CellConfig(relabel=relabel, delta=50.0, input_dim=2), np.random.default_rng(2)) for relabel in (0, 1)
    )
    # 200 more numbers are drawn before the permutation, so compare as sets of labelled points
    as_set = [
        {(*point, label) for point, (label,) in zip(task.points, task.labels, strict=True)} for task in (plain, flipped)
    ]
    assert as_set[1] == {(x, y, 1 - label) for x, y, label in as_set[0]}


def test_relabel_flips_the_share_asked_for() -> None:
    rng = np.random.default_rng(1)
    config = CellConfig(relabel=0.25, delta=100.0, samples=1000, spread=0, sigma=0, input_dim=2)
    flipped = 0
    for _ in range(20):
        task = draw_task(config, rng)
        by_point = [task.labels[(task.points == point).all(axis=1)].mean() for point in np.unique(task.points, axis=0)]
        flipped += sum(min(share, 1 - share) for share in by_point) / 2
    # 20,000 draws: standard error 0.0031
    assert flipped / 20 == pytest.approx(0.25, abs=0.013)


def test_tasks_depend_on_the_generator_alone() -> None:
    config = CellConfig()
    rng = np.random.default_rng(9)
    first, second = draw_task(config, rng), draw_task(config, rng)
    assert np.array_equal(first.points, draw_task(config, np.random.default_rng(9)).points)
    assert not np.array_equal(first.points, second.points)


def test_held_out_points_are_around_the_tasks_own_bumps() -> None:
    """Without noise both are the bumps themselves, and the labels are those of the classes."""
    config = CellConfig(sigma=0, samples=400, test_samples=600)
    task = draw_task(config, np.random.default_rng(0))
    more = GaussianMixture().held_out(config, task, np.random.default_rng(1))
    assert len(more.points) == 600
    assert more.labels.sum() == 300
    for label in (0, 1):
        drawn, held_out = (np.unique(one.points[one.labels[:, 0] == label], axis=0) for one in (task, more))
        np.testing.assert_array_equal(drawn, held_out)


def test_held_out_labels_are_flipped_as_often() -> None:
    config = CellConfig(sigma=0, delta=50.0, relabel=0.3, test_samples=20_000, input_dim=2)
    task = draw_task(config, np.random.default_rng(0))
    more = GaussianMixture().held_out(config, task, np.random.default_rng(1))
    own = np.repeat([0.0, 1.0], 10_000)[:, None]
    # 20,000 labels: the standard error of the share is 0.0033
    assert (more.labels != own).mean() == pytest.approx(0.3, abs=0.015)
