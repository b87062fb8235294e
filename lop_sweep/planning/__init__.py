"""What has to be computed, decided without running anything."""

from lop_sweep.planning.packing import Sizing
from lop_sweep.planning.plan import WorkItem, describe_sizes, missing_packs, still_missing
from lop_sweep.planning.space import SearchSpace, load_space
from lop_sweep.planning.status import Status, count_states, sweep_status
from lop_sweep.planning.status_text import sizes_line, status_json, status_lines

__all__ = [
    "SearchSpace",
    "Sizing",
    "Status",
    "WorkItem",
    "count_states",
    "describe_sizes",
    "load_space",
    "missing_packs",
    "sizes_line",
    "status_json",
    "status_lines",
    "still_missing",
    "sweep_status",
]
