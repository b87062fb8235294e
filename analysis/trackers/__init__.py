"""Log the cells of a sweep directory to TensorBoard, MLflow and Weights & Biases, one run per cell.

    from analysis.trackers import Logbook, make_trackers

    for tracker in make_trackers("results", mlflow="http://127.0.0.1:5000"):
        book = Logbook("results", tracker)
        book.catch_up()
        print(book.count)

`BackgroundTracking` does the same while a sweep runs.
"""

from __future__ import annotations

from pathlib import Path

from analysis.trackers.background import BackgroundTracking
from analysis.trackers.logbook import Count, Logbook
from analysis.trackers.mlflow_runs import MlflowRuns
from analysis.trackers.records import PENDING, CellRecord
from analysis.trackers.tensorboard_files import TensorBoardFiles
from analysis.trackers.tracker import SweepLabel, Tracker
from analysis.trackers.wandb_runs import WandbRuns

__all__ = [
    "PENDING",
    "BackgroundTracking",
    "CellRecord",
    "Count",
    "Logbook",
    "MlflowRuns",
    "SweepLabel",
    "TensorBoardFiles",
    "Tracker",
    "WandbRuns",
    "make_trackers",
]


def make_trackers(
    directory: str | Path, *, tensorboard: str | None = None, mlflow: str | None = None, wandb: str | None = None
) -> list[Tracker]:
    """Return the chosen trackers. Nothing is connected to yet.

    Args:
        directory: the sweep directory.
        tensorboard: a local folder; "" for the folder `tensorboard` of the sweep directory.
        mlflow: a tracking URI.
        wandb: a project.

    Raises:
        TrackerError: a package is missing, or a folder is not local.
    """
    made: list[Tracker] = []
    if tensorboard is not None:
        made.append(TensorBoardFiles(tensorboard or f"{directory}/tensorboard"))
    if mlflow is not None:
        made.append(MlflowRuns(mlflow))
    if wandb is not None:
        made.append(WandbRuns(wandb))
    return made
