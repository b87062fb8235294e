"""What has to be computed, decided without running anything. Imports neither Ray nor PyTorch."""

from lop_sweep.planning.choosing import REFINEMENT, Chooser, Refinement, next_cells
from lop_sweep.planning.packing import Sizing
from lop_sweep.planning.plan import Plan, WorkItem, begun_cells, item_maker, make_plan, preview
from lop_sweep.planning.plan_text import plan_lines
from lop_sweep.planning.shards import Shard, divide
from lop_sweep.planning.space import SearchSpace
from lop_sweep.planning.space_file import load_space, to_space
from lop_sweep.planning.status import Status, count_states, sweep_status
from lop_sweep.planning.status_text import status_json, status_lines

__all__ = [
    "REFINEMENT",
    "Chooser",
    "Plan",
    "Refinement",
    "SearchSpace",
    "Shard",
    "Sizing",
    "Status",
    "WorkItem",
    "begun_cells",
    "count_states",
    "divide",
    "item_maker",
    "load_space",
    "make_plan",
    "next_cells",
    "plan_lines",
    "preview",
    "status_json",
    "status_lines",
    "sweep_status",
    "to_space",
]
