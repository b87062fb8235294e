"""Helpers for the tests of the report's page."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Page

from analysis.data.load import load_cells
from analysis.report.description import CONTROLS
from analysis.scoring.criterion import LossCriterion

Report = Callable[..., Page]


def replace_everywhere(monkeypatch: pytest.MonkeyPatch, old: object, new: object) -> None:
    """Replace an object under every name by which a module of lop_sweep or analysis has imported it."""
    for module in [module for name, module in sys.modules.items() if name.split(".")[0] in ("analysis", "lop_sweep")]:
        for name, value in list(vars(module).items()):
            if value is old:
                monkeypatch.setattr(module, name, new)


def wait(page: Page, condition: str) -> None:
    """Wait until an expression is true; the page's content security policy refuses Playwright's own way."""
    end = time.monotonic() + 10
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def change(page: Page, **changes: object) -> None:
    """Change the state of the page."""
    page.evaluate("changes => window.lopReport.change(changes)", changes)


def set_criterion(page: Page, criterion: LossCriterion) -> None:
    """Change the definition and the thresholds that the page can change."""
    page.evaluate(
        "criterion => window.lopReport.change({criterion: {...window.lopReport.state().criterion, ...criterion}})",
        {name: getattr(criterion, name) for name in ("definition", *CONTROLS)},
    )


def points(page: Page) -> pd.DataFrame:
    """Return one row per point of the map."""
    return pd.DataFrame(page.evaluate("window.lopReport.points()"))


def id_of(directory: Path, **fields: float) -> str:
    """Return the id of the cell with these values, where delta is 1.5."""
    cells = load_cells(directory)
    (cell,) = cells[
        np.logical_and.reduce([cells[name] == value for name, value in {"delta": 1.5, **fields}.items()])
    ].cell
    return str(cell)
