"""The Gaussian-mixture task: two classes, each a mixture of Gaussian bumps around a random anchor.

Everything is drawn from the generator that is passed in, in the order that the protocol fixes, so the stream's state
after `draw_task` is part of the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lop_sweep.config import CellConfig

_SHIFT_STD = 0.6
_EXTRA_DIM_STD = 0.3


@dataclass(frozen=True)
class Task:
    """One task: its points and their labels, in float64.

    Attributes:
        points: shape (samples, input_dim).
        labels: shape (samples, 1), each 0.0 or 1.0.
    """

    points: np.ndarray
    labels: np.ndarray


def draw_task(config: CellConfig, rng: np.random.Generator) -> Task:
    """Draw the next task of a cell.

    Args:
        config: uses `input_dim`, `samples`, `components`, `delta`, `spread`, `sigma` and `relabel`.
        rng: the cell's task stream; advanced.

    Returns:
        The task, its points shuffled.

    Source: the protocol's section "One task, in draw order"; the numbers below are its own.
    """
    half, dim = config.samples // 2, config.input_dim

    angle = rng.uniform(0.0, 2.0 * np.pi)  # 1
    direction = np.array([np.cos(angle), np.sin(angle)])
    shift = rng.normal(0.0, _SHIFT_STD, size=dim)[:2]  # 2
    anchors = np.stack([-config.delta * direction + shift, config.delta * direction + shift])  # 3
    if dim > 2:
        anchors = np.hstack([anchors, rng.normal(0.0, _EXTRA_DIM_STD, size=(2, dim - 2))])

    centres = [anchor + rng.normal(0.0, config.spread, size=(config.components, dim)) for anchor in anchors]  # 4
    points = []
    for class_centres in centres:  # 5
        bump = rng.integers(0, config.components, size=half)
        points.append(class_centres[bump] + rng.normal(0.0, config.sigma, size=(half, dim)))

    labels = np.repeat([0.0, 1.0], half)[:, None]  # 6
    if config.relabel > 0:
        flip = rng.random((config.samples, 1)) < config.relabel
        labels = np.where(flip, 1.0 - labels, labels)

    order = rng.permutation(config.samples)  # 7
    return Task(points=np.concatenate(points)[order], labels=labels[order])
