"""Run one pack: where it resumes, when it saves and how it is committed. Joins experiment and storage; no Ray."""

from __future__ import annotations

import time
from collections.abc import Callable

from lop_sweep import runtime
from lop_sweep.errors import StateError, StoreError
from lop_sweep.experiment import Experiment
from lop_sweep.metrics import TaskRow, stack_metrics, unstack_metrics
from lop_sweep.pack import Pack
from lop_sweep.storage import PackResult, PackState, ResumePoints, Store, fault_point, merge_numerics
from lop_sweep.storage.maintenance import withdraw


class PackRun:
    """A pack's experiment together with its files in a sweep directory.

    It resumes from the most advanced of the pack's own checkpoint and `resume_from`. If neither can be used, it resumes
    from the pack's kept state, else it starts from the beginning.

    Args:
        pack: the pack.
        dtype: "float64" or "float32".
        store: the sweep directory; None to write nothing.
        checkpoint_every: seconds between two checkpoints, which are taken between tasks or fresh networks.
        keep_state: whether to keep the state after the last task, for longer sequences.
        resume_from: saved states of the same trajectories, from which the pack may resume.
        stopping: called between tasks; once it returns True, the pack is saved and `run_tasks` or `finish` returns.
        check_lock: called before and after a finished pack is written; raises StoreError if the sweep directory has
            another driver by then.
        device: one of `lop_sweep.runtime.DEVICES`.
        batch: maximum number of cells computed at once; None for what suits the device.
        heartbeat_every: minimum seconds between two heartbeats, which are sent between tasks; buckets ask for more.

    Attributes:
        pack: the pack.
        experiment: its cells' sequences.
        history: the rows of the tasks done.
        note: why a saved state that was found could not be used; empty if none was.

    Raises:
        ConfigError: the cells do not fit together, `dtype` or `device` is unknown, there is no such device here, or
            `batch` is less than 1.
        StoreError: the sweep directory cannot be read or written.
    """

    def __init__(
        self,
        pack: Pack,
        dtype: str = "float64",
        store: Store | None = None,
        checkpoint_every: float = 60.0,
        keep_state: bool = False,
        resume_from: ResumePoints = (),
        stopping: Callable[[], bool] = lambda: False,
        check_lock: Callable[[], None] = lambda: None,
        device: str = "cpu",
        batch: int | None = None,
        heartbeat_every: float = 5.0,
    ) -> None:
        self.pack = pack
        self.experiment = Experiment(pack.cells, dtype, device, batch)
        self.history: list[TaskRow] = []
        self.note = ""
        self._store, self._checkpoint_every, self._keep_state = store, checkpoint_every, keep_state
        self._numerics = {
            "engine": "fast", "dtype": dtype, "device": self.experiment.device, **runtime.describe_numerics(),
        }  # fmt: skip
        self._stopping, self._check_lock = stopping, check_lock
        self._heartbeat_seconds = max(heartbeat_every, store.beat_seconds if store else 0.0)
        self._last_heartbeat = float("-inf")
        self._last_checkpoint = time.monotonic()
        self._saved: tuple[int, int] | None = (0, 0)
        if store is not None:
            self._resume(store, resume_from)
            self._beat()

    @property
    def tasks_left(self) -> int:
        """Tasks that remain to be run."""
        return self.experiment.tasks - self.experiment.tasks_done

    def run_tasks(self, count: int) -> list[TaskRow]:
        """Run up to `count` of the remaining tasks, with checkpoints between them, and return their rows."""
        rows: list[TaskRow] = []
        while self.tasks_left and len(rows) < count:
            rows.append(self.experiment.run_task())
            self.history.append(rows[-1])
            if self.tasks_left and self._between():
                break
        return rows

    def finish(self) -> bool:
        """Keep the state after the last task, train the fresh networks and write the pack to the store.

        Returns:
            True once that is done; False if `stopping` ended it early.

        Raises:
            StoreError: the store cannot be written, or `check_lock` raised it.
        """
        if self._store is not None and self._keep_state and not self.experiment.fresh_ce.shape[1]:
            self._store.checkpoints.keep(self.state())
        while self.experiment.fresh_remaining:
            self.experiment.run_fresh_network()
            if self._between() and self.experiment.fresh_remaining:
                return False
        if self._store is not None:
            self._commit(self._store)
        return True

    def state(self) -> PackState:
        """Return everything that is needed to continue."""
        history = stack_metrics(self.history) if self.history else {}
        return PackState(self.pack, self.experiment.state_dict(), history, self._numerics)

    def load(self, state: PackState) -> None:
        """Continue from a state of the same pack, or of cells with the same trajectories.

        Raises:
            StateError: it is not such a state; nothing was changed.
        """
        self.experiment.load_state_dict(state.experiment)
        self.history = unstack_metrics(state.history) if state.history else []
        self._numerics = merge_numerics(state.numerics, self._numerics)
        self._saved = state.progress

    def checkpoint(self) -> None:
        """Save now, unless nothing is new, there is no store, or the pack is finished.

        Raises:
            StoreError: the checkpoint cannot be written.
        """
        progress = (self.experiment.tasks_done, self.experiment.fresh_ce.shape[1])
        if self._store is not None and self._saved is not None and progress != self._saved:
            self._store.checkpoints.save(self.state())
            self._saved = progress
        self._last_checkpoint = time.monotonic()

    def _commit(self, store: Store) -> None:
        """Write the finished pack, and withdraw it if another driver has had its cells computed meanwhile.

        The process may be suspended for any time between the first check and the write; hence the second check.
        """
        self._check_lock()
        fault_point("commit.checked")
        try:
            store.commit(self._result())
            self._saved = None
        finally:
            self._withdraw_if_lost(store)

    def _withdraw_if_lost(self, store: Store) -> None:
        try:
            self._check_lock()
        except StoreError:
            if withdraw(store, self.pack):
                raise

    def _resume(self, store: Store, resume_from: ResumePoints) -> None:
        """Load the state that the pack resumes from, if there is one. What cannot be used is reported in `note`."""
        state, notes = store.checkpoints.find_start(self.pack, resume_from)
        if state is not None:
            try:
                self.load(state)
            except StateError as error:
                notes.append(f"{error}; not used")
        self.note = "; ".join(notes)

    def _between(self) -> bool:
        """Send a heartbeat and save if it is time, between two tasks or networks; return whether to stop."""
        self._beat()
        stop = self._stopping()
        if stop or time.monotonic() - self._last_checkpoint >= self._checkpoint_every:
            self.checkpoint()
        return stop

    def _beat(self) -> None:
        if self._store is not None and time.monotonic() - self._last_heartbeat > self._heartbeat_seconds:
            self._last_heartbeat = time.monotonic()
            self._store.checkpoints.beat(self.pack, self.experiment.tasks_done)

    def _result(self) -> PackResult:
        return PackResult(
            pack=self.pack.id,
            cells=self.pack.cells,
            history=stack_metrics(self.history),
            fresh_ce=self.experiment.fresh_ce,
            diverged_at=self.experiment.diverged_at,
            seconds=self.experiment.seconds,
            numerics=self._numerics,
        )
