"""The Gaussian-mixture task: two classes, each a mixture of Gaussian bumps around a random anchor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lop_sweep.components.streams.many_mixtures import EXTRA_DIM_STD, SHIFT_STD, draw_points_of_all
from lop_sweep.components.streams.task import StreamState, Task
from lop_sweep.config import CellConfig
from lop_sweep.registry import register


@register("stream", "gaussian_mixture")
class GaussianMixture:
    """Independent tasks: anchors, bumps and points are new in each.

    Source: the protocol's section "One task, in draw order". The numbers in `draw` are those of its steps.
    """

    name: str
    hyper = ("input_dim", "components", "delta", "spread", "sigma", "relabel")
    loss = "binary"

    def dimensions(self, config: CellConfig) -> tuple[int, int]:
        """Return `input_dim` and 1."""
        return config.input_dim, 1

    def init(self, config: CellConfig, rng: np.random.Generator) -> StreamState:
        """Return the empty state. Nothing is drawn."""
        return {}

    def draw(self, config: CellConfig, state: StreamState, rng: np.random.Generator) -> Task:
        """Draw the next task, with its points shuffled.

        Args:
            config: uses `input_dim`, `samples`, `components`, `delta`, `spread`, `sigma` and `relabel`.
            state: not used.
            rng: the cell's task stream.
        """
        half, dim = config.samples // 2, config.input_dim

        angle = rng.uniform(0.0, 2.0 * np.pi)  # 1
        direction = np.array([np.cos(angle), np.sin(angle)])
        shift = rng.normal(0.0, SHIFT_STD, size=dim)[:2]  # 2
        anchors = np.stack([-config.delta * direction + shift, config.delta * direction + shift])  # 3
        if dim > 2:
            anchors = np.hstack([anchors, rng.normal(0.0, EXTRA_DIM_STD, size=(2, dim - 2))])

        centres = [anchor + rng.normal(0.0, config.spread, size=(config.components, dim)) for anchor in anchors]  # 4
        points, labels = _points(config, np.stack(centres), half, rng)

        order = rng.permutation(config.samples)  # 7
        return Task(points=points[order], labels=labels[order], source={"centres": np.stack(centres)})

    def draw_many(
        self, configs: Sequence[CellConfig], states: Sequence[StreamState], rngs: Sequence[np.random.Generator]
    ) -> list[Task]:
        """Draw the next task of each cell, as `draw` does, with fewer calls. Arguments as for `draw_tasks`."""
        drawn = draw_points_of_all(configs, rngs)
        return [Task(points, labels, {"centres": centres}) for points, labels, centres in drawn]

    def held_out(self, config: CellConfig, task: Task, rng: np.random.Generator) -> Task:
        """Draw points around the task's own bumps, as its steps 5 and 6 do. Labels are flipped as often."""
        points, labels = _points(config, task.source["centres"], config.test_samples // 2, rng)
        return Task(points=points, labels=labels, source=task.source)


def _points(
    config: CellConfig, centres: np.ndarray, half: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `half` points of each class and all labels, from bumps around centres (2, components, input_dim)."""
    points = []
    for class_centres in centres:  # 5
        bump = rng.integers(0, config.components, size=half)
        points.append(class_centres[bump] + rng.normal(0.0, config.sigma, size=(half, config.input_dim)))

    labels = np.repeat([0.0, 1.0], half)[:, None]  # 6
    if config.relabel > 0:
        flip = rng.random((2 * half, 1)) < config.relabel
        labels = np.where(flip, 1.0 - labels, labels)
    return np.concatenate(points), labels
