"""Compute a plan's packs on this process's Ray, in rounds, until no pack is left that can be computed.

One round is one `Tuner.fit()`. A round ends early when Ray Tune gives up, for example after its memory monitor has
killed a worker. The next round computes what is still missing, from the checkpoints.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

import ray
from ray import tune

from lop_sweep.config import CellConfig
from lop_sweep.planning import Plan, Sizing, WorkItem
from lop_sweep.ray_environment import tune_of_a_sweep
from lop_sweep.storage import Lock, Store, check_writable, is_local
from lop_sweep.storage.maintenance import finished_cells
from lop_sweep.tune.callbacks import MAX_REASON_CHARACTERS, TrialWatch, TuneStopper
from lop_sweep.tune.options import SweepOptions
from lop_sweep.tune.progress import Progress
from lop_sweep.tune.searcher import LevelSetSearcher, PackSupply, pack_of
from lop_sweep.tune.shutdown import Stop
from lop_sweep.tune.trainable import LopTrainable

PAUSE_SECONDS = 5.0
"""Between two rounds."""

_log = logging.getLogger(__name__)


class Executor:
    """Computes the packs of a plan.

    Args:
        store: the sweep directory.
        options: how to run.
        lock: the driver's.
        progress: is kept up to date.
        stop: ends the computation early.

    Attributes:
        failed: why packs failed, by pack id.
        gave_up: why Tune repeatedly ended early without any progress; empty if it did not.
    """

    def __init__(self, store: Store, options: SweepOptions, lock: Lock, progress: Progress, stop: Stop) -> None:
        self._store, self._options, self._lock = store, options, lock
        self._progress, self._stop = progress, stop
        self.failed: dict[str, str] = {}
        self.gave_up = ""

    def run(self, plan: Plan, keep_state: bool) -> None:
        """Compute the packs of `plan`.

        Args:
            plan: what to compute.
            keep_state: whether to keep each cell's last state.

        Raises:
            StoreError: the sweep directory cannot be written.
        """
        idle_rounds, progress, cells = 0, 0, plan.cells
        while not self._stop:
            items = [item for item in plan.items if item.pack.id not in self.failed]
            if not items:
                return
            reason = self._round([item.to_json(**self._run_config(keep_state, plan.sizing)) for item in items], plan)
            if not reason:
                return
            before, progress = progress, total_progress(self._store, cells)
            idle_rounds = 0 if progress > before else idle_rounds + 1
            if idle_rounds > self._options.max_failures:
                self.gave_up = reason
                return
            _log.warning("%s; starting another round for what is missing", reason)
            self._stop.wait(PAUSE_SECONDS)  # the cause may pass, for example the memory that other programs use
            plan = plan.remaining(finished_cells(self._store, self._options.dtype)[0], self._store)

    def _run_config(self, keep_state: bool, sizing: Sizing) -> dict[str, Any]:
        """Return what the configurations of all trials share."""
        return {
            "dtype": self._options.dtype,
            "device": self._options.device,
            "batch": self._options.batch,
            "checkpoint_every": self._options.checkpoint_every,
            "heartbeat_every": sizing.heartbeat_seconds,
            "keep_state": keep_state,
            "store": str(self._store.root),
            "driver": self._lock.token,
            "lock": str(self._lock.folder.relative_to(self._store.root)),
            "origin": self._store.origin(),
        }

    def _round(self, configs: list[str], plan: Plan) -> str:
        """Run one trial per configuration; return why Tune gave up, or "" if it did not.

        Configurations are text, because Tune copies those of all trials for each trial, down to the last value.
        """
        with self._tune_folder() as folder, tune_of_a_sweep():
            return self._fit(configs, plan, folder)

    def _tune_folder(self) -> contextlib.AbstractContextManager[str]:
        """Return a context with the folder of Tune's own state: in the sweep directory, or a temporary one."""
        if is_local(self._store.root):
            return contextlib.nullcontext(str(self._store.root))
        return tempfile.TemporaryDirectory(prefix="lop-sweep-", ignore_cleanup_errors=True)

    def _fit(self, configs: list[str], plan: Plan, folder: str) -> str:
        watch = TrialWatch(plan.packs, self._store, self._progress, self._stop, self._options.max_failures)
        param_space = {"trial": tune.grid_search(configs)}
        return self._fit_tuner(watch, folder, (cell.own_components for cell in plan.cells), param_space, {})

    def _fit_tuner(
        self,
        watch: TrialWatch,
        folder: str,
        own_components: Iterable[str],
        param_space: dict[str, Any],
        search: dict[str, Any],
    ) -> str:
        """Run one Tuner; return why Tune gave up, or "" if it did not. `search` has more of `tune.TuneConfig`."""
        tuner = tune.Tuner(
            LopTrainable.with_components(own_components),
            param_space=param_space,
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                trial_name_creator=pack_of,
                trial_dirname_creator=pack_of,
                **search,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=folder,
                verbose=0,
                callbacks=[watch],
                stop=TuneStopper(self._stop, self._lock.request_stop),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=self._options.max_failures),
            ),
        )
        try:
            tuner.fit()
        except (RuntimeError, OSError, tune.TuneError, ray.exceptions.RayError) as error:
            check_writable(self._store.cells)  # a disk that is full or gone explains everything else
            reason = textwrap.shorten(str(error), MAX_REASON_CHARACTERS, placeholder=" ...")
            return f"Ray Tune ended early: {reason}"
        finally:
            self.failed |= watch.failed
        return watch.interrupted


