"""The Ray Tune trainable: a thin adapter between Tune, the experiment and the store.

It works in any `ray.tune.Tuner`, not only in `lop-sweep sweep`:

    Tuner(LopTrainable, param_space={"depth": tune.grid_search([2, 5]), "lr": tune.loguniform(0.01, 1.0)})
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lop_sweep import runtime

runtime.prepare_process()  # no-op in `lop-sweep sweep`, whose workers have run it before anything was imported

import numpy as np  # noqa: E402
from ray import tune  # noqa: E402

from lop_sweep.errors import ConfigError, StoreError  # noqa: E402
from lop_sweep.metrics import METRICS  # noqa: E402
from lop_sweep.pack import Pack, expand  # noqa: E402
from lop_sweep.storage import (  # noqa: E402
    PackState,
    Store,
    host_name,
    read_lock,
    stop_file,
)
from lop_sweep.tune.sigterm import Sigterm  # noqa: E402
from lop_sweep.tune.worker import PackRun  # noqa: E402

_STATE_FILE = "pack.state"
_RUN_OPTIONS = ("dtype", "device", "checkpoint_every", "keep_state", "resume_from")


class LopTrainable(tune.Trainable):
    """One pack as one trial; one `step` is one task for all its cells, the last step adds the fresh baseline.

    The trial's configuration holds the fields of `CellConfig` (those left out take their defaults) and, optionally,
        cells: a list of dictionaries, one a cell of the pack, with the fields in which the cells differ;
        pack: a dictionary that holds all of the above instead;
        dtype: "float64" (default) or "float32";
        device: "cpu" (default) or "cuda";
        tasks_per_report: tasks a step (default 1), in `pack` or beside it;
        store: path of the sweep directory that checkpoints and the finished pack are written to (default: none);
        checkpoint_every: seconds between two checkpoints there (default 60);
        keep_state: whether to keep the state after the last task there, for longer sequences (default False);
        starts: for each cell, [path within the sweep directory, place in it] of a saved state to go on from;
        driver: the token of the driver's lease, which the directory must hold: it is the same on all nodes.

    A trial whose pack has a valid checkpoint in the sweep directory goes on from it, whoever started it.

    Every result holds, as means over the tasks of the step and over the cells that have not diverged, `min_ce`,
    `final_ce`, `saturation` and `grad_norm`, and `effective_rank` and `duplicate_fraction` as means over the layers
    too; `tasks_done`, `cells` and `diverged` (how many cells have); `note`, where a saved state was there but could not
    be used; the last one also `fresh_mean_ce` and `fresh_median_ce`, means over cells.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """One CPU a trial, and a GPU if it is to run on one."""
        return tune.PlacementGroupFactory([{"CPU": 1, **({"GPU": 1} if config.get("device") == "cuda" else {})}])

    def setup(self, config: dict[str, Any]) -> None:
        """Start the pack's sequences, or go on with them.

        Raises:
            ConfigError: the configuration is not valid.
            StoreError: this node does not see the driver's sweep directory, or it cannot be read or written.
        """
        runtime.limit_threads()
        self._failed_start: Exception | None = None
        config = dict(config)
        config.update(config.pop("pack", {}))
        self._tasks_per_report = config.pop("tasks_per_report", 1)
        if not isinstance(self._tasks_per_report, int) or self._tasks_per_report < 1:
            raise ConfigError(f"tasks_per_report = {self._tasks_per_report!r}: must be an integer of at least 1")
        options = {key: config.pop(key) for key in _RUN_OPTIONS if key in config}
        driver = config.pop("driver", None)
        store = _open_store(config.pop("store", None), driver)
        if store is not None and driver is not None:
            # Another driver may have taken over, and have the cells computed elsewhere, in other packs.
            options["check_lock"] = lambda: _check_driver(store, driver)
        announced = store is not None and driver is not None and stop_file(store.driver, driver)
        self._sigterm = Sigterm()
        options["stopping"] = lambda: self._sigterm.received or bool(announced and announced.exists())
        self._run = PackRun(Pack(expand(config)), store=store, **options)

    def step(self) -> dict[str, Any]:
        """Run the next tasks; after the last one also the fresh baseline, and write the pack to the store.

        A SIGTERM that comes meanwhile takes effect after the task at hand, when the pack has been saved.
        """
        if self._failed_start is not None:
            raise self._failed_start
        with self._sigterm.held():
            return self._step()

    def cleanup(self) -> None:
        """Save what is not finished: the trial has been asked to stop."""
        if self._failed_start is None:
            self._run.checkpoint()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write everything that the continuation needs into Tune's own checkpoint."""
        self._run.state().save(Path(checkpoint_dir) / _STATE_FILE)

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Continue from what `save_checkpoint` wrote.

        Raises:
            StateError: the checkpoint is damaged or belongs to another pack.
        """
        self._run.load(PackState.load(Path(str(checkpoint)) / _STATE_FILE))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Serve another trial in the same process, as if newly made; what was not finished is saved.

        Tune does not try a trial again that fails here, so what goes wrong is raised by its first step.
        """
        try:
            if self._failed_start is None:
                self._run.checkpoint()
                del self._run  # its memory, before the next pack takes as much
            self.setup(new_config)
        except Exception as error:
            self._failed_start = error
        return True

    def _step(self) -> dict[str, Any]:
        run, experiment = self._run, self._run.experiment
        # A state that was taken after the last task has no task left, but a last row to report again.
        rows = run.run_tasks(self._tasks_per_report) or run.history[-1:]
        result: dict[str, Any] = {
            **{name: _mean(np.stack([row[name] for row in rows])) for name in METRICS},
            "tasks_done": experiment.tasks_done,
            "cells": len(run.pack.cells),
            "diverged": int(np.count_nonzero(experiment.diverged_at)),
        }
        if run.note:
            result["note"], run.note = run.note, ""
        if not run.tasks_left and run.finish():
            fresh_ce = experiment.fresh_ce
            if fresh_ce.size:
                result["fresh_mean_ce"] = float(fresh_ce.mean(axis=1).mean())
                result["fresh_median_ce"] = float(np.median(fresh_ce, axis=1).mean())
            result["done"] = True
        return result


def _open_store(path: str | None, driver: str | None) -> Store | None:
    if path is None:
        return None
    store = Store(path)
    if driver is None:
        store.create()
        return store
    _check_driver(store, driver)
    return store


def _check_driver(store: Store, driver: str) -> None:
    lock = read_lock(store.driver)
    if lock is None or lock.token != driver:
        raise StoreError(
            f"node {host_name()} does not see the sweep that this trial belongs to at {store.root}; "
            "the directory must be shared by all nodes under the same path, and have one driver"
        )


def _mean(values: np.ndarray) -> float:
    """Mean over all entries that are not NaN; NaN where all are."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
