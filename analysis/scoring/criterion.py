"""Definitions of lost plasticity and of symptoms, with their thresholds.

Changing them needs no new run, because scores are computed from the store. Scores carry the criterion that they were
made with in `DataFrame.attrs`, as plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

from analysis.data import chance_levels
from lop_sweep.console.options import check_options, document_options, option, options_from_keywords
from lop_sweep.errors import AnalysisError
from lop_sweep.failures import FACTOR, MARGIN, late_tasks
from lop_sweep.storage import DIVERGED

DEFINITIONS: Mapping[str, str] = {
    "rate": "late tasks fail more often",
    "mean": "late tasks are worse on average",
    "onset": "failing without a recovery",
    "trend": "the loss rises over the tasks",
    "paired": "late tasks are worse than controls",
}
"""The definitions of "lost" by name, each in a few words. `LossCriterion` states them in full."""

_WORSE = "by > {margin} nats and > {factor} times"
_FAILED = f"a task fails if its CE exceeds the median of fresh networks {_WORSE}"
TEMPLATES: Mapping[str, str] = {
    "rate": f"lost: the {{late_tasks}} fail more often than fresh networks, by at least {{difference}} "
    f"(Fisher's test, p < {{alpha}}); {_FAILED}",
    "mean": f"lost: mean CE of the {{late_tasks}} exceeds that of fresh networks {_WORSE}",
    "onset": f"lost: {{hold}} failed tasks in a row, and never {{recover}} others in a row since; {_FAILED}",
    "trend": "lost: CE rises by > {margin} nats over the sequence, 95% interval of the slope above 0",
    "paired": f"lost: the {{late_tasks}} fail against their control networks more often than the other way round, "
    f"by at least {{difference}} (sign test, p < {{alpha}}); one fails if its CE exceeds the other's {_WORSE}",
    "failed": _FAILED,
    "late_tasks": "last {last} tasks",
    "late_share": "last quarter of tasks",
    "symptoms": "symptoms, against the first {early} tasks, for {hold} in a row: effective rank below {rank} times, "
    "duplicates {duplicates} above, saturation {saturation} above",
}
"""A criterion in words: one sentence per definition, with the names of its fields in braces.

