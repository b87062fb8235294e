"""The Ray Tune trainable: a thin adapter between Tune, the experiment and the store.

It works in any `ray.tune.Tuner`, not only in `lop-sweep sweep`:

    Tuner(LopTrainable, param_space={"depth": tune.grid_search([2, 5]), "lr": tune.loguniform(0.01, 1.0)})
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lop_sweep import machine

machine.prepare_process()  # no-op in `lop-sweep sweep`, whose workers have run it before anything was imported

import numpy as np  # noqa: E402
from ray import tune  # noqa: E402

from lop_sweep.checkpoint import load_state, save_state  # noqa: E402
from lop_sweep.errors import ConfigError  # noqa: E402
from lop_sweep.experiment import Experiment  # noqa: E402
from lop_sweep.metrics import MEASURES, TaskMeasures, stack_measures, unstack_measures  # noqa: E402
from lop_sweep.pack import Pack, expand  # noqa: E402
from lop_sweep.schema import PackResult  # noqa: E402
from lop_sweep.store import Store  # noqa: E402

_SIGN_OF_LIFE_SECONDS = 5.0


class LopTrainable(tune.Trainable):
    """One pack as one trial; one `step` is one task for all its cells, the last step adds the fresh baseline.

    The trial's configuration holds the fields of `CellConfig` (those left out take their defaults) and, optionally,
        cells: a list of dictionaries, one a cell of the pack, with the fields in which the cells differ;
        pack: a dictionary that holds all of the above instead;
        dtype: "float64" (default) or "float32";
        tasks_per_report: tasks a step (default 1);
        store: path of the sweep directory that the finished pack is written to (default: none).

    Every result holds, as means over the tasks of the step and over the cells that have not diverged, `min_ce`,
    `final_ce`, `saturation` and `grad_norm`, and `effective_rank` and `duplicate_fraction` as means over the layers
    too; `tasks_done`, `cells` and `diverged` (how many cells have); the last one also `fresh_mean_ce` and
    `fresh_median_ce`, means over cells.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """One CPU a trial."""
        return tune.PlacementGroupFactory([{"CPU": 1}])

    def setup(self, config: dict[str, Any]) -> None:
        """Start the pack's sequences from the beginning.

        Raises:
            ConfigError: the configuration is not valid.
        """
        machine.limit_threads()
        config = dict(config)
        config.update(config.pop("pack", {}))
        self._tasks_per_report = config.pop("tasks_per_report", 1)
        if not isinstance(self._tasks_per_report, int) or self._tasks_per_report < 1:
            raise ConfigError(f"tasks_per_report = {self._tasks_per_report!r}: must be an integer of at least 1")
        store, dtype = config.pop("store", None), config.pop("dtype", "float64")
        self._store = None if store is None else Store(Path(store))
        self._pack = Pack(expand(config))
        self._experiment = Experiment(self._pack.cells, dtype)
        self._history: list[TaskMeasures] = []
        self._last_sign = float("-inf")
        self._give_sign_of_life()

    def step(self) -> dict[str, Any]:
        """Run the next tasks; after the last one also the fresh baseline, and write the pack to the store."""
        rows = []
        for _ in range(min(self._tasks_per_report, self._experiment.tasks - self._experiment.tasks_done)):
            rows.append(self._experiment.run_task())
            self._give_sign_of_life()
        self._history += rows
        rows = rows or self._history[-1:]  # restored from a checkpoint that was taken after the last task
        result: dict[str, Any] = {
            **{name: _mean(np.stack([getattr(row, name) for row in rows])) for name in MEASURES},
            "tasks_done": self._experiment.tasks_done,
            "cells": len(self._pack.cells),
            "diverged": int(np.count_nonzero(self._experiment.diverged_at)),
        }
        if self._experiment.tasks_done == self._experiment.tasks:
            fresh_ce = self._experiment.fresh_ce
            if fresh_ce is None:
                fresh_ce = self._experiment.run_fresh_baseline()
            if fresh_ce.size:
                result["fresh_mean_ce"] = float(fresh_ce.mean(axis=1).mean())
                result["fresh_median_ce"] = float(np.median(fresh_ce, axis=1).mean())
            self._commit(fresh_ce)
            result["done"] = True
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write everything that the continuation needs: `state.npz`."""
        state = {"experiment": self._experiment.state_dict(), "history": None}
        if self._history:
            state["history"] = stack_measures(self._history)
        save_state(Path(checkpoint_dir) / "state.npz", state)

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Continue from what `save_checkpoint` wrote.

        Raises:
            StateError: the checkpoint is damaged or belongs to another pack.
        """
        state = load_state(Path(str(checkpoint)) / "state.npz")
        self._experiment.load_state_dict(state["experiment"])
        self._history = unstack_measures(state["history"]) if state["history"] else []

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Serve another trial in the same process, as if newly made."""
        self.setup(new_config)
        return True

    def _commit(self, fresh_ce: np.ndarray) -> None:
        if self._store is None:
            return
        self._store.commit(
            PackResult(
                pack=self._pack.id,
                cells=self._pack.cells,
                history=stack_measures(self._history),
                fresh_ce=fresh_ce,
                diverged_at=self._experiment.diverged_at,
                seconds=self._experiment.seconds,
                numerics={
                    "engine": "fast",
                    "dtype": self._experiment.dtype,
                    "device": "cpu",
                    **machine.describe_numerics(),
                },
            )
        )

    def _give_sign_of_life(self) -> None:
        if self._store is not None and time.monotonic() - self._last_sign > _SIGN_OF_LIFE_SECONDS:
            self._last_sign = time.monotonic()
            cells = [cell.id for cell in self._pack.cells]
            self._store.sign_of_life(self._pack.id, cells, self._experiment.tasks_done)


def _mean(values: np.ndarray) -> float:
    """Mean over all entries that are not NaN; NaN where all are."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