class RefiningExecutor(Executor):
    """Computes packs one after the other, as they are chosen by what is known so far.

    Args:
        supply: where they come from.
        on_pack: called with each pack that is begun.
        store, options, lock, progress, stop: see `Executor`.
    """

    def __init__(
        self,
        supply: PackSupply,
        on_item: Callable[[WorkItem], None],
        store: Store,
        options: SweepOptions,
        lock: Lock,
        progress: Progress,
        stop: Stop,
    ) -> None:
        super().__init__(store, options, lock, progress, stop)
        self._supply, self._on_item = supply, on_item

    def run(self, plan: Plan, keep_state: bool) -> None:
        """Compute packs until there are enough; arguments and errors as `Executor.run`.

        Args:
            plan: what an earlier driver has begun, and the sizing.
            keep_state: whether to keep each cell's last state.
        """
        run, idle_rounds, done = self._run_config(keep_state, plan.sizing), 0, 0
        while not self._stop:
            with self._tune_folder() as folder, tune_of_a_sweep():
                reason = self._refine(run, folder)
            if not reason:
                return
            before, done = done, total_progress(self._store, self._supply.chooser.cells)
            idle_rounds = 0 if done > before else idle_rounds + 1
            if idle_rounds > self._options.max_failures:
                self.gave_up = reason
                return
            _log.warning("%s; starting another round", reason)
            self._stop.wait(PAUSE_SECONDS)
            self._supply.again(self._store.committed())

    def _refine(self, run: dict[str, Any], folder: str) -> str:
        watch = TrialWatch((), self._store, self._progress, self._stop, self._options.max_failures)

        def begin(item: WorkItem) -> None:
            watch.expect(item.pack)
            self._on_item(item)

        searcher = LevelSetSearcher(self._supply.chooser, self._store.root, run, supply=self._supply, on_item=begin)
        components = (cell.own_components for cell in self._supply.chooser.cells)
        return self._fit_tuner(watch, folder, components, {}, {"search_alg": searcher, "num_samples": -1})


def total_progress(store: Store, cells: Iterable[CellConfig]) -> int:
    """Return the tasks and fresh networks done of these cells: it grows with each finished pack and checkpoint.

    Raises:
        StoreError: the store cannot be read.
    """
    finished = store.read_cells(["cell", "tasks", "fresh_baseline"]).to_pydict()
    done = {
        cell: tasks + networks
        for cell, tasks, networks in zip(finished["cell"], finished["tasks"], finished["fresh_baseline"], strict=True)
    }
    for points in store.checkpoints.start_points().values():
        for point in points:
            done[point.cell] = max(done.get(point.cell, 0), sum(point.progress))
    return sum(done.get(cell.id, 0) for cell in cells)
