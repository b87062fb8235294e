"""Run what is missing of a sweep, one Ray Tune trial per pack.

Running the same space into the same directory again continues a sweep: finished cells are skipped, by id, and
unfinished packs resume from their checkpoints. Nothing depends on Tune's own experiment state.

Importing this module does not import Ray, so that `run_sweep` can prepare Ray's environment first.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lop_sweep import runtime
from lop_sweep.config import digest
from lop_sweep.console.options import accepts_options, options_from_keywords
from lop_sweep.console.signals import is_abandoned_sweep_running
from lop_sweep.errors import InaccessibleFileError, SchemaVersionError, StoreError, SweepError, safe_repr
from lop_sweep.experiment import make_device
from lop_sweep.planning import Plan, SearchSpace, Sizing, count_states, divide, make_plan, plan_lines, to_space
from lop_sweep.storage import REQUEST, Lock, Store, describe_space, hold_sweep, quarantine
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

if TYPE_CHECKING:
    from lop_sweep.tune.executor import Executor

_log = logging.getLogger(__name__)

RELEASE_SECONDS = 10.0
"""How long to try to release the directory when Ray is lost."""


@accepts_options(SweepOptions)
def run_sweep(
    space: SearchSpace | Mapping[str, Any] | str | Path,
    out: str | Path,
    *,
    on_pack: Callable[[str], None] | None = None,
    **options: Any,
) -> Outcome:
    """Compute the cells of `space` that `out` does not hold yet.

        outcome = run_sweep(space, "results", cpus=4, max_failures=1)

    SIGINT and SIGTERM stop the sweep gracefully. After a signal, or if Ray is lost, the `Outcome` says so.

    Args:
        space: the search space, its parameter space (a dictionary), its file, or the name of a shipped one. A file is
            executed.
        out: the sweep directory, which is created if it does not exist and which all nodes of a cluster must see under
            this path; or a bucket and a prefix, such as "s3://bucket/sweep".
        on_pack: called with the id of each pack once its results are in `out`. It is called in a thread of the sweep,
            so it must return at once; an exception ends the sweep.
        options: how to run; the fields of `SweepOptions`, which documents them.

    Returns:
        The state of the sweep, or of the part that `shard` names, afterwards, and what this call did.

    Raises:
        ConfigError: the `device` does not exist, or a value in the parameter space is not valid.
        SpaceError: `space` is not a search space.
        SweepError: an argument is unknown or has a wrong type or value; `out` holds a sweep of another dtype, or
            another process runs it; or the Ray cluster cannot be reached, or not all its nodes see `out`.
        SchemaVersionError: another version of lop-sweep wrote `out`, or a file in it.
        StoreError: `out` cannot be read or written.
    """
    chosen = options_from_keywords(SweepOptions, options, SweepError)
    if not isinstance(out, (str, os.PathLike)):
        raise SweepError(f"out = {safe_repr(out)[:80]}: must be a path, or the URI of a bucket and a prefix")
    if on_pack is not None and not callable(on_pack):
        raise SweepError(f"on_pack = {safe_repr(on_pack)[:80]}: must be a function that takes a pack's id")
    driver = Driver(to_space(space), Store(out), chosen, on_pack)
    return driver.run()


class Driver:
    """One call of `run_sweep`.

    Args:
        space: the request; with the option `shard`, a part of it is computed.
        store: the sweep directory.
        options: how to run.
        on_pack: see `run_sweep`.
    """

    def __init__(
        self, space: SearchSpace, store: Store, options: SweepOptions, on_pack: Callable[[str], None] | None = None
    ) -> None:
        self._request, self._store, self._options = space, store, options
        self._space, self._part, self._division = space, "", ""
        if options.part:
            parts = divide(space.cells, options.part.count)
            self._space = SearchSpace(cells=parts[options.part.number - 1], name=space.name, pack=space.pack)
            self._part = options.part.name
            self._division = digest([options.dtype, [[cell.id for cell in cells] for cells in parts]])[:8]
        self._stop, self._progress = Stop(), Progress(options.progress, on_pack)
        self._lock: Lock | None = None
        self._plan = Plan(space, Sizing(dtype=options.dtype))
        self._failed: dict[str, str] = {}
        self._gave_up = ""
        self._has_ray = False

    def run(self) -> Outcome:
        """Compute what is missing; see `run_sweep`."""
        start = time.monotonic()
        if is_abandoned_sweep_running():
            raise SweepError("an earlier sweep in this process is still blocked within Ray; start a new process")
        if self._options.address is None:
            make_device(self._options.device)  # a local Ray needs it on this machine
        self._store.check_schema()
        self._store.segments()  # a directory that cannot be read is refused before anything is written
        done = self._attended()
        computed = {cell.id for cell in self._plan.cells} & done
        status = count_states(self._store, self._space.cells)
        seconds = time.monotonic() - start
        return Outcome(status, len(computed), self._failed, self._gave_up, self._stop.signal, seconds)

    def _attended(self) -> set[str]:
        """Run the sweep in its own thread; return the ids of all finished cells."""
        stop = self._stop
        try:
            return attended(self._run, stop, self._abandon)
        except AbandonedError as error:
            self._raise_fatal_error()
            if stop.signal is None:
                self._gave_up = f"{error}: {self._where()} no longer answers, its head node may have crashed"
        except StoppedError:
            self._raise_fatal_error()
        except SweepError as error:
            if stop.signal is None:
                raise
            _log.info("%s", error)  # a signal to the whole process group ended the Ray that was starting
        return self._finished()

    def _run(self) -> set[str]:
        store, options, stop = self._store, self._options, self._stop
        with contextlib.ExitStack() as resources:
            if options.address and self._is_incomplete(self._finished()):
                # Before anything is written: the address may be wrong, or there may be no GPU.
                self._enter_ray(resources)
            store.create()
            lock = resources.enter_context(
                hold_sweep(store, self._activity, self._part, on_loss=lambda reason: stop.because(SweepError(reason)))
            )
            self._lock = lock
            stop.check()
            done, sizing = clean(store, options.dtype), self._plan.sizing
            store.checkpoints.discard_finished(done)
            if self._is_incomplete(done):
                check_checkpoints(store, options.dtype)
                self._enter_ray(resources)
                sizing = self._sizing()
                done = self._finished()  # a worker of an earlier driver may have finished a pack meanwhile
            lock.check()
            self._make_plan(done, sizing)
            if self._has_work():
                if options.address:
                    with ray_errors("the nodes of the cluster cannot be asked"):
                        check_shared(lock.folder, lock.token, may_be_empty=options.cpus_expected is not None)
                stop.check()
                self._compute(lock)
            if stop.abandoned:
                raise StoppedError
            self._raise_fatal_error()
            lock.check()
            done = clean(store, options.dtype)
            store.failures.discard_finished(done)
            store.checkpoints.discard_finished(done)  # checkpoints of cells that were finished in other packs
        return done

    def _raise_fatal_error(self) -> None:
        error = self._stop.error
        if error is not None:
            raise type(error)(f"{error}; fix this, then run the same command again to continue") from error

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
        """Provide a Ray that the waiting thread watches."""
        with ray_session(self._options.address, self._options.cpus):
            with ray_errors("Ray does not answer"):
                self._stop.ray_answers = ray_probe()
            try:
                yield
            finally:
                self._stop.ray_answers = None

    def _abandon(self) -> None:
        """Let workers save, then release the directory, in place of the sweep's blocked thread."""
        if self._lock is None:
            return
        thread = threading.Thread(target=self._let_go, args=(self._lock,), daemon=True)  # the directory may be gone too
        thread.start()
        thread.join(SAVE_SECONDS + RELEASE_SECONDS)

    def _let_go(self, lock: Lock) -> None:
        if self._stop.trials_started:
            lock.request_stop()
            time.sleep(SAVE_SECONDS)
        lock.release()

    def _where(self) -> str:
        return f"the Ray cluster at {self._options.address}" if self._options.address else "the local Ray"

    def _activity(self) -> dict[str, Any]:
        progress, part = self._progress, self._options.shard
        shard = {"shard": part, REQUEST: self._division} if part else {}
        return {"sweep": self._space.name, **shard, "cells": progress.cells, "done": round(progress.done, 2)}

    def _sizing(self) -> Sizing:
        """Return what the sizes of packs are chosen by on this process's Ray."""
        options = self._options
        with ray_errors("Ray does not answer"):
            trials = slots(options.device, options.cpus_expected)
        return Sizing(
            slots=trials,
            dtype=options.dtype,
            gpu=options.device == "cuda",
            cells=options.pack,
            batch=options.batch,
            tasks_per_report=options.tasks_per_report,
        )

    def _make_plan(self, done: set[str], sizing: Sizing) -> None:
        """Plan the missing cells, and write the request to `sweep.json`."""
        space = self._space
        plan = make_plan(space, done, self._store, sizing, self._cells_to_retry())
        self._plan = plan
        self._progress.expect(plan.packs)
        self._write_sweep(plan)
        for line in plan_lines(plan, self._keeps_states()):
            _log.info("%s", line)

    def _has_work(self) -> bool:
        """Return whether the plan has anything to compute."""
        return bool(self._plan.items)

    def _write_sweep(self, plan: Plan, **further: Any) -> None:
        """Write `sweep.json`: the request, how its work was divided, and further keys."""
        earlier = self._earlier()
        sizes = plan.description if plan.items else earlier.get("sizes")
        created = str(earlier.get("created", _now()))
        self._store.write_sweep(
            {**_provenance(created, self._options), "sizes": sizes, **further, **describe_space(self._request)}
        )

    def _compute(self, lock: Lock) -> None:
        """Compute the plan's packs; a sweep directory that cannot be written is left as an error in `self._stop`."""
        executor = self._make_executor(lock)
        self._stop.trials_started = True
        try:
            executor.run(self._plan, self._keeps_states())
        except StoreError as error:
            self._stop.because(error)
        finally:
            self._failed, self._gave_up = executor.failed, executor.gave_up
            self._progress.close()

    def _keeps_states(self) -> bool:
        """Return whether each cell's last state is kept."""
        return self._options.keeps_states(self._request.cells)

    def _make_executor(self, lock: Lock) -> Executor:
        from lop_sweep.tune.executor import Executor  # imports Ray, whose environment is prepared by now

        return Executor(self._store, self._options, lock, self._progress, self._stop)

    def _finished(self) -> set[str]:
        """Return the ids of all finished cells; errors as `finished_cells`."""
        return finished_cells(self._store, self._options.dtype)[0]

    def _is_incomplete(self, done: set[str]) -> bool:
        """Return whether there is anything to compute."""
        only = self._cells_to_retry()
        return any(cell.id not in done and (only is None or cell.id in only) for cell in self._space.cells)

    def _cells_to_retry(self) -> set[str] | None:
        """Return the ids of cells that kept failing, if only those are to be computed; else None."""
        if not self._options.retry_failed:
            return None
        return {cell for failure in self._store.failures.read() for cell in failure.cells}

    def _earlier(self) -> dict[str, Any]:
        """Return the content of `sweep.json`; empty if there is none, or if it is damaged: then it is quarantined.

        Raises:
            SchemaVersionError: another version of the schema wrote it.
            StoreError: it cannot be read just now, or cannot be quarantined.
        """
        store = self._store
        try:
            return dict(store.read_sweep() or {})
        except (SchemaVersionError, InaccessibleFileError):
            raise
        except StoreError as error:
            where = quarantine(store.root, store.root / "sweep.json")
            _log.warning("%s; set aside as %s and written anew", error, where)
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
