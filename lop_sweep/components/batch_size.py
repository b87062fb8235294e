"""How many cells of a pack a CPU core advances as one batch.

Calling NumPy takes longer than computing a narrow network or a small minibatch, and a batch pays for the calls once.
Its arrays should stay in the second-level cache, though: wide networks gain little, and lose beyond that. The size of a
batch changes no number.
"""

from __future__ import annotations

import numpy as np

from lop_sweep.components.choice import layer_sizes
from lop_sweep.config import CellConfig
from lop_sweep.metrics import METRICS, held_out_points, measured
from lop_sweep.runtime import DEFAULT_CACHE_BYTES

MAX_CELLS_PER_BATCH = 256
"""Maximum number of cells per batch. In more, calls are a small share of the time whatever the networks are."""
MAX_BATCH_BYTES = 2**29
"""Maximum memory of a batch, unless a single cell takes more."""
_CACHES_OF_ALL_LAYERS = 4
"""All layers of a batch may take this many times the second-level cache: one layer is computed after the other."""


def cells_per_batch(config: CellConfig, dtype: str, cache_bytes: int = DEFAULT_CACHE_BYTES) -> int:
    """Return how many cells like `config` to compute as one batch, at least 1.

    Formula: min(c / l, 4 c / s, 256), with c the second-level cache, l the bytes of the largest layer, its inputs and
    its outputs, and s the sum over all layers. A batch also takes at most `MAX_BATCH_BYTES`.

    Args:
        config: uses the layers' sizes, the points per update, and what is measured.
        dtype: precision of the networks.
        cache_bytes: size of the second-level cache.
    """
    points, itemsize = config.batch_size or config.samples, np.dtype(dtype).itemsize
    layers = [
        itemsize * (points * (fan_in + fan_out) + fan_in * fan_out) for fan_in, fan_out in layer_sizes(config).pairs()
    ]
    most = min(
        cache_bytes // max(layers),
        _CACHES_OF_ALL_LAYERS * cache_bytes // sum(layers),
        MAX_BATCH_BYTES // batch_bytes(config, dtype),
        MAX_CELLS_PER_BATCH,
    )
    return max(most, 1)


def batch_bytes(config: CellConfig, dtype: str) -> int:
    """Estimate the bytes that one cell of a batch takes in memory.

    Points: two copies. Training: three copies of the weights (the cell's, a GPU's graph's, gradients) and four of all
    layers' activations. Measuring, in float64: four more copies of the activations, and three matrices of their
    correlations per layer. Sharpness keeps a vector of all weights for each of its products.
    """
    n, tested, depth, sizes = config.samples, held_out_points(config), config.depth, layer_sizes(config)
    a = sizes.features
    points = 2 * (n + tested) * (sizes.inputs + sizes.outputs)
    training = points + 3 * sizes.weights + 4 * depth * n * a + 2 * depth * tested * a
    measuring = depth * (4 * n * a + 3 * a * a)
    measuring += max(METRICS[name].gradients for name in measured(config)) * sizes.weights
    return training * np.dtype(dtype).itemsize + measuring * 8
