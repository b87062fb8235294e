"""Reading a sweep directory into data frames and blocks of sequences."""

from analysis.data.configurations import by_configuration
from analysis.data.load import (
    Where,
    load_cells,
    load_layers,
    load_requested,
    load_tasks,
    open_store,
    parse_where,
    seed_count,
    select,
    shared_configuration,
    varying_fields,
)
from analysis.data.sequences import Block, blocks_of, iter_blocks, split

__all__ = [
    "Block",
    "Where",
    "blocks_of",
    "by_configuration",
    "iter_blocks",
    "load_cells",
    "load_layers",
    "load_requested",
    "load_tasks",
    "open_store",
    "parse_where",
    "seed_count",
    "select",
    "shared_configuration",
    "split",
    "varying_fields",
]
