"""What MLflow must hold of a logged sweep, asked with its own client, for every kind of store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from tracked_sweeps import expected_curves, expected_scores

from analysis.data import load_cells
from analysis.trackers import Logbook, MlflowRuns
from lop_sweep.storage import Store


def log(directory: Path, uri: str) -> Logbook:
    book = Logbook(directory, MlflowRuns(uri))
    book.catch_up()
    assert book.count is not None
    assert book.count.behind == 0
    return book


def runs_of(client: MlflowClient, directory: Path) -> list[Any]:
    """Return all runs of the directory's experiment."""
    origin = Store(directory).origin()
    (experiment,) = client.search_experiments(filter_string=f"tags.`lop_sweep.origin` = '{origin}'")
    assert experiment.name == f"tracked {origin}"
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


def check_runs(client: MlflowClient, directory: Path, versions: int = 1) -> None:
    """Check that each cell has one run with its configuration, each point once, its scores and its verdict.

    Args:
        client: of the store.
        directory: the sweep directory.
        versions: how many times the scores have been logged.
    """
    runs = {run.data.tags["lop_sweep.cell"]: run for run in runs_of(client, directory)}
    scores, cells = expected_scores(directory), load_cells(directory).set_index("cell")
    assert len(runs) == len(runs_of(client, directory)) == len(cells)
    for cell, run in runs.items():
        assert (run.info.status, run.info.run_name) == ("FINISHED", cell)
        row = scores.loc[cell]
        assert run.data.tags["verdict"] == row["verdict"]
        assert run.data.tags["status"] == cells.loc[cell, "status"]
        assert ("diverged_at" in run.data.tags) == (cells.loc[cell, "status"] == "diverged")
        assert run.data.params["lr"] == str(row["lr"])
        curves = expected_curves(directory, cell)
        assert {name for name in run.data.metrics if not name.startswith("score/")} == curves.keys()
        for name, expected in curves.items():
            history = client.get_metric_history(run.info.run_id, name)
            assert len(history) == len(expected), name
            assert {point.step: point.value for point in history} == pytest.approx(expected)
        for name in ("excess", "fresh_networks"):
            if np.isfinite(row[name]):
                assert run.data.metrics[f"score/{name}"] == pytest.approx(row[name])
                assert len(client.get_metric_history(run.info.run_id, f"score/{name}")) <= versions
            else:
                assert f"score/{name}" not in run.data.metrics
