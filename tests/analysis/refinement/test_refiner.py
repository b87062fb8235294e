"""Refinements of a search space: axes, budgets, and what other cells in the directory have to do with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from four_cells import BASE
from sweeping import compute_here

from analysis.refinement import Budget, Refiner, make_candidates
from lop_sweep.config import CellConfig
from lop_sweep.errors import AnalysisError
from lop_sweep.storage.store import Store

SHORT = BASE.replace(tasks=8)
CELLS = tuple(
    SHORT.replace(lr=lr, depth=depth, seed=seed) for lr in (0.1, 0.2, 0.4, 0.8) for depth in (1, 2) for seed in (0, 1)
)


def run(refiner: Refiner, out: Path, most: int = 1, seconds: float = 0.0) -> list[CellConfig]:
    """Compute what is asked for until nothing is, in this process; return the cells."""
    found: list[CellConfig] = []
    while asked := refiner.ask(most=most, seconds=seconds):
        before = {*Store(out).committed()} if out.exists() else set()
        found += asked
        store = compute_here(asked, out, pack=(), keep=False)
        for pack in sorted({*store.committed()} - before):
            refiner.tell(pack)
    return found


def test_a_budget_of_cells_counts_those_that_are_there(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    refiner = Refiner(CELLS, out, budget=Budget(cells=3))
    assert (refiner.told, refiner.expected, refiner.axes) == (0, 3, ("depth", "lr"))
    first = run(refiner, out)
    assert len({cell.id for cell in first}) == 3 == refiner.told
    again = Refiner(CELLS, out, budget=Budget(cells=5))
    assert again.told == 3
    second = run(again, out)
    assert len(second) == 2
    assert not {cell.id for cell in first} & {cell.id for cell in second}
    assert Refiner(CELLS, out, budget=Budget(cells=5)).ask() == []


def test_pending_cells_count_towards_the_budget(tmp_path: Path) -> None:
    refiner = Refiner(CELLS, tmp_path, budget=Budget(cells=3))
    pending: list[str] = []
    while asked := refiner.ask(pending, most=2, seconds=9.0):
        pending += [cell.id for cell in asked]
    assert len(set(pending)) == 3
    assert len(refiner.ask(["0" * 16, *pending[:2]], most=9)) == 1  # cells of other spaces do not count


def test_a_budget_of_core_time_adds_up_the_costs(tmp_path: Path) -> None:
    """Deep cells cost 3 s and others 1 s: cells are asked for until 7 s are reached, pending ones included."""
    seconds = [3.0 if cell.depth == 2 else 1.0 for cell in CELLS]
    cost = dict(zip((cell.id for cell in CELLS), seconds, strict=True))
    refiner = Refiner(CELLS, tmp_path, budget=Budget(seconds=7), seconds=seconds)
    pending: list[str] = []
    while asked := refiner.ask(pending):
        pending += [cell.id for cell in asked]
    spent = sum(cost[cell] for cell in pending)
    assert spent - cost[pending[-1]] < 7 <= spent
    assert refiner.expected == 1


def test_finished_cells_count_towards_core_time(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    compute_here(CELLS[:6], out, pack=(), keep=False)
    assert Refiner(CELLS, out, budget=Budget(seconds=6)).ask() == []
    assert len(Refiner(CELLS, out, budget=Budget(seconds=6.5)).ask()) == 1
    assert Refiner(CELLS, out, budget=Budget(seconds=6.5)).expected == 7


def test_a_width_is_enough_once_the_design_is_known(tmp_path: Path) -> None:
    """All cells are far from a loss after 8 tasks, so that the sides are soon known."""
    out = tmp_path / "sweep"
    refiner = Refiner(CELLS, out, budget=Budget(width=0.9))
    assert refiner.width == 1.0
    assert refiner.note == "side unknown at 100% of the points"
    found = run(refiner, out)
    assert len({(cell.lr, cell.depth) for cell in found[:8]}) == 8  # each point once, then other seeds
    assert len(found) < len(CELLS)
    assert refiner.width <= 0.9
    assert refiner.note == f"side unknown at {100 * refiner.width:.0f}% of the points"
    assert refiner.expected == len(found) + 1


def test_any_limit_ends_it(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    refiner = Refiner(CELLS, out, budget=Budget(cells=2, seconds=100, width=0.001))
    assert refiner.expected == 1  # the others may come first
    assert len(run(refiner, out)) == 2


def test_more_cells_than_there_are(tmp_path: Path) -> None:
    refiner = Refiner(CELLS[:4], tmp_path / "sweep", budget=Budget(cells=100))
    assert refiner.expected == 4
    assert len(run(refiner, tmp_path / "sweep")) == 4


def test_other_cells_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    others = [cell.replace(width=7) for cell in CELLS[:3]]
    compute_here([*others, *CELLS[:2]], out, pack=(), keep=False)
    refiner = Refiner(CELLS, out, budget=Budget(cells=4))
    assert refiner.told == 2
    found = run(refiner, out)
    assert len(found) == 2
    assert {cell.width for cell in found} == {SHORT.width}
    before = {*Store(out).committed()}
    compute_here([SHORT.replace(width=5)], out, pack=(), keep=False)
    (new,) = {*Store(out).committed()} - before
    refiner.tell(new)
    assert refiner.told == 4


def test_packs_share_the_fields_that_fix_a_shape(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    compute_here(CELLS[::2], out, pack=(), keep=False)
    asked = Refiner(CELLS, out, budget=Budget(cells=100)).ask(most=4, seconds=100.0)
    assert 2 <= len(asked) <= 4
    assert len({cell.depth for cell in asked}) == 1


def test_dropped_cells_are_not_asked_for(tmp_path: Path) -> None:
    refiner = Refiner(CELLS, tmp_path, budget=Budget(cells=100))
    refiner.drop([cell.id for cell in CELLS[1:]])
    assert refiner.ask() == [CELLS[0]]
    refiner.drop([CELLS[0].id])
    assert refiner.ask() == []


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([SHORT, SHORT.replace(seed=1)], "1 to 4 fields that vary beside the seed, here 0; give one of them several"),
        (
            [SHORT, SHORT.replace(lr=0.3, depth=1, width=9, steps=4, delta=0.5)],
            r"1 to 4 fields that vary beside the seed, here 5 do: .*depth.*; fix some of them",
        ),
    ],
)
def test_too_few_or_too_many_axes_are_refused(tmp_path: Path, cells: list[CellConfig], message: str) -> None:
    with pytest.raises(AnalysisError, match=message) as caught:
        Refiner(cells, tmp_path, budget=Budget(cells=1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "a refinement needs a limit: a number of cells, core-time, or a width of the band"),
        ({"cells": 0}, "cells = 0: must be an integer of at least 1"),
        ({"seconds": 0.0}, "seconds = 0.0: must be a positive number"),
        ({"seconds": float("nan")}, "seconds = nan: must be a positive number"),
        ({"width": 1.0}, "width = 1.0: must be between 0 and 1, a share of the points"),
        ({"cells": 5, "width": -0.1}, "width = -0.1: must be between 0 and 1"),
    ],
)
def test_budgets_out_of_range_are_refused(limits: dict[str, float], message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        Budget(**limits)  # type: ignore[arg-type]


def test_cells_become_points() -> None:
    """Spacing decides the scale, strings are categories, and shapes differ in fields that cannot be packed."""
    cells = [
        SHORT.replace(lr=lr, delta=delta, activation=activation, seed=seed)
        for lr in (0.1, 0.2, 0.4)
        for delta in (0.0, 1.0, 2.0)
        for activation in ("tanh", "relu")
        for seed in (3, 7)
    ]
    axes, candidates = make_candidates(cells, range(len(cells)))
    scales = dict(zip(axes, candidates.scales, strict=True))
    assert scales == {"lr": "log", "delta": "linear", "activation": "category"}
    column = {name: candidates.points[:, number] for number, name in enumerate(axes)}
    np.testing.assert_array_equal(column["lr"], [cell.lr for cell in cells])
    assert set(column["activation"]) == {0, 1}
    assert [*candidates.seeds[:4]] == [0, 1, 0, 1]
    assert candidates.seconds[5] == 5
    shapes = {(cell.activation, int(shape)) for cell, shape in zip(cells, candidates.shapes, strict=True)}
    assert len(shapes) == 2 == len({shape for _, shape in shapes})
