"""The Ray Tune trainable: a thin adapter between Tune, the experiment and the store.

It works in any `ray.tune.Tuner`, not only in `lop-sweep sweep`:

    Tuner(LopTrainable, param_space={"depth": tune.grid_search([2, 5]), "lr": tune.loguniform(0.01, 1.0)})
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune

from lop_sweep import runtime
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import ConfigError, StateError, StoreError, comma_list, safe_repr
from lop_sweep.pack import Pack, expand
from lop_sweep.storage import PackState, Store, filesystem_of, host_name, read_lock, stop_file
from lop_sweep.tune.running import running_scores
from lop_sweep.tune.shipping import own_components_in, receive, send
from lop_sweep.tune.sigterm import Sigterm
from lop_sweep.tune.worker import PackRun

_STATE_FILE = "pack.state"
_PACK_RUN_KEYS = ("dtype", "device", "batch", "checkpoint_every", "heartbeat_every", "keep_state", "resume_from")
_RUN_KEYS = (*_PACK_RUN_KEYS, "tasks_per_report", "store", "driver", "lock", "origin", "pack_id")


class LopTrainable(tune.Trainable):
    """One pack as one trial. Each `step` runs one or more tasks of all cells, the last one also the fresh baseline.

    The configuration of a trial has one of three forms:

        {"depth": 5, "lr": 0.1, "run": {...}}       one cell: the fields of `CellConfig`
        {"pack": {...}, "run": {...}}               a pack: `Pack.to_config()`
        {"trial": "..."}                            one of the above, as JSON

    Fields that are left out take their defaults. A pack has the fields that its cells share and, as `cells`, a list
    of dictionaries, one per cell, with the fields in which the cells differ. JSON is for many large packs: Tune copies
    the configurations of all trials for each trial, but not a text.

    All of `run`, and each of its keys, is optional:

        dtype: "float64" (default) or "float32".
        device: "cpu" (default) or "cuda".
        batch: maximum number of cells computed at once (default: as fit the CPU's cache; on a GPU all).
        tasks_per_report: tasks per step (default 1).
        store: path of a sweep directory for checkpoints and the finished pack (default: none).
        checkpoint_every: seconds between two checkpoints there (default 60).
        heartbeat_every: minimum seconds between two heartbeats there (default 5).
        keep_state: whether to keep the state after the last task there, for longer sequences (default False).
        resume_from: for each cell, [path within the sweep directory, index in it] of a saved state.
        driver: token of the driver's lock in the sweep directory, which every node must see.
        lock: the folder of that lock in the sweep directory (default: "driver").
        origin: of the sweep directory, see `lop_sweep.storage.store` (default: as `sweep.json` there says).
        pack_id: the id that the driver knows the pack by; not used here.

    A result has the mean of each metric over the step's tasks, the cells and the layers, without diverged cells. It
    also has `tasks_done`, `cells`, `diverged` (number of diverged cells), and `note` if a saved state was found but
    could not be used. The last one also has `fresh_mean_ce` and `fresh_median_ce`, means over cells. In a Tuner of
    your own each has `late_end_ce`, `excess` and `late_failure_rate` as `lop_sweep.tune.running.running_scores` has
    them, for schedulers and search algorithms.
    """

    _sent: Any = None
    """Ray's reference of components of the user's own."""

    @classmethod
    def with_components(cls, fields: Iterable[str]) -> type[LopTrainable]:
        """Return this class with components of your own, for a Tuner whose trials use them.

            Tuner(LopTrainable.with_components([CellConfig(activation="my_relu").own_components]), ...)

        Args:
            fields: values of `CellConfig.own_components` that name the components.

        Raises:
            SweepError: this process has no Ray, or a component cannot be sent to its workers.
        """
        components = own_components_in(fields)
        return type("LopTrainable", (cls,), {"_sent": send(components)}) if components else cls

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Request one CPU per trial, and a GPU if it runs on one."""
        run = _parsed(config).get("run", {})
        on_gpu = isinstance(run, Mapping) and run.get("device") == "cuda"
        return tune.PlacementGroupFactory([{"CPU": 1, **({"GPU": 1} if on_gpu else {})}])

    def setup(self, config: dict[str, Any]) -> None:
        """Start the pack's sequences, or resume them.

        Raises:
            ConfigError: the configuration is not valid, or components of the user's own cannot be loaded here.
            StoreError: this node does not see the driver's sweep directory, or it cannot be read or written.
        """
        runtime.limit_threads()
        self._failed_start: Exception | None = None
        if self._sent is not None:
            receive(self._sent)
        cells, run = _split(config)
        self._tasks_per_report = run.get("tasks_per_report", 1)
        if not isinstance(self._tasks_per_report, int) or self._tasks_per_report < 1:
            raise ConfigError(f"tasks_per_report = {self._tasks_per_report!r}: must be an integer of at least 1")
        options = {key: run[key] for key in _PACK_RUN_KEYS if key in run}
        driver = run.get("driver")
        self._driven = driver is not None  # by `run_sweep`, which needs no scores from its trials
        lock = Path(run.get("lock", "driver"))
        store = _open_store(run.get("store"), lock, driver, run.get("origin"))
        if store is not None and driver is not None:
            # Another driver may have taken over, and had the cells computed elsewhere, in other packs.
            options["check_lock"] = lambda: _check_driver(store, lock, driver)
        self._sigterm = Sigterm()
        asked = StopRequest(store, lock, driver) if store is not None and driver is not None else lambda: False
        options["stopping"] = lambda: self._sigterm.received or asked()
        self._run = PackRun(Pack(expand(cells)), store=store, **options)

    def step(self) -> dict[str, Any]:
        """Run the next tasks. After the last one also run the fresh baseline, and write the pack to the store.

        A SIGTERM during a task takes effect after it, when the pack has been saved.
        """
        if self._failed_start is not None:
            raise self._failed_start
        with self._sigterm.held():
            return self._step()

    def cleanup(self) -> None:
        """Save an unfinished pack: the trial was asked to stop."""
        if self._failed_start is None:
            self._run.checkpoint()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write everything that is needed to continue into Tune's own checkpoint."""
        self._run.state().save(Path(checkpoint_dir) / _STATE_FILE)

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Continue from what `save_checkpoint` wrote.

        Raises:
            StateError: the checkpoint is damaged or belongs to another pack.
        """
        state = PackState.load(Path(str(checkpoint)) / _STATE_FILE)
        _check_trajectories(state.pack.cells, self._run.pack.cells)
        self._run.load(state)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Serve another trial in the same process, as if newly made. An unfinished pack is saved first.

        Tune does not retry a trial that fails here, so an error is raised by the trial's first step instead.
        """
        try:
            if self._failed_start is None:
                self._run.checkpoint()
                del self._run  # frees its memory before the next pack needs as much
            self.setup(new_config)
        except Exception as error:
            self._failed_start = error
        return True

    def _step(self) -> dict[str, Any]:
        run, experiment = self._run, self._run.experiment
        # A state that was taken after the last task has no task left, but a last row to report again.
        rows = run.run_tasks(self._tasks_per_report) or run.history[-1:]
        result: dict[str, Any] = {
            **{name: _mean(np.stack([row[name] for row in rows])) for name in rows[0]},
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
        if not self._driven:
            losses = np.stack([row["end_ce"] for row in run.history])
            result |= running_scores(losses, experiment.fresh_ce)
        return result


def _check_trajectories(saved: Sequence[CellConfig], wanted: Sequence[CellConfig]) -> None:
    """Refuse a checkpoint of cells whose sequences are others, as population-based training may ask for."""
    for before, now in zip(saved, wanted, strict=False):
        for name, info in FIELDS.items():
            old, new = getattr(before, name), getattr(now, name)
            if info.trajectory and old != new:
                free = comma_list(one for one, other in FIELDS.items() if not other.trajectory)
                raise StateError(
                    f"{name} = {new!r}: the checkpoint is of a cell with {name} = {old!r}, and a sequence keeps its "
                    f"configuration from its first task to its last; only {free} may change"
                )


def _split(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a trial's configuration says of its cells, and of its run."""
    config = _parsed(config)
    beside_run = {key: value for key, value in config.items() if key != "run"}
    cells, run = beside_run.get("pack", beside_run), config.get("run", {})
    if "pack" in beside_run and len(beside_run) > 1:
        raise ConfigError(
            f"{comma_list(key for key in beside_run if key != 'pack')}: cannot stand beside pack; put fields into it"
        )
    for name, value in (("pack", cells), ("run", run)):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} = {safe_repr(value)}: must be a dictionary")
    unknown = [key for key in run if key not in _RUN_KEYS]
    if unknown:
        raise ConfigError(f"unknown key {safe_repr(unknown[0])} in run; valid keys: {comma_list(_RUN_KEYS)}")
    return dict(cells), dict(run)


class StopRequest:
    """Whether a driver has asked its workers to stop; called between any two tasks, it asks the store now and then.

    Args:
        store: the sweep directory.
        lock: the folder of the driver's lock in it.
        driver: token of that lock.
    """

    def __init__(self, store: Store, lock: Path, driver: str) -> None:
        self._path, self._files = stop_file(store.root / lock, driver), filesystem_of(store.root)
        self._next = float("-inf")

    def __call__(self) -> bool:
        """Return whether there was a request when the store was last asked. One that cannot be read asks nothing."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._files.poll_seconds
        try:
            return self._files.exists(self._path)
        except OSError:
            return False


def _parsed(config: dict[str, Any]) -> dict[str, Any]:
    """Return a trial's configuration in one of the forms that are not JSON."""
    if config.keys() != {"trial"}:
        return config
    try:
        found = json.loads(config["trial"])
    except (TypeError, ValueError) as error:
        raise ConfigError(f"trial = {safe_repr(config['trial'])}: must be a JSON object: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"trial = {safe_repr(config['trial'])}: must be a JSON object")
    return found


def _open_store(path: str | None, lock: Path, driver: str | None, origin: str | None) -> Store | None:
    if path is None:
        return None
    store = Store(path, origin)
    if driver is None:
        store.create()
        return store
    _check_driver(store, lock, driver)
    return store


def _check_driver(store: Store, lock: Path, driver: str) -> None:
    found = read_lock(store.root / lock)
    if found is None or found.token != driver:
        raise StoreError(
            f"node {host_name()} does not see the sweep that this trial belongs to at {store.root}; "
            "the directory must be shared by all nodes under the same path, and have one driver"
        )


def _mean(values: np.ndarray) -> float:
    """Return the mean over all entries that are not NaN; NaN if all are."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
