"""Reading a sweep directory into data frames and blocks of sequences."""

from analysis.data.configurations import by_configuration
from analysis.data.fields import (
    check_fields,
    describe_shared,
    format_fields,
    format_value,
    is_category,
    levels,
    own_components_follow,
    plain,
    seed_count,
    shared_fields,
    varying_fields,
)
from analysis.data.load import (
    Where,
    load_cells,
    load_layers,
    load_requested,
    load_tasks,
    measured_metrics,
    open_store,
    parse_where,
    select,
)
from analysis.data.losses import chance_levels, in_words_of
from analysis.data.sequences import Block, blocks_of, iter_blocks, split

__all__ = [
    "Block",
    "Where",
    "blocks_of",
    "by_configuration",
    "chance_levels",
    "check_fields",
    "describe_shared",
    "format_fields",
    "format_value",
    "in_words_of",
    "is_category",
    "iter_blocks",
    "levels",
    "load_cells",
    "load_layers",
    "load_requested",
    "load_tasks",
    "measured_metrics",
    "open_store",
    "own_components_follow",
    "parse_where",
    "plain",
    "seed_count",
    "select",
    "shared_fields",
    "split",
    "varying_fields",
]
