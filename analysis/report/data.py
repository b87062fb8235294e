"""The data of a report: arrays over cells and a description of them, from one pass over the store.

n cells, in the order in which the store gives them. Sequences lie one after the other, cell by cell. Where they are too
long for the page, they are means over blocks of tasks, see `analysis.report.encoding`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.data import (
    Where,
    blocks_of,
    chance_levels,
    load_cells,
    load_requested,
    measured_metrics,
    open_store,
    select,
)
from analysis.report import sequences
from analysis.report.axes import MapField, fixed_fields, map_fields
from analysis.report.description import PERCENTILES, describe
from analysis.report.encoding import Column, single
from analysis.report.lookup import MAX_TABULATED, evidence_arrays, interval_arrays, paired_arrays
from analysis.report.sequences import Resolution
from analysis.report.surfaces import fitted_surfaces, opening_axes
from analysis.scoring import MAX_BLOCKS, FreshPool, LossCriterion, check_last, with_fresh_pool
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, safe_repr
from lop_sweep.prefetch import prefetch
from lop_sweep.storage import DIVERGED

_PROVENANCE = ("engine", "dtype", "device", "blas", "host", "lop_sweep_version", "numpy_version", "torch_version")
_CELL_ID = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True)
class ReportData:
    """The content of a report.

    Attributes:
        about: plain values, which can be written as JSON.
        arrays: by name.
    """

    about: dict[str, Any]
    arrays: dict[str, Column]


def collect(directory: str | Path, criterion: LossCriterion, where: Where | None = None) -> ReportData:
    """Read a sweep for its report.

    Memory grows with the report: up to 2 kB per cell of 100 tasks.

    Args:
        directory: a sweep directory.
        criterion: the one that the page opens with.
        where: conditions on the cells, see `analysis.data.select`; None for all.

    Raises:
        StoreError: `directory` is not a sweep directory, or a file in it is damaged.
        AnalysisError: no cell is finished, a condition cannot be met, or the criterion needs every task of a sweep that
            is too large for that.
    """
    cells = load_cells(directory)
    if cells.empty:
        raise AnalysisError(f"{directory}: there is no finished cell to report on; run the sweep first")
    pool = FreshPool.of(cells)
    cells = select(with_fresh_pool(cells, criterion, pool).assign(fresh_group=pool.group), where or {})
    if cells.empty:
        raise AnalysisError(f"{directory}: no finished cell fulfils all conditions; relax --where")
    check_last(criterion, cells)
    resolution = Resolution.of(cells)
    if resolution.loss and criterion.definition == "onset":
        raise AnalysisError(
            f"definition 'onset' needs the loss of every task, and a report holds at most {sequences.MAX_FULL_ROWS:,} "
            f"tasks, got {int(cells['tasks'].sum()):,}; choose fewer cells with --where, or another definition"
        )
    missing = _missing(cells, select(load_requested(directory), where or {}, required=False))
    blocks = blocks_of(cells, directory)
    kept = list(prefetch(lambda block: sequences.keep(block, criterion, resolution), blocks, MAX_BLOCKS))
    ordered = pd.concat([cells_of for cells_of, _ in kept], ignore_index=True)
    series = {name: np.concatenate([arrays[name] for _, arrays in kept]) for name in kept[0][1]}
    everything = pd.concat([ordered[list(FIELDS)], missing[list(FIELDS)]]) if len(missing) else ordered
    fields = map_fields(everything)
    seeds = np.unique(ordered["seed"].to_numpy())
    networks = sorted(set(ordered["fresh_networks"]) - {0})
    tabulated = min(MAX_TABULATED, len(ordered))
    surfaces, fitted = fitted_surfaces(ordered, missing, fields)
    provenance = ordered[list(_PROVENANCE)].drop_duplicates(ignore_index=True)
    sweep = open_store(directory).read_sweep() or {}
    about = {
        "space": str(sweep.get("space", "")),
        "directory": Path(directory).absolute().name,
        "created": str(sweep.get("created", "")),
        "cells": len(ordered),
        "missing": len(missing),
        "seeds": [str(seed) for seed in seeds],
        "provenance": provenance.astype(str).to_dict("records"),
        "fields": [asdict(field) for field in fields],
        "fixed": fixed_fields(everything),
        "resolution": asdict(resolution),
        "evidence": {"networks": networks, "tasks": int(ordered["tasks"].max()), "tabulated": tabulated},
        "opening": dict(zip("xy", opening_axes(fields), strict=True)),
        "surfaces": surfaces,
        **describe(criterion, measured_metrics(cells), cells["stream"].unique().tolist()),
    }
    arrays = _cell_arrays(ordered, seeds, provenance) | _field_arrays(ordered, missing, fields)
    arrays |= _fresh_arrays(pool) | evidence_arrays(networks, int(ordered["tasks"].max()), criterion)
    if "control" in series:
        every = ordered["control_every"].to_numpy()
        pairs = np.where(every > 0, ordered["tasks"].to_numpy() // np.maximum(every, 1), 0)
        arrays |= paired_arrays(int(pairs.max()), criterion)
    arrays |= interval_arrays(tabulated) | fitted
    return ReportData(about, arrays | sequences.encode(series, resolution))


def _missing(cells: pd.DataFrame, requested: pd.DataFrame) -> pd.DataFrame:
    """Return the requested cells that are not finished."""
    return requested if requested.empty else requested[~requested["cell"].isin(set(cells["cell"]))]


def _cell_arrays(cells: pd.DataFrame, seeds: np.ndarray, provenance: pd.DataFrame) -> dict[str, Column]:
    """Return what is known of each cell besides its configuration fields and its metrics."""
    combinations = pd.MultiIndex.from_frame(provenance)
    diverged_at = cells["diverged_at"].fillna(1).to_numpy(float)
    fresh = [np.quantile(losses, PERCENTILES) if len(losses) else (np.nan, np.nan) for losses in cells["fresh_ce"]]
    fresh_low, fresh_high = single(np.array(fresh, float).T)
    return {
        "id": _id_bytes(cells["cell"]),
        "seed": np.searchsorted(seeds, cells["seed"].to_numpy()).astype(np.uint32),
        "provenance": combinations.get_indexer(pd.MultiIndex.from_frame(cells[list(_PROVENANCE)])).astype(np.uint16),
        "tasks": cells["tasks"].to_numpy(np.int32),
        "depth": cells["depth"].to_numpy(np.int32),
        "diverged_at": np.where(cells["status"] == DIVERGED, diverged_at, 0).astype(np.int32),
        "baseline": cells["fresh_baseline"].to_numpy(np.int32),
        "chance": chance_levels(cells),
        "fresh.group": cells["fresh_group"].to_numpy(np.uint32),
        "fresh_low": fresh_low,
        "fresh_high": fresh_high,
    }


def _fresh_arrays(pool: FreshPool) -> dict[str, Column]:
    """Return the fresh networks of each configuration, from which the page counts those that fail."""
    return {"fresh.losses": pool.losses, "fresh.size": pool.sizes.astype(np.uint32), "fresh.median": pool.medians}


def _field_arrays(cells: pd.DataFrame, missing: pd.DataFrame, fields: Sequence[MapField]) -> dict[str, Column]:
    """Return which value or bin of each field the cells have, finished and missing ones."""
    arrays: dict[str, Column] = {}
    for field in fields:
        arrays[f"field.{field.name}"] = field.indices_of(cells).astype(np.uint16)
        if len(missing):
            arrays[f"missing.{field.name}"] = field.indices_of(missing).astype(np.uint16)
        if field.binned:
            arrays[f"value.{field.name}"] = cells[field.name].to_numpy(float)
    return arrays


def _id_bytes(ids: Iterable[str]) -> np.ndarray:
    """Return the ids of n cells as (8 n,) bytes."""
    for cell in ids:
        if not _CELL_ID.fullmatch(cell):
            raise AnalysisError(
                f"{safe_repr(cell)} is not a cell's id, which has 16 hexadecimal digits; lop-sweep audit names its file"
            )
    return np.frombuffer(bytes.fromhex("".join(ids)), np.uint8)
