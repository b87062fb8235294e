"""How a sweep is run, and how a run of it ended."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lop_sweep.config import CellConfig
from lop_sweep.errors import SweepError, comma_list
from lop_sweep.experiment import DEVICES, DTYPES
from lop_sweep.planning import Status
from lop_sweep.storage import state_bytes

KEEP_BYTES = 2**30
"""States after the last task are kept by default as long as those of all cells take less than this."""


@dataclass(frozen=True)
class SweepOptions:
    """How to run a sweep; on CPUs none of this changes a number, except `dtype`. A GPU's rounding depends on the pack.

    Attributes:
        address: a Ray cluster to run on; None for a Ray of our own on this machine.
        cpus: CPUs of that Ray of our own; None for all.
        dtype: "float64" or "float32".
        device: "cpu", or "cuda" for one GPU a trial; "torch" is for tests.
        pack: cells that one trial runs together, at most; None: as the search space says, or by what cells cost.
        tasks_per_report: tasks a trial runs between two reports to the driver; None: by what cells cost.
        checkpoint_every: seconds between two checkpoints of a pack; they are taken between tasks.
        max_failures: how often a trial whose worker died or failed is tried again.
        keep_state: whether to keep the state of each cell after its last task, from which cells with more tasks go on;
            None: if those of all cells take less than `KEEP_BYTES`.
        retry_failed: whether to compute only what kept failing before.
        progress: whether to show a progress bar on standard error.

    Raises:
        SweepError: an option is out of range, or two of them do not go together.
    """

    address: str | None = None
    cpus: int | None = None
    dtype: str = "float64"
    device: str = "cpu"
    pack: int | None = None
    tasks_per_report: int | None = None
    checkpoint_every: float = 60.0
    max_failures: int = 3
    keep_state: bool | None = None
    retry_failed: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise SweepError(f"dtype = {self.dtype!r}: must be one of {comma_list(DTYPES)}")
        if self.device not in DEVICES:
            raise SweepError(f"device = {self.device!r}: must be one of {comma_list(DEVICES)}")
        for name, value in (("tasks per report", self.tasks_per_report), ("pack", self.pack), ("cpus", self.cpus)):
            if value is not None and value < 1:
                raise SweepError(f"{name} = {value}: must be an integer of at least 1")
        if not 0 <= self.checkpoint_every < math.inf:
            raise SweepError(f"checkpoint every = {self.checkpoint_every}: must be a number of seconds, 0 or more")
        if self.max_failures < 0:
            raise SweepError(f"max failures = {self.max_failures}: must be an integer of at least 0")
        if self.cpus is not None and self.address is not None:
            raise SweepError("cpus is for a local Ray; a cluster at --address brings its own number of CPUs")
        if self.address == "":
            raise SweepError("address = '': give HOST:PORT of the head node's Ray, or leave it out for a local one")

    def keeps_states(self, cells: Iterable[CellConfig]) -> bool:
        """Whether the states of these cells are kept."""
        if self.keep_state is not None:
            return self.keep_state
        return sum(state_bytes(cell, self.dtype) for cell in cells) <= KEEP_BYTES


@dataclass(frozen=True)
class Outcome:
    """How a call of `run_sweep` ended.

    Attributes:
        status: where the sweep stands now.
        computed: cells that this call finished.
        failed: why packs failed, by pack id.
        gave_up: why Tune kept ending before everything was computed; empty if it did not.
        signal: the signal that stopped it, or None.
        seconds: how long it took.
    """

    status: Status
    computed: int
    failed: dict[str, str]
    gave_up: str
    signal: int | None
    seconds: float
