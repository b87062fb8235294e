"""Made-up stores: finished sweeps with sequences that a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from analysis.plot import VALUES
from lop_sweep.config import PACKABLE, CellConfig
from lop_sweep.metrics import METRICS, measured
from lop_sweep.pack import make_packs
from lop_sweep.planning.space import SearchSpace
from lop_sweep.storage.manifest import describe_space
from lop_sweep.storage.schema import NUMERICS, PackResult
from lop_sweep.storage.store import Store

Sequences = Callable[[CellConfig, np.random.Generator], tuple[np.ndarray, float]]
"""A cell's final losses, shape (T,), NaN from where it diverges, and the mean loss of its fresh networks."""


MEASURED_VALUES = [name for name, value in VALUES.items() if value.is_measured(())]
"""The values of maps that cells without optional metrics have."""


def write_store(
    root: Path,
    configs: Sequence[CellConfig],
    sequences: Sequences,
    missing: Sequence[CellConfig] = (),
    name: str = "made up",
    dtype: str = "float64",
) -> Path:
    """Write a sweep of `configs`, which are finished, and of `missing`, which are not; other metrics are random."""
    store, rng = Store(root), np.random.default_rng(0)
    store.create()
    space = SearchSpace(cells=(*configs, *missing), name=name)
    store.write_sweep({"dtype": dtype, "created": "2026-01-02T03:04:05+00:00", **describe_space(space)})
    numerics = dict.fromkeys(NUMERICS, "drawn") | {"dtype": dtype, "device": "cpu"}
    for pack in make_packs(configs, PACKABLE):
        store.commit(_result(pack.id, pack.cells, sequences, rng, numerics))
    return root


def losing(config: CellConfig, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return losses of which some rise for good, some rise and recover, and others stay low.

    Most fresh networks fail where delta is 0. Odd seeds diverge where lr is 1.6.
    """
    final = 0.05 * rng.lognormal(0, 0.6, config.tasks)
    onset = 3 + config.tasks // 2 + int(rng.integers(-2, 5))
    if config.lr > 0.2 and rng.random() < 0.25 * config.depth:
        final[onset:] += rng.uniform(0.1, 0.8)
        if rng.random() < 0.3:
            final[onset + 4 :] = 0.01
    if config.lr == 1.6 and config.seed % 2:
        final[onset:] = np.nan
    return final, float(rng.uniform(0.5, 1.0) if config.delta == 0 else rng.lognormal(-3.5, 0.8))


def _result(
    pack: str, cells: Sequence[CellConfig], sequences: Sequences, rng: np.random.Generator, numerics: dict[str, str]
) -> PackResult:
    tasks, depth = cells[0].tasks, cells[0].depth
    made = [sequences(cell, rng) for cell in cells]
    final = np.stack([losses for losses, _ in made], axis=1)
    gone = np.isnan(final)
    trend = np.linspace(1.0, 0.4, tasks)[:, None]
    history = {
        "final_ce": final,
        "end_ce": final * 0.98,
        "min_ce": final * 0.5,
        "grad_norm": rng.lognormal(0, 1, final.shape),
        "saturation": np.clip(1 - trend + rng.normal(0, 0.05, final.shape), 0, 1),
        "effective_rank": 10 * trend[..., None] * rng.uniform(0.8, 1.2, (*final.shape, depth)),
        "duplicate_fraction": np.clip(0.8 * (1 - trend)[..., None] + rng.normal(0, 0.1, (*final.shape, depth)), 0, 1),
    }
    for name in measured(cells[0]):
        low, high = METRICS[name].bounds(cells[0])
        shape = (*final.shape, depth) if METRICS[name].per_layer else final.shape
        if METRICS[name].of_control:
            every = np.arange(1, tasks + 1) % cells[0].control_every == 0
            history[name] = np.where(every[:, None], 0.05 * rng.lognormal(0, 1.5, shape), np.nan)
        history.setdefault(name, rng.uniform(max(low, 0), min(high, 100), shape))
    history = {
        name: np.where(gone[..., None] if values.ndim == 3 else gone, np.nan, values)
        for name, values in history.items()
    }
    number = cells[0].fresh_baseline
    spread = np.linspace(0.2, 1.8, number) ** 1.2  # their median is not their mean
    fresh = np.stack([mean * spread / spread.mean() if number else np.empty(0) for _, mean in made])
    diverged = np.where(gone.any(axis=0), gone.argmax(axis=0) + 1, 0)
    return PackResult(pack, cells, history, fresh, diverged, np.ones(len(cells)), numerics)
