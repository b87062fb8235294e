"""Scores of cells: definitions of lost plasticity, scores, intervals, symptoms."""

from analysis.scoring.criterion import (
    CRITERION_FIELDS,
    DEFINITIONS,
    LATE_SHARE,
    PHASES,
    SYMPTOMS,
    TEMPLATES,
    CriterionField,
    LossCriterion,
    Symptom,
    criterion_of,
    make_criterion,
    with_criterion,
)
from analysis.scoring.intervals import (
    LEVEL,
    MIN_SEEDS,
    MIN_SEEDS_CONTOUR,
    Estimate,
    bootstrap,
    difference_interval,
    wilson,
)
from analysis.scoring.scores import CHANCE_CE
from analysis.scoring.symptoms import FIRST, METRIC_OF, symptom_marks, symptom_table, symptom_thresholds
from analysis.scoring.table import MAX_BLOCKS, check_last, score, score_block, score_cells

__all__ = [
    "CHANCE_CE",
    "CRITERION_FIELDS",
    "DEFINITIONS",
    "FIRST",
    "LATE_SHARE",
    "LEVEL",
    "MAX_BLOCKS",
    "METRIC_OF",
    "MIN_SEEDS",
    "MIN_SEEDS_CONTOUR",
    "PHASES",
    "SYMPTOMS",
    "TEMPLATES",
    "CriterionField",
    "Estimate",
    "LossCriterion",
    "Symptom",
    "bootstrap",
    "check_last",
    "criterion_of",
    "difference_interval",
    "make_criterion",
    "score",
    "score_block",
    "score_cells",
    "symptom_marks",
    "symptom_table",
    "symptom_thresholds",
    "wilson",
    "with_criterion",
]
