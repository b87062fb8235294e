"""What the report knows of a sweep: arrays over its cells and a description of them, from one pass over the store.

n cells, in the order in which the store gives them. Sequences lie one after the other, cell by cell; where T is too
long for the page they are thinned out as `analysis.report.encoding` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from analysis.data import Block, Where, blocks_of, load_cells, load_requested, open_store, select
from analysis.plot import CATEGORIES, PERCENTILES_FROM, SEQUENTIAL, VALUES
from analysis.report.axes import fixed_fields, map_fields, positions_of
from analysis.report.encoding import Column, block_means, single, to_bfloat16
from analysis.scoring import (
    FIRST,
    MAX_BLOCKS,
    METRIC_OF,
    MIN_SEEDS,
    MIN_SEEDS_CONTOUR,
    PHASES,
    SYMPTOMS,
    LossCriterion,
    check_last,
    score_block,
    symptom_marks,
    symptom_thresholds,
)
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, safe_repr
from lop_sweep.metrics import LAYERED, METRICS
from lop_sweep.prefetch import prefetch
from lop_sweep.storage import DIVERGED

EXACT_ROWS = 100_000
"""Up to so many rows (cells times tasks), final losses are kept as float64 and the other measures as float32."""

FULL_ROWS = 1_500_000
"""Up to so many rows, the final loss of every task is kept; above, only means over blocks."""

CURVE_VALUES, MIN_CURVE_BLOCKS = 200_000, 20
LAYER_VALUES, MIN_LAYER_BLOCKS = 400_000, 4
"""How many values of each measure there may be, and the fewest blocks of a sequence whatever that comes to."""

_SCORED = (
    *(f"late_{name}" for name in METRICS),
    "early_effective_rank", "early_duplicate_fraction", "early_saturation",
    "fresh_ce", "fresh_median_ce", "slope", "slope_low", "area_excess", "area_ce",
)  # fmt: skip
_HOW = ("engine", "dtype", "device", "blas", "host", "lop_sweep_version", "numpy_version", "torch_version")
_FRESH_SHARES = (0.1, 0.9)
_PALETTE_COLOURS = 33
_CELL_ID = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True)
class Resolution:
    """How many values a sequence may have.

    Attributes:
        final_ce: blocks; 0 for every task.
        curves: blocks, of the other measures (means over layers).
        layers: blocks, of each layer.
        exact: whether numbers keep their precision.
    """

    final_ce: int
    curves: int
    layers: int
    exact: bool


@dataclass(frozen=True)
class ReportData:
    """The content of a report.

    Attributes:
        about: what can be written as JSON.
        arrays: by name.
    """

    about: dict[str, Any]
    arrays: dict[str, Column]


def collect(directory: str | Path, criterion: LossCriterion, where: Where | None = None) -> ReportData:
    """Read a sweep for its report.

    Memory grows with what is kept: at most some 2 kB a cell of a hundred tasks.

    Args:
        directory: a sweep directory.
        rule: the one that the page opens with.
        where: conditions on the cells, see `analysis.data.load.select`; None for all.

    Raises:
        StoreError: it is not a sweep directory, or a file in it is damaged.
        AnalysisError: there is no finished cell, a condition cannot be met, or the rule needs every task of a sweep
            that is too large for that.
    """
    cells = load_cells(directory)
    if cells.empty:
        raise AnalysisError(f"{directory}: there is no finished cell to report on; run the sweep first")
    cells = select(cells, where or {})
    if cells.empty:
        raise AnalysisError(f"{directory}: no finished cell fulfils all conditions; relax --where")
    check_last(criterion, cells)
    resolution = _resolution(cells)
    if resolution.final_ce and criterion.definition == "onset":
        raise AnalysisError(
            f"definition 'onset' needs every task's loss, and a report holds at most {FULL_ROWS:,} rows of the "
            f"{int(cells['tasks'].sum()):,} here; narrow it down with --where, or take another definition"
        )
    missing = _missing(cells, select(load_requested(directory), where or {}, required=False))
    parts = list(prefetch(lambda block: _keep(block, criterion, resolution), blocks_of(cells, directory), MAX_BLOCKS))
    ordered = pd.concat([cells_of for cells_of, _ in parts], ignore_index=True)
    series = {name: np.concatenate([arrays[name] for _, arrays in parts]) for name in parts[0][1]}
    everything = pd.concat([ordered[list(FIELDS)], missing[list(FIELDS)]]) if len(missing) else ordered
    fields = map_fields(everything)
    seeds = np.unique(ordered["seed"].to_numpy())
    how = ordered[list(_HOW)].drop_duplicates(ignore_index=True)
    sweep = open_store(directory).read_sweep() or {}
    arrays = _cell_arrays(ordered, seeds, how, fields, missing) | _stored(series, resolution)
    about = {
        "space": str(sweep.get("space", "")),
        "directory": Path(directory).absolute().name,
        "created": str(sweep.get("created", "")),
        "cells": len(ordered),
        "missing": len(missing),
        "seeds": [str(seed) for seed in seeds],
        "how": how.astype(str).to_dict("records"),
        "fields": fields,
        "fixed": fixed_fields(everything),
        "resolution": asdict(resolution),
        **_vocabulary(criterion),
    }
    return ReportData(about, arrays)


def _resolution(cells: pd.DataFrame) -> Resolution:
    rows, layers = int(cells["tasks"].sum()), int(cells["depth"].sum())
    return Resolution(
        final_ce=0 if rows <= FULL_ROWS else max(MIN_CURVE_BLOCKS, FULL_ROWS // len(cells)),
        curves=max(MIN_CURVE_BLOCKS, CURVE_VALUES // len(cells)),
        layers=max(MIN_LAYER_BLOCKS, LAYER_VALUES // layers),
        exact=rows <= EXACT_ROWS,
    )


def _missing(cells: pd.DataFrame, requested: pd.DataFrame) -> pd.DataFrame:
    """Cells that were asked for and are not finished."""
    return requested if requested.empty else requested[~requested["cell"].isin(set(cells["cell"]))]


def _keep(block: Block, criterion: LossCriterion, resolution: Resolution) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The cells of a block, and what is kept of them, each array flat."""
    final = block.metrics["final_ce"]
    scored = score_block(block, criterion)
    kept = {name: scored[name].to_numpy(float) for name in _SCORED}
    whole = (block.cells["status"] != DIVERGED).to_numpy()[:, None]
    metrics = {name: block.of_network(name) for name in METRIC_OF.values()}
    marks = symptom_marks(metrics, symptom_thresholds(metrics, criterion))
    kept |= {f"symptom.{name}": (there & whole).ravel() for name, there in marks.items()}
    kept["final_ce"] = (block_means(final, resolution.final_ce) if resolution.final_ce else final).ravel()
    for name in METRICS:
        if name != "final_ce":
            kept[f"curve.{name}"] = single(block_means(block.of_network(name), resolution.curves).ravel())
    for name in LAYERED:
        kept[f"layer.{name}"] = single(block_means(block.metrics[name], resolution.layers).ravel())
    return block.cells, kept if resolution.exact else kept | {"final_ce": single(kept["final_ce"])}


