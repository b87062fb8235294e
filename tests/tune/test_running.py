"""Scores of a running trial: by hand, and at the end as `analysis.score` has them for one cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import analysis
from lop_sweep.config import CellConfig
from lop_sweep.planning import SearchSpace
from lop_sweep.storage import Store
from lop_sweep.storage.manifest import describe_space
from lop_sweep.tune.running import running_scores
from lop_sweep.tune.trainable import LopTrainable

NOT_YET = np.empty((1, 0))


def test_the_first_tasks_stand_for_fresh_networks() -> None:
    losses = np.array([0.1, 0.2, 0.1, 0.3, 0.1, 0.5, 0.05, 0.9])[:, None]
    scores = running_scores(losses, NOT_YET)
    assert scores["late_end_ce"] == pytest.approx((0.05 + 0.9) / 2)
    assert scores["excess"] == pytest.approx((0.05 + 0.9) / 2 - 0.16)
    assert scores["late_failure_rate"] == 0.5


def test_fresh_networks_take_their_place() -> None:
    losses = np.array([0.1, 0.2, 0.1, 0.9])[:, None]
    scores = running_scores(losses, np.array([[0.7, 0.8, 0.9]]))
    assert scores["excess"] == pytest.approx(0.1)
    assert scores["late_failure_rate"] == 0.0


def test_diverged_cells_do_not_count() -> None:
    losses = np.array([[0.1, 0.1], [0.4, np.nan]])
    scores = running_scores(losses, np.array([[0.1], [np.nan]]))
    assert scores == pytest.approx({"late_end_ce": 0.4, "excess": 0.3, "late_failure_rate": 1.0})
    assert all(np.isnan(value) for value in running_scores(losses[:, 1:], np.array([[np.nan]])).values())


def test_every_result_has_them_and_the_last_those_of_the_analysis(small: CellConfig, tmp_path: Path) -> None:
    config = small.replace(tasks=9, fresh_baseline=5, lr=3.0)
    store = Store(tmp_path / "sweep")
    store.create()
    store.write_sweep(
        {"dtype": "float64", "created": "today", **describe_space(SearchSpace(cells=[config], name="one"))}
    )
    trainable = LopTrainable({**config.model_dump(), "run": {"store": str(store.root)}})
    results = [trainable.train() for _ in range(config.tasks)]
    assert all({"late_end_ce", "excess", "late_failure_rate"} <= set(result) for result in results)
    (scored,) = analysis.score(tmp_path / "sweep").to_dict("records")
    last = results[-1]
    assert last["done"]
    assert last["late_end_ce"] == pytest.approx(scored["late_ce"])
    assert last["excess"] == pytest.approx(scored["excess"])
    assert last["late_failure_rate"] == scored["late_failure_rate"]
