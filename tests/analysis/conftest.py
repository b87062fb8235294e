"""A real, small store to analyse, computed in this process, and a report in a browser."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_store import losing, write_store
from playwright.sync_api import Browser, Page
from report_tools import Report
from sweeping import compute_here

from analysis.report.write import write_report
from lop_sweep.config import CellConfig
from lop_sweep.planning.space import expand_space

AXES = ((1, 2, 3), (0.1, 0.4, 0.8, 1.6), (0.0, 1.5))
SEEDS = (0, 1, 2, 3, 2**62 + 1)
GO = """async fragment => {
    history.replaceState(null, '', fragment);
    window.dispatchEvent(new HashChangeEvent('hashchange'));
    for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
}"""
"""As if the address had been changed by hand."""


@pytest.fixture(scope="session")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """depth x lr x delta x 2 seeds; lr 1.7e308 diverges; 8 tasks."""
    space = {
        "depth": {"grid_search": [1, 2]},
        "lr": {"grid_search": [0.05, 0.2, 1.7e308]},
        "delta": {"grid_search": [0.0, 2.0]},
        "seed": {"grid_search": [1, 5]},
        "width": 6, "samples": 12, "steps": 4, "tasks": 8, "fresh_baseline": 3,
    }  # fmt: skip
    cells = expand_space(space)
    return compute_here(cells, tmp_path_factory.mktemp("store") / "sweep").root


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """depth x lr x delta x seeds, one point with one seed, one with none; 22 tasks."""
    cells = [
        CellConfig(depth=depth, lr=lr, delta=delta, seed=seed, tasks=22, width=8, fresh_baseline=3)
        for depth, lr, delta, seed in itertools.product(*AXES, SEEDS)
    ]
    missing = [c for c in cells if (c.depth, c.lr) == (1, 0.1) or ((c.depth, c.lr) == (2, 0.1) and c.seed > 0)]
    finished = [cell for cell in cells if cell not in missing]
    return write_store(tmp_path_factory.mktemp("made") / "sweep", finished, losing, missing)


@pytest.fixture(scope="session")
def made_file(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "made.html"
    write_report(made, path)
    return path


@pytest.fixture(scope="session")
def tab(browser: Browser) -> Page:
    """One tab for all tests: a second report in it is there four times as soon as in a new one."""
    return browser.new_page(viewport={"width": 1366, "height": 768})


@pytest.fixture
def report(tab: Page) -> Iterator[Report]:
    """Opens a report file; whatever goes wrong on the page, or leaves it, fails the test."""
    wrong: list[str] = []
    listeners: dict[Any, Callable[..., None]] = {
        "console": lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None,
        "pageerror": lambda error: wrong.append(str(error)),
        "request": lambda request: wrong.append(request.url) if not _is_local(request.url) else None,
    }
    for event, listener in listeners.items():
        tab.on(event, listener)

    def show(path: Path, fragment: str = "", scheme: Any = "light", fresh: bool = False) -> Page:
        tab.emulate_media(color_scheme=scheme)
        if tab.url.split("#")[0] == path.as_uri() and not fresh:
            tab.evaluate(GO, fragment or "#")
        else:
            tab.goto("about:blank")
            tab.goto(path.as_uri() + fragment)
            tab.evaluate("window.lopReport.ready")
        return tab

    yield show
    for event, listener in listeners.items():
        tab.remove_listener(event, listener)
    assert not wrong


def _is_local(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:"))