`{late_tasks}` stands for the template of that name, or for "late_share" where `LossCriterion.last` is None. The report
fills in the same templates.
"""

VERDICTS: tuple[str, ...] = ("plastic", "undecided", "lost", "untrainable", "diverged", "no baseline", "too short")

DECIDABLE: tuple[str, ...] = ("plastic", "undecided", "lost")
"""The verdicts of cells that can have lost plasticity. Maps count their share that did."""


@dataclass(frozen=True)
class Symptom:
    """A change of a metric that may explain a loss of plasticity.

    Attributes:
        metric: the metric that shows it.
        falls: whether it is present where the metric is below its threshold, rather than above.
    """

    metric: str
    falls: bool


SYMPTOMS: Mapping[str, Symptom] = {
    "rank": Symptom("effective_rank", falls=True),
    "duplicates": Symptom("duplicate_fraction", falls=False),
    "saturation": Symptom("saturation", falls=False),
}
"""Symptoms by the names that scores and figures use; each has a threshold of this name in `LossCriterion`."""


_KEY = "analysis.criterion"


@dataclass(frozen=True)
class CriterionField:
    """Everything that is known of one field of `LossCriterion`.

    Attributes:
        name: as in `LossCriterion`, and the command line's option.
        type: `str`, `int` or `float`.
        default: its default; None for that of `last`.
        description: one phrase for `--help` and the report.
        label: what the report's control says.
        unit: of its values; empty if it has none.
        step: by how much the report's control changes it.
        none: what None means; empty where None is not allowed.
        definitions: the definitions that depend on it; none for a threshold of the symptoms only.
    """

    name: str
    type: type
    default: Any
    description: str
    label: str
    unit: str
    step: float
    none: str
    definitions: tuple[str, ...]


def _declare(
    default: Any,
    description: str,
    *,
    label: str = "",
    unit: str = "",
    step: float = 1,
    none: str = "",
    definitions: tuple[str, ...] = tuple(DEFINITIONS),
    at_least: float = 1,
) -> Any:
    """Declare a field of a criterion; the arguments are those of `CriterionField`, and the least number allowed."""
    known = {"description": description, "label": label, "unit": unit, "step": step, "none": none}
    text = f"{description} (default: the {none})" if none else description
    if isinstance(default, str):
        declared = option(default, text, choices=DEFINITIONS)
    else:
        declared = option(default, text, at_least=0 if isinstance(default, float) else at_least)
    return field(default=default, metadata={**declared.metadata, _KEY: {**known, "definitions": definitions}})


@document_options
@dataclass(frozen=True)
class LossCriterion:
    """The definition of "lost", its thresholds, and those of the symptoms.

    CE stands for the loss of the cell's task stream: cross-entropy in nats, or the squared error of regression. A task
    *fails* if its CE exceeds the median of the fresh networks by more than `margin`, and by more than a factor
    of `factor`. The fresh networks of all seeds of a configuration count together, and fail by the same rule. Both
    losses are taken after the last update; where a sweep did not measure that, the late one is taken before it. A cell
    is lost by definition

        rate    if its late tasks fail more often than fresh networks: Fisher's exact test, one-sided, gives p <
                `alpha`, and the rates differ by at least `difference`
        mean    if the mean CE of its late tasks exceeds that of its own fresh networks by more than `margin`, and by
                more than a factor of `factor`. A single large loss can decide this
        onset   if `hold` tasks in a row failed, and since then there were never `recover` in a row that did not
        trend   if its CE rises: the interval of the Theil-Sen slope lies above 0, and the rise over the sequence is
                more than `margin`. Fresh networks only show that the tasks can be learnt at all
        paired  if its late tasks fail against their controls, networks trained on the same points, more often than the
                controls fail against it: the sign test, one-sided, gives p < `alpha`, and the shares differ by at least
                `difference`. One fails against the other by the rule above, with the other's loss on the same task

    and plastic otherwise. Only "rate" and "paired" weigh the evidence: a cell is plastic if the upper 95% bound of the
    difference is below `difference`, and undecided if its tasks are too few to show or to exclude a loss. Cells of four
    other verdicts are neither lost nor plastic ("paired" takes the late controls for the fresh networks):

        untrainable   the median CE of the fresh networks is at least `chance`, by default the loss of guessing: ln k
                      for k classes. Half of them fail, so there is nothing to lose. Guessing has no level of its own
                      in regression, where no cell is untrainable by default
        too short     fewer than `hold` tasks for "onset", or too few for the 95% interval of "trend"
        diverged      its numbers overflowed
        no baseline   it has no fresh networks

    A symptom is present from the first task from which its metric crosses a threshold for `hold` tasks in a row. The
    effective rank must be below `rank` times its mean over the early tasks. The share of duplicate features or of
    saturated units must be more than `duplicates` or `saturation` above it (means over layers). An effective rank is
    never below 1 and a share never above 1. A network whose early tasks are too near to that bound is not *at risk*:
    the absence of the symptom says nothing.

    Raises:
        AnalysisError: a value is out of range.
    """

    definition: str = _declare("rate", "what lost means")
    last: int | None = _declare(
        None,
        "number of late tasks",
        label="late",
        unit="tasks",
        none="last quarter",
        definitions=("rate", "mean", "paired"),
    )
    margin: float = _declare(MARGIN, "nats by which a failed task is worse than fresh networks", unit="nats", step=0.01)
    factor: float = _declare(
        FACTOR,
        "factor by which a failed task is worse than fresh networks",
        unit="times",
        step=0.1,
        definitions=("rate", "mean", "onset", "paired"),
    )
    difference: float = _declare(
        0.1, "difference between two failure rates that counts as a loss", step=0.05, definitions=("rate", "paired")
    )
    alpha: float = _declare(
        0.01,
        "level of the test that late tasks fail as often as fresh networks",
        step=0.005,
        definitions=("rate", "paired"),
    )
    chance: float | None = _declare(
        None,
        "median CE in nats from which on fresh networks count as failing",
        unit="nats",
        step=0.01,
        none="guessing level, ln k for k classes",
        at_least=0,
    )
    hold: int = _declare(3, "tasks in a row that make an onset, of a loss or of a symptom", unit="tasks")
    recover: int = _declare(10, "tasks in a row that make a recovery", unit="tasks", definitions=("onset",))
    early: int = _declare(5, "number of early tasks, which symptoms are measured against", unit="tasks", definitions=())
    rank: float = _declare(
        0.7, "symptom: effective rank below this share of the early one", unit="times", step=0.1, definitions=()
    )
    duplicates: float = _declare(
        0.1, "symptom: growth of the share of duplicate features", unit="share", step=0.01, definitions=()
    )
    saturation: float = _declare(
        0.1, "symptom: growth of the share of saturated units", unit="share", step=0.01, definitions=()
    )

    def __post_init__(self) -> None:
        check_options(self, AnalysisError)
        for info in CRITERION_FIELDS.values():  # NumPy scalars become plain values, which JSON can hold
            value = getattr(self, info.name)
            object.__setattr__(self, info.name, None if value is None else info.type(value))

    def window(self, tasks: int) -> int:
        """Return the number of late tasks in a sequence of `tasks` tasks."""
        return late_tasks(tasks) if self.last is None else min(self.last, tasks)

    @property
    def of_symptoms(self) -> str:
        """The thresholds of the symptoms in words."""
        return self._in_words("symptoms")

    @property
    def of_failures(self) -> str:
        """When a task has failed, in words."""
        return self._in_words("failed")

    def __str__(self) -> str:
        return self._in_words(self.definition)

    def _in_words(self, template: str) -> str:
        values = {name: f"{value:g}" if isinstance(value, float) else value for name, value in asdict(self).items()}
        late_tasks = TEMPLATES["late_share" if self.last is None else "late_tasks"].format_map(values)
        return TEMPLATES[template].format_map({**values, "late_tasks": late_tasks})


def _describe() -> dict[str, CriterionField]:
    kinds = {"str": str, "int": int, "float": float}
    described = {}
    for one in fields(LossCriterion):
        known: dict[str, Any] = {**one.metadata[_KEY]}
        known["label"] = known["label"] or one.name
        described[one.name] = CriterionField(one.name, kinds[str(one.type).split(" ")[0]], one.default, **known)
    return described


CRITERION_FIELDS: Mapping[str, CriterionField] = _describe()
"""Every field of a criterion by name."""


def criterion_of(scores: pd.DataFrame) -> LossCriterion:
    """Return the criterion that scores, or the table behind a map, were made with.

    Filters, `query`, `assign`, sorting and a Parquet file keep it. `merge`, `join`, CSV files and the concatenation of
    different sweeps lose it.

    Raises:
        AnalysisError: the frame does not carry a criterion.
    """
    stored = scores.attrs.get("criterion")
    if not isinstance(stored, Mapping):
        raise AnalysisError(
            "`scores` must carry the criterion that it was made with, which merge, join and CSV files lose. "
            "Score again with analysis.score, or attach it with analysis.with_criterion(scores, margin=...)"
        )
    return options_from_keywords(LossCriterion, stored, AnalysisError)


def with_criterion(scores: pd.DataFrame, criterion: LossCriterion | None = None, **thresholds: Any) -> pd.DataFrame:
    """Return a copy of scores that carries a criterion, for frames that have lost it.

    Args:
        scores: a frame with the columns of `score`.
        criterion: the criterion that it was made with; None for the default.
        thresholds: any fields of `LossCriterion`, which replace those of `criterion`.

    Raises:
        AnalysisError: a threshold does not exist or is out of range.
    """
    marked = scores.copy(deep=False)
    marked.attrs = {**scores.attrs, "criterion": asdict(make_criterion(criterion, thresholds))}
    return marked


def make_criterion(criterion: LossCriterion | None, thresholds: Mapping[str, Any]) -> LossCriterion:
    """Return a criterion, by default the default one, with some fields replaced.

    Raises:
        AnalysisError: a threshold does not exist or is out of range.
    """
    base = asdict(criterion or LossCriterion())
    return options_from_keywords(LossCriterion, {**base, **thresholds}, AnalysisError)


@dataclass(frozen=True)
class Findings:
    """What a definition finds about n cells, whether or not it applies to them: (n,) booleans.

    Attributes:
        lost: it calls the cell lost.
        plastic: it calls the cell plastic.
        long_enough: the sequence is long enough for it.
    """

    lost: np.ndarray
    plastic: np.ndarray
    long_enough: np.ndarray


def verdicts(
    cells: pd.DataFrame, number: np.ndarray, fresh: np.ndarray, found: Findings, criterion: LossCriterion
) -> np.ndarray:
    """Return the verdict of each cell.

    The first that applies of: diverged, no baseline, untrainable, too short, lost, plastic, undecided.

    Args:
        cells: n cells with `status` and the configuration fields.
        number: (n,) how many networks each cell is compared with; with none it has no baseline.
        fresh: (n,) their median loss: of the fresh networks of its configuration, or of its controls.
        found: by the criterion's definition.
        criterion: for `chance`.

    Returns:
        (n,) names in `VERDICTS`.
    """
    diverged, without = cells["status"] == DIVERGED, number == 0
    trainable = fresh < (chance_levels(cells) if criterion.chance is None else criterion.chance)
    return np.select(
        [diverged.to_numpy(), without, ~trainable, ~found.long_enough, found.lost, found.plastic],
        ["diverged", "no baseline", "untrainable", "too short", "lost", "plastic"],
        default="undecided",
    )
