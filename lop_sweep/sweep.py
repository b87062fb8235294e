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
from lop_sweep.device import make_device
from lop_sweep.errors import SchemaVersionError, StoreError, SweepError, named
from lop_sweep.files import is_out_of_reach, set_aside
from lop_sweep.lease import Lease, hold_lease
from lop_sweep.options import Outcome, SweepOptions
from lop_sweep.plan import Assignment, describe_sizes, describe_space, missing_packs, still_missing
from lop_sweep.progress import Progress
from lop_sweep.ray_session import ray_probe, ray_session, slots
from lop_sweep.rounds import compute
from lop_sweep.shared_path import check_shared
from lop_sweep.sizes import Sizing
from lop_sweep.space import SearchSpace
from lop_sweep.status import count_states
from lop_sweep.status_text import sizes_line
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
        ConfigError: there is no such device as `options` ask for.
        SweepError: `out` holds a sweep of another dtype, or another process is at work on it; or the Ray cluster cannot
            be reached, or not all its nodes see `out`.
        SchemaVersionError: another version of lop-sweep wrote `out`, or a file in it.
        StoreError: `out` cannot be read or written.
    """
    options = options or SweepOptions()
    start = time.monotonic()
    store, stop, progress = Store(out), Stop(), Progress(options.progress)
    if options.address is None:
        make_device(options.device)  # it must be on this machine then

    def activity() -> dict[str, Any]:
        return {"sweep": space.name, "cells": progress.cells, "done": round(progress.done, 2)}

    store.check_schema()
    store.parts()  # a place that cannot even be read is refused before anything is written
    with contextlib.ExitStack() as resources:
        if options.address and _missing(space, store, options, _finished(store, options.dtype)):
            # Before anything is written: the address may be wrong, or there may be no GPU.
            resources.enter_context(ray_session(options.address, options.cpus))
            _sizing(options)
        store.create()
        lease = resources.enter_context(
            hold_lease(store.driver, activity, on_loss=lambda reason: stop.because(SweepError(reason)))
        )
        done = _finished(store, options.dtype)
        _tidy(store, done)
        sizing = Sizing(dtype=options.dtype)
        if _missing(space, store, options, done):
            _check_checkpoints(store, options.dtype)
            resources.enter_context(ray_session(options.address, options.cpus))
            sizing = _sizing(options)
            done = _finished(store, options.dtype)  # a worker of a driver that died may have come to its end meanwhile
        packs = _plan(space, store, options, done, sizing, progress)
        outcome: tuple[dict[str, str], str] = ({}, "")
        if packs:
            outcome = _compute(packs, sizing, space, store, options, lease, progress, stop)
        if stop.error is not None:
            raise type(stop.error)(f"{stop.error}; once that is mended, the same command goes on") from stop.error
        now_done = _finished(store, options.dtype) if packs else done
        store.failures.forget(now_done)
        store.unfinished.forget(now_done)  # checkpoints that were taken in other packs
    computed = {cell.id for a in packs for cell in a.pack.cells} & now_done
    status = count_states(store, space.cells)
    return Outcome(status, len(computed), *outcome, stop.signal, time.monotonic() - start)


def _tidy(store: Store, done: set[str]) -> None:
    """Remove what dead workers have left behind, unless somebody else is at it."""
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


def _sizing(options: SweepOptions) -> Sizing:
    """How large packs are to be, on the Ray at hand."""
    return Sizing(
        slots=slots(options.device),
        dtype=options.dtype,
        gpu=options.device == "cuda",
        cells=options.pack,
        tasks_per_report=options.tasks_per_report,
    )


def _plan(
    space: SearchSpace, store: Store, options: SweepOptions, done: set[str], sizing: Sizing, progress: Progress
) -> list[Assignment]:
    """Cut what is missing into packs, and write down what is asked for; returns what is missing."""
    packs = missing_packs(space, done, store, sizing, _confined_to(store, options))
    progress.expect([assignment.pack for assignment in packs])
    earlier = _earlier(store)
    sizes = describe_sizes(packs, space, sizing) if packs else earlier.get("sizes")
    created = str(earlier.get("created", _now()))
    store.write_sweep({**_provenance(created, options), "sizes": sizes, **describe_space(space)})
    _log.info(
        "%s: %d cells, %d of them finished already; %d to compute in %d packs",
        space.name, len(space.cells), sum(cell.id in done for cell in space.cells), progress.cells, len(packs),
    )  # fmt: skip
    if packs:
        _log.info("%s", sizes_line(describe_sizes(packs, space, sizing), options.device))
    return packs


def _compute(
    packs: list[Assignment],
    sizing: Sizing,
    space: SearchSpace,
    store: Store,
    options: SweepOptions,
    lease: Lease,
    progress: Progress,
    stop: Stop,
) -> tuple[dict[str, str], str]:
    """Compute what is missing on the Ray at hand; as `lop_sweep.rounds.compute`, but trouble is left in `stop`."""

    def missing() -> list[Assignment]:
        return still_missing(packs, _finished(store, options.dtype), store, sizing)

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
        SchemaVersionError: another version of the schema wrote one of them.
        StoreError: a file is damaged.
    """
    try:
        cells = store.read_cells(["cell", "dtype"])
    except SchemaVersionError:  # sound, so there is nothing to repair
        raise
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


def _missing(space: SearchSpace, store: Store, options: SweepOptions, done: set[str]) -> bool:
    """Whether there is anything to compute."""
    only = _confined_to(store, options)
    return any(cell.id not in done and (only is None or cell.id in only) for cell in space.cells)


def _confined_to(store: Store, options: SweepOptions) -> set[str] | None:
    """The cells that kept failing, if those alone are to be computed; else None."""
    return {cell for failure in store.failures.read() for cell in failure.cells} if options.retry_failed else None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _earlier(store: Store) -> dict[str, Any]:
    """What `sweep.json` says so far; nothing, if there is none, or if it is damaged: then it is set aside.

    Raises:
        SchemaVersionError: another version of the schema wrote it.
        StoreError: it cannot be read just now, or cannot be set aside.
    """
    try:
        return dict(store.read_sweep() or {})
    except SchemaVersionError:
        raise
    except StoreError as error:
        if is_out_of_reach(error):
            raise
        where = set_aside(store.root, store.root / "sweep.json")
        _log.warning("%s; set aside as %s; it is written anew", error, where)
        return {}


def _provenance(created: str, options: SweepOptions) -> dict[str, Any]:
    return {
        "created": created,
        "updated": _now(),
        "dtype": options.dtype,
        "device": options.device,
        "ray_version": importlib.metadata.version("ray"),
        "driver": machine.describe_numerics(),
    }
