"""Run what is missing of a sweep, one Ray Tune trial a pack.

Running the same space into the same directory again is how a sweep is continued: cells that are finished are skipped,
by id, and packs that were under way go on from their checkpoints. Nothing depends on Tune's own experiment state.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import logging
import time
from pathlib import Path
from typing import Any

from lop_sweep import machine
from lop_sweep.errors import StoreError, SweepError, named
from lop_sweep.lease import Lease, hold_lease
from lop_sweep.options import Outcome, SweepOptions
from lop_sweep.plan import Assignment, describe_space, missing_packs
from lop_sweep.progress import Progress
from lop_sweep.ray_session import ray_probe, ray_session
from lop_sweep.rounds import compute
from lop_sweep.shared_path import check_shared
from lop_sweep.space import SearchSpace
from lop_sweep.status import count_states
from lop_sweep.stopping import Stop, stopping_on_signals
from lop_sweep.store import Store

_log = logging.getLogger(__name__)


def run_sweep(space: SearchSpace, out: str | Path, options: SweepOptions | None = None) -> Outcome:
    """Compute the cells of `space` that `out` does not hold yet.

    Args:
        space: from `lop_sweep.space.load_space`.
        out: the sweep directory; made if need be. On a cluster, all nodes must see it under this path.
        options: how to run.

    Raises:
        SweepError: `out` holds a sweep of another dtype, or another process is at work on it; or the Ray cluster cannot
            be reached, or not all its nodes see `out`.
        StoreError: `out` cannot be read or written.
    """
    options = options or SweepOptions()
    start = time.monotonic()
    store, stop, progress = Store(out), Stop(), Progress(options.progress)

    def activity() -> dict[str, Any]:
        return {"sweep": space.name, "cells": progress.cells, "done": round(progress.done, 2)}

    store.parts()  # a place that cannot even be read is refused before anything is written
    with contextlib.ExitStack() as resources:
        if options.address and _missing(space, store, options, _finished(store, options.dtype)):
            # Before anything is written: the address may be wrong.
            resources.enter_context(ray_session(options.address, options.cpus))
        store.create()
        lease = resources.enter_context(
            hold_lease(store.driver, activity, on_loss=lambda reason: stop.because(SweepError(reason)))
        )
        done = _finished(store, options.dtype)
        packs = _begin(space, store, options, done, progress)
        outcome: tuple[dict[str, str], str] = ({}, "")
        if packs:
            resources.enter_context(ray_session(options.address, options.cpus))
            outcome = _compute(packs, space, store, options, lease, progress, stop)
        if stop.error is not None:
            raise type(stop.error)(f"{stop.error}; once that is mended, the same command goes on") from stop.error
        now_done = _finished(store, options.dtype) if packs else done
        store.failures.forget(now_done)
    computed = {cell.id for a in packs for cell in a.pack.cells} & now_done
    status = count_states(store, space.cells)
    return Outcome(status, len(computed), *outcome, stop.signal, time.monotonic() - start)


def _begin(
    space: SearchSpace, store: Store, options: SweepOptions, done: set[str], progress: Progress
) -> list[Assignment]:
    """Tidy up, find what is missing, and write down what is asked for; returns what is missing."""
    try:
        with hold_lease(store.maintenance, lambda: {"maintenance": "tidying up"}):
            removed = store.tidy()
    except SweepError as error:  # a compaction tidies up itself
        _log.info("%s; not tidying up", error)
        removed = []
    if removed:
        more = f" and {len(removed) - 1} more" if len(removed) > 1 else ""
        _log.warning("%s%s, left by a worker that died, removed; nothing that was finished is lost", removed[0], more)
    store.unfinished.forget(done)
    packs = _missing(space, store, options, done)
    if packs:
        _check_checkpoints(store, options.dtype)
    progress.expect([assignment.pack for assignment in packs])
    store.write_sweep({**_provenance(_created(store), options), **describe_space(space)})
    _log.info(
        "%s: %d cells, %d of them finished already; %d to compute in %d packs",
        space.name, len(space.cells), sum(cell.id in done for cell in space.cells), progress.cells, len(packs),
    )  # fmt: skip
    return packs


def _compute(
    packs: list[Assignment],
    space: SearchSpace,
    store: Store,
    options: SweepOptions,
    lease: Lease,
    progress: Progress,
    stop: Stop,
) -> tuple[dict[str, str], str]:
    """Compute what is missing on the Ray at hand; as `lop_sweep.rounds.compute`, but trouble is left in `stop`."""

    def missing() -> list[Assignment]:
        return _missing(space, store, options, _finished(store, options.dtype))

    def last_resort() -> None:
        lease.release()
        _log.warning("Ray does not answer; what was saved is kept, run the same command again to go on")

    if options.address:
        check_shared(store.driver, lease.token)
    with stopping_on_signals(stop, ray_probe(), last_resort):
        try:
            return compute(packs, missing, store, options, lease, progress, stop, options.keeps_states(space.cells))
        except StoreError as error:
            stop.because(error)
            return {}, ""
        finally:
            progress.close()


def _finished(store: Store, dtype: str) -> set[str]:
    """The ids of all finished cells.

    Raises:
        SweepError: they are of another dtype.
        StoreError: a file is damaged.
    """
    try:
        cells = store.read_cells(["cell", "dtype"])
    except StoreError as error:
        raise StoreError(f"{error}; lop-sweep audit {store.root} --repair sets damaged files aside") from error
    others = set(cells["dtype"].to_pylist()) - {dtype}
    if others:
        raise SweepError(
            f"{store.root}: holds a sweep in {named(others)}, and {dtype} was asked for; "
            "use another directory, or the same dtype"
        )
    return set(cells["cell"].to_pylist())


def _check_checkpoints(store: Store, dtype: str) -> None:
    """Refuse another dtype than that of the checkpoints, which would be lost."""
    others = {point.dtype for points in store.unfinished.start_points().values() for point in points} - {dtype}
    if others:
        raise SweepError(
            f"{store.root}: holds checkpoints in {named(others)}, and {dtype} was asked for; "
            "use another directory, or the same dtype"
        )


def _missing(space: SearchSpace, store: Store, options: SweepOptions, done: set[str]) -> list[Assignment]:
    only = {cell for failure in store.failures.read() for cell in failure.cells} if options.retry_failed else None
    return missing_packs(space, done, store, options.dtype, only)


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
