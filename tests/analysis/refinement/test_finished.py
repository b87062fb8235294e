"""Outcomes of finished cells: those of `score`, whether the directory is read at once or pack by pack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from four_cells import BASE
from made_store import losing, write_store
from sweeping import compute_here

from analysis import score
from analysis.refinement import RATE, TARGETS, FinishedCells
from analysis.refinement.finished import Outcome
from analysis.scoring import LossCriterion
from lop_sweep.config import CellConfig
from lop_sweep.errors import AnalysisError, StoreError
from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.store import Store

DECIDABLE = ("plastic", "undecided", "lost")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of all verdicts, with controls and without, some without fresh networks; a pack has one or more cells."""
    cells = [
        CellConfig(
            depth=depth, lr=lr, delta=delta, seed=seed, tasks=24, width=8, fresh_baseline=fresh, control_every=every
        )
        for depth, lr, every in [(1, 0.1, 0), (2, 0.8, 0), (3, 0.8, 1), (2, 1.6, 2)]
        for delta, fresh in [(0.0, 4), (1.5, 4), (1.0, 0)]
        for seed in range(3)
    ]
    root = tmp_path_factory.mktemp("finished") / "sweep"
    write_store(root, cells[::2], losing)  # packs have some seeds of a configuration, and others the rest
    return write_store(root, cells[1::2], losing)


def expected(scored: pd.DataFrame, target: str) -> dict[str, Outcome]:
    """Return what the columns of `score` say."""
    if target == RATE:
        known = scored["late_failures"].notna()
        values = scored["late_failures"].where(known, 0.0), scored["late_tasks"].where(known, 0)
    else:
        counted = DECIDABLE if target in DECIDABLE else TARGETS
        values = scored["verdict"] == target, scored["verdict"].isin(counted)
    return {cell: (float(k), float(n)) for cell, k, n in zip(scored["cell"], *values, strict=True)}


CRITERIA = [LossCriterion(), LossCriterion("paired", last=8), LossCriterion("trend"), LossCriterion("onset", hold=2)]


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.definition)
def test_outcomes_are_those_of_score(directory: Path, criterion: LossCriterion) -> None:
    scored = score(directory, criterion=criterion, slopes=False)
    for target in ("lost", "undecided", "untrainable", "diverged", RATE) if criterion == CRITERIA[0] else ("lost",):
        assert FinishedCells(directory, target, criterion).load() == expected(scored, target)


def test_the_made_cells_have_all_kinds_of_outcomes(directory: Path) -> None:
    verdicts = {*score(directory)["verdict"], *score(directory, definition="paired", last=8)["verdict"]}
    assert verdicts >= {"plastic", "lost", "untrainable", "diverged", "no baseline"}
    rates = {*FinishedCells(directory, RATE).load().values()}
    assert (0.0, 0.0) in rates
    assert len(rates) > 4


@pytest.mark.parametrize(("criterion", "seed"), [(CRITERIA[0], 0), (CRITERIA[1], 1)], ids=["rate", "paired"])
def test_pack_by_pack_in_any_order(directory: Path, criterion: LossCriterion, seed: int) -> None:
    """The last outcome of each cell counts: fresh networks of later seeds change those of earlier ones."""
    packs = sorted(Store(directory).committed())
    scored = score(directory, criterion=criterion, slopes=False)
    assert len(packs) >= 8
    for target in ("lost", RATE):
        reader, found = FinishedCells(directory, target, criterion), {}
        for pack in np.random.default_rng(seed).permutation(packs):
            found |= reader.add(str(pack))
        assert found == expected(scored, target)


def test_a_pack_after_the_others_were_loaded(tmp_path: Path) -> None:
    """A new seed changes outcomes of its configuration alone, and only these are returned."""
    cells = [BASE.replace(seed=seed, lr=lr) for lr in (0.1, 0.4) for seed in range(3)]
    store = compute_here(cells[:2] + cells[3:], tmp_path / "sweep", pack=())
    before, reader = set(store.committed()), FinishedCells(store.root)
    found = reader.load()
    assert set(found) == {cell.id for cell in cells} - {cells[2].id}
    compute_here(cells, store.root, pack=())
    (new,) = {*store.committed()} - before
    changed = reader.add(new)
    assert set(changed) == {cell.id for cell in cells[:3]}
    assert found | changed == FinishedCells(store.root).load()


def test_fresh_networks_of_a_later_seed_change_a_verdict(tmp_path: Path) -> None:
    """Alone, seed 0 has nothing to lose: its fresh networks fail. Those of the other seeds learn."""
    cells = [BASE.replace(seed=seed, tasks=20) for seed in range(4)]

    def sequences(config: CellConfig, _: np.random.Generator) -> tuple[np.ndarray, float]:
        return np.full(20, 0.02), 0.9 if config.seed == 0 else 0.02

    for cell in cells:  # each in a pack of its own
        directory = write_store(tmp_path / "sweep", [cell], sequences)
    packs = Store(directory).read_cells(["seed", "pack"]).to_pandas().sort_values("seed")["pack"]
    reader = FinishedCells(directory, "untrainable")
    outcomes = [reader.add(pack)[cells[0].id] for pack in packs]
    assert outcomes[0] == (1.0, 1.0)
    assert outcomes[-1] == (0.0, 1.0)


def test_packs_that_have_been_merged_are_found(tmp_path: Path) -> None:
    cells = [BASE.replace(seed=seed, lr=lr) for lr in (0.1, 0.4) for seed in range(2)]
    store = compute_here(cells, tmp_path / "sweep", pack=())
    packs = sorted(store.committed())
    reader = FinishedCells(store.root)
    reader.add(packs[0])
    assert compact(store).after == 1
    assert reader.add(packs[1]) == FinishedCells(store.root).load()
    assert len(reader.load()) == 4


def test_an_empty_directory_has_no_outcomes(tmp_path: Path) -> None:
    store = Store(tmp_path / "sweep")
    store.create()
    store.write_sweep({"dtype": "float64", "created": "today", "name": "none", "cells": []})
    assert FinishedCells(store.root).load() == {}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: FinishedCells(path, "loost"), AnalysisError, "target = 'loost': must be one of plastic, und"),
        (lambda path: FinishedCells(path / "none").load(), StoreError, "none"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make(tmp_path)
    assert "\n" not in str(caught.value)
