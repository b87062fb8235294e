"""How a sweep is run, and how a run of it ended."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from lop_sweep.config import CellConfig
from lop_sweep.console.options import check_options, document_options, option
from lop_sweep.errors import SweepError, comma_list
from lop_sweep.planning import Shard, Status
from lop_sweep.runtime import DEVICES, DTYPES
from lop_sweep.storage import sizes_of_states

MAX_DEFAULT_STATE_BYTES = 2**30
"""By default, states after the last task are kept if those of all cells take at most this."""


@document_options
@dataclass(frozen=True)
class SweepOptions:
    """How to run a sweep: the keywords of `run_sweep` and the options of `lop-sweep sweep`.

    On CPUs only `dtype` changes a number. On a GPU, rounding depends on the pack.

    Raises:
        SweepError: an option has a wrong type or value, or two options exclude each other.
    """

    address: str | None = option(None, "a Ray cluster to run on (default: a local, private Ray)", metavar="ADDR")
    cpus: int | None = option(None, "CPUs of the local Ray (default: all)", at_least=1)
    cpus_expected: int | None = option(
        None, "CPUs that the cluster will have, if nodes join later (default: those it has at the start)", at_least=1
    )
    dtype: str = option("float64", "precision of training", choices=DTYPES)
    device: str = option("cpu", "cpu (default), or cuda: one GPU per trial")
    pack: int | None = option(
        None, "maximum number of cells per trial (default: as the search space says, else by cost)", at_least=1
    )
    batch: int | None = option(
        None, "maximum number of cells computed at once (default: as fit the CPU's cache; on a GPU all)", at_least=1
    )
    shard: str | None = option(
        None, "compute only the I-th of N parts, for separate machines that share nothing but --out", metavar="I/N"
    )
    tasks_per_report: int | None = option(None, "tasks between two reports of a trial (default: by cost)", at_least=1)
    checkpoint_every: float = option(
        60.0, "seconds between two checkpoints, which are taken between tasks", metavar="S", at_least=0
    )
    max_failures: int = option(3, "number of times that a failed trial is retried", at_least=0)
    keep_state: bool | None = option(
        None, "keep each cell's last state, from which a longer sequence continues (default: if all take < 1 GiB)"
    )
    retry_failed: bool = option(False, "compute only the cells that kept failing before")
    progress: bool = option(True, "show a progress bar on standard error")

    def __post_init__(self) -> None:
        check_options(self, SweepError)
        if self.device not in DEVICES:
            raise SweepError(f"device = {self.device!r}: must be one of {comma_list(DEVICES)}")
        if self.cpus is not None and self.address is not None:
            raise SweepError("cpus is for a local Ray; a cluster at --address brings its own number of CPUs")
        if self.cpus_expected is not None and self.address is None:
            raise SweepError(
                f"cpus_expected = {self.cpus_expected}: is for a cluster; give its address, or cpus for a local Ray"
            )
        if self.shard is not None:
            Shard.parse(self.shard)
        if self.address == "":
            raise SweepError("address = '': give HOST:PORT of the head node's Ray, or omit it for a local one")

    @property
    def part(self) -> Shard | None:
        """Which part of the sweep is computed; None for the whole."""
        return None if self.shard is None else Shard.parse(self.shard)

    def keeps_states(self, cells: Iterable[CellConfig]) -> bool:
        """Return whether the states of these cells are kept."""
        if self.keep_state is not None:
            return self.keep_state
        totals = itertools.accumulate(sizes_of_states(cells, self.dtype))
        return all(total <= MAX_DEFAULT_STATE_BYTES for total in totals)


@dataclass(frozen=True)
class Outcome:
    """How a call of `run_sweep` ended.

    Attributes:
        status: the state of the sweep afterwards.
        computed: number of cells that this call finished.
        failed: why packs failed, by pack id.
        gave_up: why Tune repeatedly ended before everything was computed; empty if it did not.
        signal: the signal that stopped the sweep, or None.
        seconds: duration of the call.
    """

    status: Status
    computed: int
    failed: dict[str, str]
    gave_up: str
    signal: int | None
    seconds: float
