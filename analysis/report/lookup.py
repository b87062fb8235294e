"""Tables in which the page looks up verdicts and intervals, so that it only has to count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.report.encoding import Column
from analysis.scoring import LossCriterion, lost_from, paired_tables, plastic_to, wilson

MAX_TABULATED = 100
"""Networks per point up to which there is an interval of the share that is lost."""


def evidence_arrays(networks: Sequence[int], tasks: int, criterion: LossCriterion) -> dict[str, Column]:
    """Return the verdict by failure rates as tables.

    Args:
        networks: the numbers of fresh networks that occur.
        tasks: the largest number of late tasks.
        criterion: for the level and the difference.

    Returns:
        For each number of fresh networks N, each number of late tasks from 1 and each number of failed fresh networks
        from 0 to N: from how many failed late tasks on a cell is lost, and up to how many it is plastic.
    """
    windows = [(m, n) for n in networks for m in range(1, tasks + 1)]
    lost = [lost_from(m, n, criterion.alpha, criterion.difference) for m, n in windows]
    plastic = [plastic_to(m, n, criterion.difference) for m, n in windows]
    none = np.empty(0, np.int32)
    return {
        "evidence.lost": np.concatenate([none, *lost]).astype(np.int32),
        "evidence.plastic": np.concatenate([none, *plastic]).astype(np.int32),
    }


def paired_arrays(pairs: int, criterion: LossCriterion) -> dict[str, Column]:
    """Return the verdict by pairs as tables.

    Args:
        pairs: the largest number of late tasks with a control; 0 if no cell has any.
        criterion: for the level and the difference.

    Returns:
        For each number of pairs from 0, and each number of them in which the control is worse: from how many pairs in
        which the network is worse on a cell is lost, and up to how many it is plastic.
    """
    if not pairs:
        return {}
    lost, plastic = paired_tables(pairs, criterion.alpha, criterion.difference)
    return {"paired.lost": lost.astype(np.int32), "paired.plastic": plastic.astype(np.int32)}


def interval_arrays(networks: int) -> dict[str, Column]:
    """Return Wilson's interval of a share of lost networks as a table, in whole percent.

    Args:
        networks: the largest number.

    Returns:
        For each number of networks n from 1, and each number of lost ones from 0 to n: the ends of the interval.
    """
    sizes = np.arange(1, networks + 1)
    lost = np.concatenate([np.arange(n + 1) for n in sizes])
    low, high = wilson(lost, np.repeat(sizes, sizes + 1))
    return {f"interval.{name}": np.rint(100 * end).astype(np.uint8) for name, end in (("low", low), ("high", high))}
