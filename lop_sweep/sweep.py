"""Run what is missing of a sweep, one Ray Tune trial a pack.

Running the same space into the same directory again is how a sweep is continued: cells that are finished are skipped,
by id. Nothing depends on Tune's own experiment state.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lop_sweep import machine
from lop_sweep.errors import StoreError, SweepError, named
from lop_sweep.experiment import DTYPES
from lop_sweep.pack import Pack, expand
from lop_sweep.plan import Status, count_states, describe_space, missing_packs
from lop_sweep.ray_session import ray_session
from lop_sweep.space import SearchSpace
from lop_sweep.store import Store

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepOptions:
    """How to run a sweep; none of this changes a number, except `dtype`.

    Attributes:
        address: a Ray cluster to run on; None for a Ray of our own on this machine.
        cpus: CPUs of that Ray of our own; None for all.
        dtype: "float64" or "float32".
        tasks_per_report: tasks a trial runs between two reports to the driver.
        progress: whether to show a progress bar on standard error.

    Raises:
        SweepError: an option is out of range, or two of them do not go together.
    """

    address: str | None = None
    cpus: int | None = None
    dtype: str = "float64"
    tasks_per_report: int = 1
    progress: bool = True

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise SweepError(f"dtype = {self.dtype!r}: must be one of {named(DTYPES)}")
        if self.tasks_per_report < 1:
            raise SweepError(f"tasks per report = {self.tasks_per_report}: must be an integer of at least 1")
        if self.cpus is not None and self.cpus < 1:
            raise SweepError(f"cpus = {self.cpus}: must be an integer of at least 1")
        if self.cpus is not None and self.address is not None:
            raise SweepError("cpus is for a local Ray; a cluster at --address brings its own number of CPUs")
        if self.address == "":
            raise SweepError("address = '': give HOST:PORT of the head node's Ray, or leave it out for a local one")


@dataclass(frozen=True)
class Outcome:
    """How a call of `run_sweep` ended.

    Attributes:
        status: where the sweep stands now.
        computed: cells that this call finished.
        failed: why packs failed, by pack id.
        seconds: how long it took.
    """

    status: Status
    computed: int
    failed: dict[str, str]
    seconds: float


def run_sweep(space: SearchSpace, out: str | Path, options: SweepOptions | None = None) -> Outcome:
    """Compute the cells of `space` that `out` does not hold yet.

    Args:
        space: from `lop_sweep.space.load_space`.
        out: the sweep directory; made if need be. On a cluster, all nodes must see it under this path.
        options: how to run.

    Raises:
        SweepError: `out` holds a sweep of another dtype, or the Ray cluster cannot be reached.
        StoreError: `out` cannot be read or written.
    """
    options = options or SweepOptions()
    start = time.monotonic()
    store = Store(out)
    done = store.read_cells(["cell", "dtype"])
    dtypes = set(done["dtype"].to_pylist()) - {options.dtype}
    if dtypes:
        raise SweepError(
            f"{store.root}: holds a sweep in {named(dtypes)}, and {options.dtype} was asked for; "
            "use another directory, or the same dtype"
        )
    packs = missing_packs(space, set(done["cell"].to_pylist()))
    missing = sum(len(pack.cells) for pack in packs)
    with contextlib.ExitStack() as resources:
        if packs and options.address:  # before anything is written: the address may be wrong
            resources.enter_context(ray_session(options.address, options.cpus))
        store.create()
        for orphan in store.remove_orphans():
            _log.warning(
                "tasks/%s.parquet was left by a worker that died; removed, its cells are computed anew", orphan
            )
        store.write_sweep({**_provenance(_created(store), options), **describe_space(space)})
        _log.info(
            "%s: %d cells, %d of them finished already; %d to compute in %d packs",
            space.name, len(space.cells), len(space.cells) - missing, missing, len(packs),
        )  # fmt: skip
        if packs and not options.address:  # which takes seconds: the directory may be unwritable
            resources.enter_context(ray_session(options.address, options.cpus))
        failed = _execute(packs, store, options) if packs else {}
    status = count_states(store, space.cells)
    still_missing = status.cells - status.finished - status.diverged
    return Outcome(status, missing - still_missing, failed, time.monotonic() - start)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _created(store: Store) -> str:
    """When the sweep was first started; now, if that is not known."""
    try:
        earlier = store.read_sweep()
    except StoreError as error:
        _log.warning("%s; it is written anew", error)
        earlier = None
    return str(earlier["created"]) if earlier else _now()


def _provenance(created: str, options: SweepOptions) -> dict[str, Any]:
    return {
        "created": created,
        "updated": _now(),
        "dtype": options.dtype,
        "tasks_per_report": options.tasks_per_report,
        "ray_version": importlib.metadata.version("ray"),
        "driver": machine.describe_numerics(),
    }


def _execute(packs: list[Pack], store: Store, options: SweepOptions) -> dict[str, str]:
    """Run the packs as Tune trials on the Ray at hand; returns why packs failed, by pack id."""
    from ray import tune

    from lop_sweep.progress import SweepProgress
    from lop_sweep.trainable import LopTrainable

    progress = SweepProgress(packs, options.progress)
    param_space = {
        "pack": tune.grid_search([pack.to_config() for pack in packs]),
        "dtype": options.dtype,
        "tasks_per_report": options.tasks_per_report,
        "store": str(store.root),
    }
    tune.Tuner(
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
            callbacks=[progress],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    ).fit()
    return progress.failed


def _pack_id(trial: Any) -> str:
    return Pack(expand(trial.config["pack"])).id
