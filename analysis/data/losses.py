"""The losses of task streams: their unit in labels and sentences, and what guessing costs.

Texts are written for cross-entropy in nats, which most streams have. The columns `*_ce` hold the loss of any stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.data.fields import combinations
from lop_sweep.components import Loss, in_units, layer_sizes
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.registry import component, components

_SHAPES = ["stream", *(name for name, info in FIELDS.items() if info.of == "stream" and not info.packable)]
"""Fields on which a task stream's numbers of inputs and outputs may depend."""


def in_words_of(text: str, streams: Iterable[str]) -> str:
    """Return a label or sentence in the words of the losses that these task streams have (`in_units`).

    A stream that is not registered here has a loss of unknown unit.
    """
    return in_units(text, map(_unit, streams))


def chance_levels(cells: pd.DataFrame) -> np.ndarray:
    """Return the loss of guessing in each cell's tasks, (n,): ln k for k classes, infinite where it is not known.

    Args:
        cells: with the configuration fields.
    """
    group, found = combinations(cells, _SHAPES)
    return np.array([_chance(fields) for fields in found], float)[group]


def _chance(fields: Mapping[str, Any]) -> float:
    if fields["stream"] not in components("stream"):
        return np.inf
    config = CellConfig(**fields)
    return _loss(config.stream).chance(layer_sizes(config).outputs)


def _unit(stream: str) -> str:
    return _loss(stream).unit if stream in components("stream") else "unit of the loss"


def _loss(stream: str) -> Loss:
    return component("loss", component("stream", stream).loss)
