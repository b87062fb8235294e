"""What the tests of the report's page have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Page

from analysis.data.load import load_cells
from analysis.scoring.criterion import LossCriterion

Report = Callable[..., Page]


def change(page: Page, **changes: object) -> None:
    page.evaluate("changes => window.lopReport.change(changes)", changes)


def set_rule(page: Page, criterion: LossCriterion) -> None:
    page.evaluate(
        "async rule => window.lopReport.change({rule: {...window.lopReport.state().rule, ...rule}})",
        {
            name: getattr(criterion, name)
            for name in ("definition", "last", "margin", "factor", "chance", "hold", "recover")
        },
    )


def points(page: Page) -> pd.DataFrame:
    return pd.DataFrame(page.evaluate("window.lopReport.points()"))


def id_of(directory: Path, **fields: float) -> str:
    """The id of the cell with these values, where delta is 1.5."""
    cells = load_cells(directory)
    (cell,) = cells[
        np.logical_and.reduce([cells[name] == value for name, value in {"delta": 1.5, **fields}.items()])
    ].cell
    return str(cell)
