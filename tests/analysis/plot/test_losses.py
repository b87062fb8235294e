"""Sweeps over other streams, from computing to figures: their columns hold losses that are not cross-entropy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sweeping import compute_here

from analysis.data.load import load_cells, load_tasks
from analysis.plot.curves import plot_curves
from analysis.plot.maps import plot_map
from analysis.report.data import collect
from analysis.scoring.criterion import LossCriterion
from analysis.scoring.table import score
from lop_sweep.config import CellConfig
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.store import Store

FIELDS = {"width": 5, "depth": 1, "samples": 40, "steps": 40, "batch_size": 1, "tasks": 8, "fresh_baseline": 3}


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = [
        CellConfig(
            stream="slowly_changing_regression", seed=seed, lr=lr, metrics=["test_accuracy", "test_ce"], **FIELDS
        )
        for seed in (0, 1)
        for lr in (0.003, 0.01)
    ]
    return compute_here(cells, tmp_path_factory.mktemp("regression") / "sweep").root


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = [CellConfig(stream="random_labels", seed=seed, lr=0.01, **FIELDS) for seed in (0, 1)]
    return compute_here(cells, tmp_path_factory.mktemp("images") / "sweep").root


def test_figures_of_regression_are_in_squared_errors(regression: Path) -> None:
    criterion = LossCriterion(margin=0.2)
    scored = score(regression, criterion=criterion)
    figure = plot_map(scored, "lr", "width", ["excess", "late_ce"])
    labels = [axes.get_xlabel() or axes.get_ylabel() for axes in figure.axes]
    text = " ".join([*labels, str(figure.get_label())]).replace("\n", " ")
    assert "excess: late loss - fresh loss (squared error)" in text
    assert "by > 0.2 and > 1.5 times" in text
    curves = plot_curves(load_cells(regression), load_tasks(regression), criterion=criterion, raw=True)
    assert "loss after the task (squared error)" in " ".join(axes.get_ylabel() for axes in curves.axes).replace(
        "\n", " "
    )
    page = str(collect(regression, criterion).about)
    for words in (text, page):
        assert "nats" not in words
        assert " CE" not in words
    assert "by > {margin} and > {factor} times" in page


@pytest.mark.parametrize(("sweep", "chance"), [("regression", np.inf), ("images", np.log(10))])
def test_a_sweep_of_another_stream_is_sound_and_judged(
    sweep: str, chance: float, request: pytest.FixtureRequest
) -> None:
    directory: Path = request.getfixturevalue(sweep)
    assert audit(Store(directory)).findings == []
    cells = load_cells(directory)
    assert np.isfinite(np.concatenate(cells["fresh_ce"])).all()
    scored = score(directory)
    assert set(scored["verdict"]) <= {"plastic", "lost", "undecided", "untrainable"}
    expected = scored["fresh_pooled_ce"] >= chance
    assert ((scored["verdict"] == "untrainable") == expected).all()
    assert (collect(directory, LossCriterion()).arrays["chance"] == chance).all()


def test_accuracy_is_undefined_in_regression(regression: Path) -> None:
    scored = score(regression)
    assert scored["late_test_accuracy"].isna().all()
    assert (scored["late_test_ce"] > 0).all()
