"""When a network counts as having lost plasticity, and what counts as a symptom: definitions and their thresholds.

Changing them needs no new run: scores are computed from the store.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from analysis.scoring.scores import CHANCE_CE
from lop_sweep.errors import AnalysisError, comma_list

DEFINITIONS: tuple[str, ...] = ("late", "onset", "trend")
PHASES: tuple[str, ...] = ("plastic", "lost", "untrainable", "diverged", "no baseline", "too short")
SYMPTOMS: tuple[str, ...] = ("rank", "duplicates", "saturation")
"""Symptoms by the names under which scores and figures show them."""


@dataclass(frozen=True)
class LossCriterion:
    """The definition of "lost", its thresholds, and those of the symptoms.

    A task is learnt *worse than by a fresh network* if its final CE exceeds the fresh baseline's mean by more than
    `margin`, and is more than `factor` times that. Then a cell is lost

        late    if this is true of the mean over its late tasks
        onset   if it is true of `hold` tasks in a row, and after them of some of any `recover` tasks in a row
        trend   if its final CE rises: the Theil-Sen slope's interval lies above 0, and the rise over the sequence is
                more than `margin`. It looks at no baseline, but to see that a fresh network learns at all

    and plastic otherwise. Untrainable: the fresh networks' median CE is at least `chance`, so that there is nothing to
    lose: half of them fail themselves. It is not their mean, which a single one of them can raise above any threshold;
    where one has diverged it is untrainable too. Too short: there are fewer than `hold` tasks for "onset", or too few
    for the interval of "trend", 95% of which then says nothing. Cells that are untrainable, too short, diverged or
    without a fresh baseline are neither lost nor plastic.

    A symptom is there from the first task from which, for `hold` tasks in a row, the effective rank is less than
    `rank` times that of the early tasks, or the share of duplicate features or of saturated units is more than
    `duplicates` or `saturation` above theirs (means over layers). An effective rank is never below 1, and a share never
    above 1: a network whose early tasks are too near to that is not *at risk*, and nothing follows from its having no
    such symptom.

    Attributes:
        definition: one of `DEFINITIONS`.
        last: how many of the last tasks are late; None for the last quarter.
        margin: nats.
        factor: a ratio.
        chance: nats.
        hold: tasks.
        recover: tasks; more than `hold`, because a network that has lost plasticity still learns easy tasks.
        early: how many of the first tasks are early.
        rank: a ratio.
        duplicates: a difference of shares.
        saturation: a difference of shares.

    Raises:
        AnalysisError: a value is out of range.
    """

    definition: str = "late"
    last: int | None = None
    margin: float = 0.1
    factor: float = 1.5
    chance: float = CHANCE_CE
    hold: int = 3
    recover: int = 10
    early: int = 5
    rank: float = 0.7
    duplicates: float = 0.1
    saturation: float = 0.1

    def __post_init__(self) -> None:
        if self.definition not in DEFINITIONS:
            raise AnalysisError(f"definition {self.definition!r} is unknown; there are {comma_list(DEFINITIONS)}")
        for name in ("last", "hold", "recover", "early"):
            count = getattr(self, name)
            if count is not None and (not isinstance(count, Integral) or count < 1):
                raise AnalysisError(f"{name} = {count}: must be an integer of at least 1")
        for name in ("margin", "factor", "chance", "rank", "duplicates", "saturation"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise AnalysisError(f"{name} = {value}: must be a finite number of at least 0")

    def window(self, tasks: int) -> int:
        """How many tasks are late in a sequence of this length."""
        return max(1, round(tasks / 4)) if self.last is None else min(self.last, tasks)

    @property
    def of_symptoms(self) -> str:
        """The thresholds of the symptoms in words."""
        return (
            f"symptoms, against the first {self.early} tasks, for {self.hold} in a row: effective rank below "
            f"{self.rank:g} times, duplicates {self.duplicates:g} above, saturation {self.saturation:g} above"
        )

    def __str__(self) -> str:
        worse = f"the fresh networks' by > {self.margin:g} nats and {self.factor:g} times"
        late = "last quarter of tasks" if self.last is None else f"last {self.last} tasks"
        return {
            "late": f"lost: CE of the {late} exceeds {worse}",
            "onset": f"lost: CE exceeds {worse} for {self.hold} tasks in a row, not below for {self.recover} later",
            "trend": f"lost: CE rises by > {self.margin:g} nats over the sequence, 95% interval of the slope above 0",
        }[self.definition]


def phases(
    lost: np.ndarray,
    enough_tasks: np.ndarray,
    median: np.ndarray,
    diverged: np.ndarray,
    baseline: np.ndarray,
    criterion: LossCriterion,
) -> np.ndarray:
    """The phase of each cell: the first that applies of diverged, no baseline, untrainable, too short, lost, plastic.

    Args:
        lost: (n,) booleans, by the rule's definition.
        decided: (n,) booleans, whether there are tasks enough for it.
        median: (n,) median CE of the fresh baseline in nats; NaN (a fresh network diverged) is untrainable.
        diverged: (n,) booleans.
        baseline: (n,) how many fresh networks there are.
        rule: for `chance`.

    Returns:
        (n,) names in `PHASES`.
    """
    return np.select(
        [diverged, baseline == 0, ~(median < criterion.chance), ~enough_tasks, lost],
        ["diverged", "no baseline", "untrainable", "too short", "lost"],
        default="plastic",
    )
