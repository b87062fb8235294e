"""Statistics of scored sweeps: when, where and with what plasticity is lost, and how sure one can be.

Every function takes scores (`analysis.score`) and returns a tidy data frame. Nothing here draws or reads a store.

    survival        when: Kaplan-Meier, hazard, P(lost by a task), log-rank test, relapses
    effects         where: binomial regression with seeds as clusters, and which axes collapse the edge
    symptoms        with what: odds ratios within configurations, a placebo, prediction ahead in time
    compare         two conditions: differences, equivalence, shift of the edge, false discovery rate
    unpaired        points of two maps: tests without pairs
    power           how much data: exact power, sample sizes
    specification   how far results depend on the definition of "lost"

A statistic that is undefined is NaN, with a column `reason`.
"""

from analysis.statistics.compare import (
    FALSE_DISCOVERIES,
    MARGIN,
    benjamini_hochberg,
    compare,
    compare_points,
    conditions,
    equivalence,
    explain,
    explain_few_pairs,
    explain_points,
    mcnemar,
    pair,
    rate_difference,
    shift,
    sign_flip,
)
from analysis.statistics.effects import CANDIDATES, collapse, regression, sharpness
from analysis.statistics.frames import RESPONSES, clustered_mean
from analysis.statistics.power import (
    ALTERNATIVES,
    RateTest,
    needed_fresh,
    needed_pairs,
    needed_seeds,
    needed_tasks,
    power_table,
    sweep_power,
)
from analysis.statistics.specification import edge, specification_curve, specifications
from analysis.statistics.survival import hazard, kaplan_meier, logrank, lost_by, occupancy, onset_summary
from analysis.statistics.symptoms import PooledOdds, mantel_haenszel, symptom_lead, symptom_odds
from analysis.statistics.unpaired import permutation_tests, q_values, share_test

__all__ = [
    "ALTERNATIVES",
    "CANDIDATES",
    "FALSE_DISCOVERIES",
    "MARGIN",
    "RESPONSES",
    "PooledOdds",
    "RateTest",
    "benjamini_hochberg",
    "clustered_mean",
    "collapse",
    "compare",
    "compare_points",
    "conditions",
    "edge",
    "equivalence",
    "explain",
    "explain_few_pairs",
    "explain_points",
    "hazard",
    "kaplan_meier",
    "logrank",
    "lost_by",
    "mantel_haenszel",
    "mcnemar",
    "needed_fresh",
    "needed_pairs",
    "needed_seeds",
    "needed_tasks",
    "occupancy",
    "onset_summary",
    "pair",
    "permutation_tests",
    "power_table",
    "q_values",
    "rate_difference",
    "regression",
    "share_test",
    "sharpness",
    "shift",
    "sign_flip",
    "specification_curve",
    "specifications",
    "sweep_power",
    "symptom_lead",
    "symptom_odds",
]