def _stored(series: dict[str, np.ndarray], resolution: Resolution) -> dict[str, Column]:
    """In the formats of the page."""
    stored: dict[str, Column] = {}
    for name, values in series.items():
        if name.startswith("symptom."):
            stored[name] = np.packbits(values, bitorder="little")
        elif name.startswith(("curve.", "layer.")) and not resolution.exact:
            stored[name] = to_bfloat16(values)
        else:
            stored[name] = values
    return stored


def _cell_arrays(
    cells: pd.DataFrame, seeds: np.ndarray, how: pd.DataFrame, fields: list[dict[str, Any]], missing: pd.DataFrame
) -> dict[str, Column]:
    """What is known of each cell besides its measures."""
    combinations = pd.MultiIndex.from_frame(how)
    arrays: dict[str, Column] = {
        "id": _id_bytes(cells["cell"]),
        "seed": np.searchsorted(seeds, cells["seed"].to_numpy()).astype(np.uint32),
        "how": combinations.get_indexer(pd.MultiIndex.from_frame(cells[list(_HOW)])).astype(np.uint16),
        "tasks": cells["tasks"].to_numpy(np.int32),
        "depth": cells["depth"].to_numpy(np.int32),
        "diverged_at": np.where(cells["status"] == DIVERGED, cells["diverged_at"].fillna(1).to_numpy(float), 0).astype(
            np.int32
        ),
        "baseline": cells["fresh_baseline"].to_numpy(np.int32),
    }
    fresh = [np.quantile(losses, _FRESH_SHARES) if len(losses) else (np.nan, np.nan) for losses in cells["fresh_ce"]]
    arrays["fresh_low"], arrays["fresh_high"] = single(np.array(fresh, float).T)
    for field in fields:
        name = field["name"]
        arrays[f"field.{name}"] = positions_of(cells, field).astype(np.uint16)
        if len(missing):
            arrays[f"missing.{name}"] = positions_of(missing, field).astype(np.uint16)
        if field["binned"]:
            arrays[f"value.{name}"] = cells[name].to_numpy(float)
    return arrays


def _id_bytes(ids: Iterable[str]) -> np.ndarray:
    """The ids of n cells as (8 n,) bytes."""
    for cell in ids:
        if not _CELL_ID.fullmatch(cell):
            raise AnalysisError(
                f"{safe_repr(cell)} is not a cell's id, which has 16 hexadecimal digits; lop-sweep audit names its file"
            )
    return np.frombuffer(bytes.fromhex("".join(ids)), np.uint8)


def _vocabulary(criterion: LossCriterion) -> dict[str, Any]:
    """Names, labels and defaults, so that they are defined in one place."""
    return {
        "rule": asdict(criterion),
        "few": MIN_SEEDS,
        "telling": MIN_SEEDS_CONTOUR,
        "percentiles_from": PERCENTILES_FROM,
        "phases": list(PHASES),
        "symptoms": list(SYMPTOMS),
        "measure_of": dict(METRIC_OF),
        "late_medians": [name for name, metric in METRICS.items() if metric.late_statistic == "median"],
        "first": list(FIRST),
        "measures": list(METRICS),
        "layered": list(LAYERED),
        "config": {name: info.default for name, info in FIELDS.items()},
        "descriptions": {name: info.description for name, info in FIELDS.items()},
        "scores": [
            {"name": name, "column": value.column, "label": value.axis_label, "judged": value.decidable_only}
            | {"statistic": value.statistic, "note": value.note, "scale": value.scale, "palette": value.colours}
            for name, value in VALUES.items()
        ],
        "palettes": {name: _palette(name) for name in sorted({SEQUENTIAL, *(v.colours for v in VALUES.values())})},
        "categories": [
            {"name": name, "column": value.column, "label": value.label, "colours": dict(value.colours)}
            | {"background": value.background, "lead": value.lead}
            for name, value in CATEGORIES.items()
        ],
    }


def _palette(name: str) -> list[str]:
    """Evenly spaced colours of a matplotlib colour map."""
    return [to_hex(colour) for colour in matplotlib.colormaps[name](np.linspace(0, 1, _PALETTE_COLOURS))]
