"""Scores of cells: definitions of lost plasticity, scores, intervals, symptoms."""

from analysis.scoring.criterion import DEFINITIONS, PHASES, SYMPTOMS, LossCriterion
from analysis.scoring.intervals import FEW, TELLING, bootstrap, difference_interval, wilson
from analysis.scoring.scores import CHANCE_CE
from analysis.scoring.symptoms import check_fields, symptom_table
from analysis.scoring.table import (
    AT_ONCE,
    FIRST,
    LATE,
    METRIC_OF,
    check_last,
    score_block,
    score_cells,
    score_sweep,
    symptom_marks,
    symptom_thresholds,
)

__all__ = [
    "AT_ONCE",
    "CHANCE_CE",
    "DEFINITIONS",
    "FEW",
    "FIRST",
    "LATE",
    "METRIC_OF",
    "PHASES",
    "SYMPTOMS",
    "TELLING",
    "LossCriterion",
    "bootstrap",
    "check_fields",
    "check_last",
    "difference_interval",
    "score_block",
    "score_cells",
    "score_sweep",
    "symptom_marks",
    "symptom_table",
    "symptom_thresholds",
    "wilson",
]
