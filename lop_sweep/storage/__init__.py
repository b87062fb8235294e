"""What a sweep directory holds, and the only code that touches its files."""

from lop_sweep.storage.checkpoints import ResumePoints
from lop_sweep.storage.exclusion import hold_sweep, is_at_work
from lop_sweep.storage.failures import Failure
from lop_sweep.storage.filesystem import (
    READERS,
    check_writable,
    fault_point,
    filesystem_of,
    is_local,
    is_text,
    local_path,
    names_in,
    quarantine,
    sweep_path,
    writable_folder,
    write_bytes,
    writing,
)
from lop_sweep.storage.lock import Lock, hold_lock
from lop_sweep.storage.lock_file import REQUEST, LockState, is_held, read_lock, stop_file
from lop_sweep.storage.manifest import describe_space, requested_cells
from lop_sweep.storage.pack_state import PackState, StartPoint, merge_numerics, sizes_of_states, state_bytes
from lop_sweep.storage.process import host_name
from lop_sweep.storage.reader import iter_tasks
from lop_sweep.storage.schema import (
    DIVERGED,
    PackResult,
    cells_table,
    is_optional,
    tasks_schema,
    tasks_table,
    with_columns,
)
from lop_sweep.storage.store import Store

__all__ = [
    "DIVERGED",
    "READERS",
    "REQUEST",
    "Failure",
    "Lock",
    "LockState",
    "PackResult",
    "PackState",
    "ResumePoints",
    "StartPoint",
    "Store",
    "cells_table",
    "check_writable",
    "describe_space",
    "fault_point",
    "filesystem_of",
    "hold_lock",
    "hold_sweep",
    "host_name",
    "is_at_work",
    "is_held",
    "is_local",
    "is_optional",
    "is_text",
    "iter_tasks",
    "local_path",
    "merge_numerics",
    "names_in",
    "quarantine",
    "read_lock",
    "requested_cells",
    "sizes_of_states",
    "state_bytes",
    "stop_file",
    "sweep_path",
    "tasks_schema",
    "tasks_table",
    "with_columns",
    "writable_folder",
    "write_bytes",
    "writing",
]
