"""Run what is missing of a sweep, one Ray Tune trial per pack.

Running the same space into the same directory again is how a sweep is continued: finished cells are skipped, by id, and
unfinished packs go on from their checkpoints. Nothing depends on Tune's own experiment state.

Importing this module does not import Ray, so that `run_sweep` can prepare Ray's environment first.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lop_sweep import runtime
from lop_sweep.console.signals import is_abandoned_sweep_running
from lop_sweep.errors import InaccessibleFileError, SchemaVersionError, StoreError, SweepError
from lop_sweep.experiment import make_device
from lop_sweep.planning import (
    SearchSpace,
    Sizing,
    WorkItem,
    count_states,
    describe_sizes,
    missing_packs,
    sizes_line,
    still_missing,
)
from lop_sweep.storage import Lock, Store, describe_space, hold_lock, quarantine
from lop_sweep.storage.maintenance import check_checkpoints, clean, finished_cells
from lop_sweep.tune.options import Outcome, SweepOptions
from lop_sweep.tune.progress import Progress
from lop_sweep.tune.session import ray_errors, ray_probe, ray_session, slots
from lop_sweep.tune.shared_path import check_shared
from lop_sweep.tune.shutdown import (
    SAVE_SECONDS,
    AbandonedError,
    Stop,
    StoppedError,
    attended,
)

_log = logging.getLogger(__name__)


def run_sweep(space: SearchSpace, out: str | Path, options: SweepOptions | None = None) -> Outcome:
    """Compute the cells of `space` that `out` does not hold yet.

    SIGINT and SIGTERM stop the sweep in order. That, and a Ray that is lost, ends with an `Outcome` that says so.

    Args:
        space: from `lop_sweep.planning.space.load_space`.
        out: the sweep directory; made if need be. On a cluster, all nodes must see it under this path.
        options: how to run.

    Raises:
        ConfigError: the device that `options` ask for does not exist.
        SweepError: `out` holds a sweep of another dtype, or another process is at work on it; or the Ray cluster cannot
            be reached, or not all its nodes see `out`.
        SchemaVersionError: another version of lop-sweep wrote `out`, or a file in it.
        StoreError: `out` cannot be read or written.
    """
    driver = _Driver(space, Store(out), options or SweepOptions())
    return driver.run()


class _Driver:
    """One call of `run_sweep`.

    Args:
        space: what is asked for.
        store: the sweep directory.
        options: how to run.
    """

    def __init__(self, space: SearchSpace, store: Store, options: SweepOptions) -> None:
        self._space, self._store, self._options = space, store, options
        self._stop, self._progress = Stop(), Progress(options.progress)
        self._lease: Lock | None = None
        self._packs: list[WorkItem] = []
        self._failed: dict[str, str] = {}
        self._gave_up = ""
        self._has_ray = False

    def run(self) -> Outcome:
        """Compute what is missing; see `run_sweep`."""
        start = time.monotonic()
        if is_abandoned_sweep_running():
            raise SweepError("an earlier sweep in this process still waits within Ray; start a new process")
        if self._options.address is None:
            make_device(self._options.device)  # it must be on this machine then
        self._store.check_schema()
        self._store.segments()  # a place that cannot even be read is refused before anything is written
        done = self._attended()
        computed = {cell.id for a in self._packs for cell in a.pack.cells} & done
        status = count_states(self._store, self._space.cells)
        seconds = time.monotonic() - start
        return Outcome(status, len(computed), self._failed, self._gave_up, self._stop.signal, seconds)

    def _attended(self) -> set[str]:
        """Do it all, in a thread of its own; returns the ids of all finished cells."""
        stop = self._stop
        try:
            return attended(self._run, stop, self._abandon)
        except AbandonedError as error:
            self._raise_what_stopped_it()
            if stop.signal is None:
                self._gave_up = f"{error}: {self._where()} does not answer any more, its head node may have died"
        except StoppedError:
            self._raise_what_stopped_it()
        except SweepError as error:
            if stop.signal is None:
                raise
            _log.info("%s", error)  # a signal to a whole process group has ended the Ray that was just starting
        return self._finished()

    def _run(self) -> set[str]:
        store, options, stop = self._store, self._options, self._stop
        with contextlib.ExitStack() as resources:
            if options.address and self._missing(self._finished()):
                # Before anything is written: the address may be wrong, or there may be no GPU.
                self._enter_ray(resources)
            store.create()
            lock = resources.enter_context(
                hold_lock(store.driver, self._activity, on_loss=lambda reason: stop.because(SweepError(reason)))
            )
            self._lease = lock
            stop.check()
            done, sizing = clean(store, options.dtype), Sizing(dtype=options.dtype)
            store.checkpoints.discard_finished(done)
            if self._missing(done):
                check_checkpoints(store, options.dtype)
                self._enter_ray(resources)
                sizing = self._sizing()
                done = self._finished()  # a worker of a driver that is gone may have finished a pack meanwhile
            lock.check()
            self._plan(done, sizing)
            if self._packs:
                if options.address:
                    with ray_errors("the nodes of the cluster cannot be asked"):
                        check_shared(store.driver, lock.token)
                stop.check()
                self._compute(lock, sizing)
            if stop.abandoned:
                raise StoppedError
            self._raise_what_stopped_it()
            lock.check()
            done = clean(store, options.dtype)
            store.failures.discard_finished(done)
            store.checkpoints.discard_finished(done)  # checkpoints that were taken in other packs
        return done

    def _raise_what_stopped_it(self) -> None:
        error = self._stop.error
        if error is not None:
            raise type(error)(f"{error}; once that is mended, the same command goes on") from error

    def _enter_ray(self, resources: contextlib.ExitStack) -> None:
        """Provide a Ray until `resources` are closed, if there is none yet."""
        if not self._has_ray:
            self._stop.check()
            resources.enter_context(self._ray())
            self._has_ray = True
            self._stop.check()
            self._sizing()  # there may be no GPU

    @contextlib.contextmanager
    def _ray(self) -> Iterator[None]:
        """Provide a Ray, and let the thread that waits for this one watch it."""
        with ray_session(self._options.address, self._options.cpus):
            with ray_errors("Ray does not answer"):
                self._stop.ray_answers = ray_probe()
            try:
                yield
            finally:
                self._stop.ray_answers = None

    def _abandon(self) -> None:
        """Let workers save what they have, and release the directory; the sweep's own thread cannot any more."""
        if self._lease is None:
            return
        if self._stop.trials_started:
            self._lease.request_stop()
            time.sleep(SAVE_SECONDS)
        self._lease.release()

    def _where(self) -> str:
        return f"the Ray cluster at {self._options.address}" if self._options.address else "the local Ray"

    def _activity(self) -> dict[str, Any]:
        progress = self._progress
        return {"sweep": self._space.name, "cells": progress.cells, "done": round(progress.done, 2)}

    def _sizing(self) -> Sizing:
        """Return how large packs are to be, on the Ray at hand."""
        options = self._options
        with ray_errors("Ray does not answer"):
            trials = slots(options.device)
        return Sizing(
            slots=trials,
            dtype=options.dtype,
            gpu=options.device == "cuda",
            cells=options.pack,
            tasks_per_report=options.tasks_per_report,
        )

    def _plan(self, done: set[str], sizing: Sizing) -> None:
        """Cut what is missing into packs, and write down what is asked for."""
        space, store, options = self._space, self._store, self._options
        packs = missing_packs(space, done, store, sizing, self._confined_to())
        self._packs = packs
        self._progress.expect([item.pack for item in packs])
        earlier = self._earlier()
        sizes = describe_sizes(packs, space, sizing) if packs else earlier.get("sizes")
        created = str(earlier.get("created", _now()))
        store.write_sweep({**_provenance(created, options), "sizes": sizes, **describe_space(space)})
        _log.info(
            "%s: %d cells, %d of them finished already; %d to compute in %d packs",
            space.name, len(space.cells), sum(cell.id in done for cell in space.cells), self._progress.cells,
            len(packs),
        )  # fmt: skip
        if packs:
            _log.info("%s", sizes_line(describe_sizes(packs, space, sizing), options.device))

    def _compute(self, lock: Lock, sizing: Sizing) -> None:
        """Compute what is missing on the Ray at hand; trouble with the directory is left in `self._stop`."""
        from lop_sweep.tune.executor import compute  # imports Ray, whose environment is prepared by now

        store, options = self._store, self._options
        self._stop.trials_started = True

        def missing() -> list[WorkItem]:
            return still_missing(self._packs, self._finished(), store, sizing)

        keep = options.keeps_states(self._space.cells)
        try:
            self._failed, self._gave_up = compute(
                self._packs, missing, store, options, lock, self._progress, self._stop, keep
            )
        except StoreError as error:
            self._stop.because(error)
        finally:
            self._progress.close()

    def _finished(self) -> set[str]:
        """Return the ids of all finished cells; errors as `finished_cells`."""
        return finished_cells(self._store, self._options.dtype)[0]

    def _missing(self, done: set[str]) -> bool:
        """Return whether there is anything to compute."""
        only = self._confined_to()
        return any(cell.id not in done and (only is None or cell.id in only) for cell in self._space.cells)

    def _confined_to(self) -> set[str] | None:
        """Return the cells that kept failing, if those alone are to be computed; else None."""
        if not self._options.retry_failed:
            return None
        return {cell for failure in self._store.failures.read() for cell in failure.cells}

    def _earlier(self) -> dict[str, Any]:
        """Return what `sweep.json` says so far; nothing if there is none, or if it is damaged: then it is set aside.

        Raises:
            SchemaVersionError: another version of the schema wrote it.
            StoreError: it cannot be read just now, or cannot be set aside.
        """
        store = self._store
        try:
            return dict(store.read_sweep() or {})
        except (SchemaVersionError, InaccessibleFileError):
            raise
        except StoreError as error:
            where = quarantine(store.root, store.root / "sweep.json")
            _log.warning("%s; set aside as %s; it is written anew", error, where)
            return {}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _provenance(created: str, options: SweepOptions) -> dict[str, Any]:
    return {
        "created": created,
        "updated": _now(),
        "dtype": options.dtype,
        "device": options.device,
        "ray_version": importlib.metadata.version("ray"),
        "driver": runtime.describe_numerics(),
    }
