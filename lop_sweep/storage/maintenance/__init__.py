"""Checking, repairing, merging and cleaning up a sweep directory."""

from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.maintenance.housekeeping import check_checkpoints, clean, finished_cells
from lop_sweep.storage.maintenance.overlap import withdraw
from lop_sweep.storage.maintenance.transfer import copy_sweep

__all__ = [
    "check_checkpoints",
    "clean",
    "compact",
    "copy_sweep",
    "finished_cells",
    "withdraw",
]
