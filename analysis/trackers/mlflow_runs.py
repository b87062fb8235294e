"""MLflow: one run per cell, in one experiment per sweep directory.

The experiment is found by its tag `lop_sweep.origin`, and a run by its tag `lop_sweep.cell`. A run's tag
`lop_sweep.state` is written with its last batch, so a run without it is incomplete: it is written again, under the same
times, and a database takes the same number at the same time only once.

A cell of T tasks and K curves takes 2 + ceil((T K + number of scores) / 1000) requests, a new state of its scores 1.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from analysis.trackers.records import CellRecord
from analysis.trackers.secrets import public_address
from analysis.trackers.tracker import SweepLabel, require

_ORIGIN, _CELL, _STATE = "lop_sweep.origin", "lop_sweep.cell", "lop_sweep.state"
_MAX_METRICS, _MAX_ENTITIES, _MAX_RUNS = 1000, 1000, 1000
"""Limits of MLflow: metrics, and entities of all kinds, in one batch; runs in one answer."""
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}
"""Environment variables that are set unless the user has. With MLflow's own, a server that is down takes minutes."""


class MlflowRuns:
    """The runs of a tracking server.

    Args:
        uri: the tracking URI; `http://USER:PASSWORD@HOST` is possible, and the credentials are never shown.

    Raises:
        TrackerError: MLflow is not installed.
    """

    name, takes_pending = "MLflow", True

    def __init__(self, uri: str) -> None:
        require("mlflow", "--mlflow", "mlflow")
        self.address = uri
        self.option = f"--mlflow {public_address(uri)}"
        self._client: Any = None
        self._experiment = ""
        self._runs: dict[str, tuple[str, int]] = {}

    def open(self, sweep: SweepLabel) -> dict[str, str]:
        """Find or create the experiment and list its runs; see `Tracker`."""
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=self.address, registry_uri=self.address)
        self._experiment = self._find_experiment(sweep)
        self._runs, states = {}, {}
        for run in self._all_runs():
            cell, state = run.data.tags.get(_CELL), run.data.tags.get(_STATE)
            if cell is None or (cell in states and state is None):
                continue
            self._runs[cell] = run.info.run_id, run.info.start_time
            if state is not None:
                states[cell] = state
        return states

    def write(self, record: CellRecord, logged: bool) -> None:
        """Write a cell's run, or its new scores; see `Tracker`."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        if record.cell not in self._runs:
            run = self._client.create_run(
                self._experiment, start_time=now, tags={_CELL: record.cell}, run_name=record.cell
            )
            self._runs[record.cell] = run.info.run_id, now
        run_id, start = self._runs[record.cell]
        scores = [Metric(f"score/{name}", value, now if logged else start, 0) for name, value in record.scores.items()]
        tags = [RunTag(name, value) for name, value in record.labels.items()] + [RunTag(_STATE, record.state)]
        if logged:
            self._client.log_batch(run_id, metrics=scores, tags=tags)
            return
        metrics = [
            Metric(name, value, start + task, task) for task, values in record.points for name, value in values.items()
        ]
        params = [Param(name, str(value)) for name, value in record.config.items()]
        *before, last = _batches([*metrics, *scores], _MAX_ENTITIES - len(params) - len(tags))
        for batch in before:
            self._client.log_batch(run_id, metrics=batch)
        self._client.log_batch(run_id, metrics=last, params=params, tags=tags)
        self._client.set_terminated(run_id, "FINISHED", end_time=now)

    def close(self) -> None:
        """Do nothing: every run is finished once it is written."""

    def _find_experiment(self, sweep: SweepLabel) -> str:
        found = self._client.search_experiments(filter_string=f"tags.`{_ORIGIN}` = '{sweep.origin}'")
        if found:
            return str(found[0].experiment_id)
        return str(self._client.create_experiment(str(sweep), tags={_ORIGIN: sweep.origin}))

    def _all_runs(self) -> Iterator[Any]:
        page = None
        while True:
            runs = self._client.search_runs([self._experiment], max_results=_MAX_RUNS, page_token=page)
            yield from runs
            page = runs.token
            if not page:
                return


def _batches(metrics: list[Any], room: int) -> list[list[Any]]:
    """Return metrics in batches of at most `_MAX_METRICS`, the last of at most `room`; at least one, maybe empty."""
    batches = [metrics[start : start + _MAX_METRICS] for start in range(0, len(metrics), _MAX_METRICS)] or [[]]
    if len(batches[-1]) > room:
        batches[-1:] = [batches[-1][room:], batches[-1][:room]]
    return batches
