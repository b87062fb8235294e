"""Saving figures: for screen and paper, with fonts embedded, and with how they were made in their metadata."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from analysis.data import Where, open_store, seed_count
from analysis.scoring import LossCriterion
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, comma_list
from lop_sweep.storage import write_bytes, writing
from lop_sweep.version import __version__

ENDINGS: tuple[str, ...] = (".png", ".pdf", ".svg")

_PAD_INCHES = 0.05

_EMBEDDED: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "lop-sweep"}
"""TrueType fonts within a PDF, outlines within an SVG; the same figure gives the same SVG."""


def provenance(
    directory: str | Path, cells: pd.DataFrame, criterion: LossCriterion | None = None, where: Where | None = None
) -> dict[str, Any]:
    """How a figure was made: sweep, rule, seeds, version; plain values.

    Args:
        directory: the sweep directory.
        cells: the cells that are shown, with the configuration fields.
        rule: the rule, where one matters.
        where: the conditions that the cells were chosen with.

    Raises:
        StoreError: `directory` is not a sweep directory.
    """
    sweep = open_store(directory).read_sweep() or {}
    seeds = cells.groupby([field for field in FIELDS if field != "seed"]).size()
    made: dict[str, Any] = {
        "sweep": sweep.get("space"),
        "created": sweep.get("created"),
        "dtype": sweep.get("dtype"),
        "cells": len(cells),
        "seeds": seed_count(seeds) if len(seeds) else "0",
        "where": {field: list(values) for field, values in (where or {}).items()},
        "lop_sweep_version": __version__,
    }
    return made | ({"rule": asdict(criterion), "rule_in_words": str(criterion)} if criterion else {})


def save_figure(figure: Figure, path: str | Path, made: Mapping[str, Any]) -> None:
    """Save a figure as PNG, PDF or SVG, by the path's ending.

    Args:
        figure: the figure.
        path: a file; one that is there is replaced.
        made: from `provenance`; becomes the metadata's description (of a PDF: subject), as JSON.

    Raises:
        AnalysisError: the ending is none of `ENDINGS`.
        StoreError: the file cannot be written.
    """
    path = Path(path)
    check_ending(str(path), ENDINGS)
    if engine := figure.get_layout_engine():
        engine.execute(figure)  # once: saving would do it twice, and draw everything twice
        figure.set_layout_engine(None)
    kind = path.suffix[1:]
    buffer = io.BytesIO()
    with matplotlib.rc_context(_EMBEDDED):
        figure.savefig(
            buffer,
            format=kind,
            dpi=150,
            bbox_inches=figure.get_tightbbox().padded(_PAD_INCHES),
            metadata=_metadata(kind, figure, made),
        )
    with writing(path):
        write_bytes(path, buffer.getvalue())


def check_ending(path: str, endings: tuple[str, ...]) -> None:
    """Refuse a path that no format belongs to.

    Raises:
        AnalysisError: it has none of the endings.
    """
    if not path.endswith(endings):
        raise AnalysisError(f"--out {path!r}: must end with {comma_list(endings)}")


def _metadata(kind: str, figure: Figure, made: Mapping[str, Any]) -> dict[str, Any]:
    title, maker = figure.get_suptitle().replace("\n", " "), f"lop-sweep {__version__}"
    text = json.dumps(made)
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Title": title, "Description": text, "Software": maker},
        "pdf": {"Title": title, "Subject": text, "Creator": maker, "CreationDate": None},
        "svg": {"Title": title, "Description": text, "Creator": maker, "Date": None},
    }
    return metadata[kind]
