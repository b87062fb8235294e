"""Gaussian-mixture tasks of many cells: what `GaussianMixture.draw` draws, to the bit, with fewer calls.

A random stream gives the same numbers whether consecutive normal numbers are drawn in one call or in several, scaled
within the call or afterwards. So each cell draws plain numbers, in the protocol's order, and all arithmetic is done for
all cells at once.

Symbols: P cells, K components per class, d inputs, n points.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lop_sweep.config import CellConfig

EXTRA_DIM_STD, SHIFT_STD = 0.3, 0.6
"""Standard deviations of the anchors: in inputs beyond the second, and in the first two."""


def draw_points_of_all(
    configs: Sequence[CellConfig], rngs: Sequence[np.random.Generator]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return points (n, d), labels (n, 1) and centres (2, K, d) of each cell's next task.

    Args:
        configs: the cells, with equal `samples` and `input_dim`.
        rngs: their random streams; advanced.
    """
    drawn: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for components in sorted({config.components for config in configs}):
        cells = [index for index, config in enumerate(configs) if config.components == components]
        arrays = _draw([configs[cell] for cell in cells], [rngs[cell] for cell in cells])
        drawn |= dict(zip(cells, zip(*arrays, strict=True), strict=True))
    return [drawn[cell] for cell in range(len(configs))]


def _draw(
    configs: Sequence[CellConfig], rngs: Sequence[np.random.Generator]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the next task of each cell.

    Args:
        configs: the cells, with equal `samples`, `input_dim` and `components`.
        rngs: their random streams; advanced.

    Returns:
        Points (P, n, d), labels (P, n, 1), and the bumps' centres (P, 2, K, d).
    """
    one = configs[0]
    cells, half, dim, components = len(configs), one.samples // 2, one.input_dim, one.components
    angle = np.empty(cells)
    place = np.empty((cells, dim + 2 * (dim - 2) + 2 * components * dim))
    noise = np.empty((cells, 2, half, dim))
    bump = np.empty((cells, 2, half), dtype=np.int64)
    labels = np.empty((cells, one.samples, 1))
    labels[:, :half], labels[:, half:] = 0.0, 1.0
    order = np.empty((cells, one.samples), dtype=np.int64)
    order[:] = np.arange(one.samples)

    for cell, (config, rng) in enumerate(zip(configs, rngs, strict=True)):
        angle[cell] = rng.random()
        rng.standard_normal(out=place[cell])
        for label in range(2):
            bump[cell, label] = rng.integers(0, components, size=half)
            rng.standard_normal(out=noise[cell, label])
        if config.relabel > 0:
            flip = rng.random((one.samples, 1)) < config.relabel
            labels[cell] = np.where(flip, 1.0 - labels[cell], labels[cell])
        rng.shuffle(order[cell])

    shift, extra, offsets = np.split(place, [dim, dim + 2 * (dim - 2)], axis=1)
    centres = _anchors(configs, angle, shift, extra.reshape(cells, 2, 1, dim - 2))
    centres = centres + _scaled(offsets.reshape(cells, 2, components, dim), [config.spread for config in configs])
    points = np.take_along_axis(centres, bump[..., None], axis=2) + _scaled(noise, [config.sigma for config in configs])
    points = points.reshape(cells, one.samples, dim)
    shuffled = order[..., None]
    return np.take_along_axis(points, shuffled, axis=1), np.take_along_axis(labels, shuffled, axis=1), centres


def _anchors(configs: Sequence[CellConfig], angle: np.ndarray, shift: np.ndarray, extra: np.ndarray) -> np.ndarray:
    """Return both classes' anchors, (P, 2, 1, d), from standard normal numbers and uniform ones between 0 and 1."""
    angle = 0.0 + 2.0 * np.pi * angle
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    shift = (0.0 + SHIFT_STD * shift)[:, :2]
    delta = np.array([[config.delta] for config in configs])
    both = np.stack([-delta * direction + shift, delta * direction + shift], axis=1)[:, :, None]
    return np.concatenate([both, 0.0 + EXTRA_DIM_STD * extra], axis=-1)


def _scaled(normal: np.ndarray, deviations: Sequence[float]) -> np.ndarray:
    """Return 0 + s z for each cell, as `Generator.normal` has it: the sum has no negative zeros."""
    return 0.0 + np.array(deviations).reshape(-1, *[1] * (normal.ndim - 1)) * normal
