"""Figures in notebooks; saving them for screen and print, with fonts embedded and their provenance in the metadata."""

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

from analysis.data import open_store, seed_count
from analysis.scoring import criterion_of
from lop_sweep.config import FIELDS
from lop_sweep.errors import AnalysisError, comma_list
from lop_sweep.storage import write_bytes, writing
from lop_sweep.version import __version__

ENDINGS: tuple[str, ...] = (".png", ".pdf", ".svg")

_PAD_INCHES = 0.05

_EMBEDDED: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "lop-sweep"}
"""TrueType fonts within a PDF, outlines within an SVG. The salt makes the SVG of a figure reproducible."""


class NotebookFigure(Figure):
    """A figure that a notebook shows, also without `%matplotlib inline`."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", bbox_inches="tight")
        return buffer.getvalue()


def provenance(cells: pd.DataFrame) -> dict[str, Any]:
    """Return how the numbers of a figure were made: sweep, criterion, seeds, version; plain values for JSON.

    Args:
        cells: from `score`, `load_cells` or `map_table`. Its `attrs` say directory, conditions and criterion.

    Raises:
        AnalysisError: the frame does not say its directory.
        StoreError: the directory is not a sweep directory any more.
    """
    directory = cells.attrs.get("directory")
    if directory is None:
        raise AnalysisError(
            "`cells` must say its directory in `attrs`, which merge, join and concat may lose; "
            "use the frame that analysis.score or analysis.load_cells returned"
        )
    sweep = open_store(directory).read_sweep() or {}
    seeds = _seeds(cells)
    made: dict[str, Any] = {
        "sweep": sweep.get("space"),
        "created": sweep.get("created"),
        "dtype": sweep.get("dtype"),
        "cells": int(seeds.sum()),
        "seeds": seed_count(seeds) if len(seeds) else "0",
        "where": cells.attrs.get("where", {}),
        "lop_sweep_version": __version__,
    }
    if "criterion" in cells.attrs:
        criterion = criterion_of(cells)
        made |= {"rule": asdict(criterion), "rule_in_words": str(criterion)}
    return made


def _seeds(cells: pd.DataFrame) -> pd.Series:
    """Return the number of cells of each configuration, or of each point of a map."""
    if "map" in cells.attrs:
        points = cells[cells["score"] == cells["score"].iloc[0]] if len(cells) else cells
        return points["cells"][points["cells"] > 0]
    return cells.groupby([field for field in FIELDS if field != "seed"], observed=True).size()


def save_figure(figure: Figure, path: str | Path, made: Mapping[str, Any]) -> None:
    """Save a figure as PNG, PDF or SVG, by the path's ending.

    Args:
        figure: the figure. Its label, if it has one, is the full caption, and is added to the metadata.
        path: a file; an existing one is replaced.
        made: from `provenance`. Becomes the description in the metadata, as JSON (of a PDF: the subject).

    Raises:
        AnalysisError: the ending is none of `ENDINGS`.
        StoreError: the file cannot be written.
    """
    path = Path(path)
    check_ending(str(path), ENDINGS)
    if engine := figure.get_layout_engine():
        engine.execute(figure)  # once: saving would draw everything twice to do it
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
    """Refuse a path whose ending is not supported.

    Raises:
        AnalysisError: it has none of the endings.
    """
    if not path.endswith(endings):
        raise AnalysisError(f"--out {path!r}: must end with {comma_list(endings)}")


def check_width(width: float | None) -> None:
    """Refuse a width in inches that no figure can have.

    Raises:
        AnalysisError: it is too small or too large.
    """
    if width is not None and not 2 <= width <= 60:
        raise AnalysisError(f"--width must be from 2 to 60 inches, got {width:g}; a paper's column has 3.4")


def _metadata(kind: str, figure: Figure, made: Mapping[str, Any]) -> dict[str, Any]:
    title, maker = figure.get_suptitle().replace("\n", " "), f"lop-sweep {__version__}"
    caption = str(figure.get_label())
    text = json.dumps({**made, "caption": caption.split("\n")} if caption else made)
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Title": title, "Description": text, "Software": maker},
        "pdf": {"Title": title, "Subject": text, "Creator": maker, "CreationDate": None},
        "svg": {"Title": title, "Description": text, "Creator": maker, "Date": None},
    }
    return metadata[kind]
