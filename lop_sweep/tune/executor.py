"""Compute packs on the Ray at hand, round after round, until none is left that could be.

One round is one `Tuner.fit()`. A round ends early when Ray Tune gives up, after its memory monitor has killed a worker
for example; the next one computes what is still missing, from the checkpoints.
"""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray import tune

from lop_sweep.pack import Pack, expand
from lop_sweep.planning import WorkItem
from lop_sweep.storage import Lock, Store, check_writable
from lop_sweep.tune.callbacks import REASON_LENGTH, TrialWatch, TuneStopper
from lop_sweep.tune.options import SweepOptions
from lop_sweep.tune.progress import Progress
from lop_sweep.tune.shutdown import Stop
from lop_sweep.tune.trainable import LopTrainable

PAUSE_SECONDS = 5.0
"""Between two rounds."""
_BESIDE_CELLS = ("resume_from", "tasks_per_report")
"""What an assignment's configuration holds beside its pack's."""

_log = logging.getLogger(__name__)


def compute(
    packs: Sequence[WorkItem],
    missing: Callable[[], Sequence[WorkItem]],
    store: Store,
    options: SweepOptions,
    lock: Lock,
    progress: Progress,
    stop: Stop,
    keep_state: bool,
) -> tuple[dict[str, str], str]:
    """Compute what is missing.

    Args:
        packs: what is missing at first.
        missing: what is missing now, packs that failed in an earlier round included.
        store: the sweep directory.
        options: how.
        lease: the driver's.
        progress: is kept up to date.
        stop: ends it early.
        keep_state: whether trials keep their last state.

    Returns:
        Why packs failed, by pack id; and why Tune kept giving up, or "" if it did not.

    Raises:
        StoreError: the sweep directory cannot be written.
    """
    failed: dict[str, str] = {}
    idle_rounds, far = 0, 0
    while packs and not stop:
        watch = TrialWatch([a.pack for a in packs], store, progress, stop, options.max_failures)
        reason = _fit(packs, store, options, lock, watch, stop, keep_state)
        failed |= watch.failed
        if not reason:
            break
        before, far = far, _how_far(store)
        idle_rounds = 0 if far > before else idle_rounds + 1
        if idle_rounds > options.max_failures:
            return failed, reason
        _log.warning("%s; going round again over what is missing", reason)
        stop.wait(PAUSE_SECONDS)  # what was wrong may pass: other programs' memory for example
        packs = [item for item in missing() if item.pack.id not in failed]
    return failed, ""


def _how_far(store: Store) -> int:
    """A number that grows whenever a pack is finished or a checkpoint is taken: tasks and fresh networks done."""
    finished = store.read_cells(["cell", "tasks", "fresh_baseline"]).to_pydict()
    far = {
        cell: tasks + networks
        for cell, tasks, networks in zip(finished["cell"], finished["tasks"], finished["fresh_baseline"], strict=True)
    }
    for points in store.checkpoints.start_points().values():
        for point in points:
            far[point.cell] = max(far.get(point.cell, 0), point.tasks_done + point.fresh_done)
    return sum(far.values())


def _fit(
    packs: Sequence[WorkItem],
    store: Store,
    options: SweepOptions,
    lock: Lock,
    watch: TrialWatch,
    stop: Stop,
    keep_state: bool,
) -> str:
    """One round; returns why Tune gave up, or "" if it did not."""
    param_space = {
        "pack": tune.grid_search([item.to_config() for item in packs]),
        "dtype": options.dtype,
        "device": options.device,
        "checkpoint_every": options.checkpoint_every,
        "keep_state": keep_state,
        "store": str(store.root),
        "driver": lock.token,
    }
    tuner = tune.Tuner(
        LopTrainable,
        param_space=param_space,
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            trial_name_creator=_pack_id,
            trial_dirname_creator=_pack_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(store.root),
            verbose=0,
            callbacks=[watch],
            stop=TuneStopper(stop, lock.request_stop),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=options.max_failures),
        ),
    )
    try:
        tuner.fit()
    except (RuntimeError, OSError, tune.TuneError, ray.exceptions.RayError) as error:
        check_writable(store.cells)  # a disk that is full or gone is the reason for everything else
        return f"Ray Tune ended early: {textwrap.shorten(str(error), REASON_LENGTH, placeholder=' ...')}"
    return watch.out_of_memory


def _pack_id(trial: Any) -> str:
    return Pack(expand({key: value for key, value in trial.config["pack"].items() if key not in _BESIDE_CELLS})).id
