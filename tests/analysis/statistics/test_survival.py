"""Times to a loss: textbook examples, statsmodels, and the coverage of the intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_scores import scores_of, times
from scipy.stats import CensoredData, ecdf
from statsmodels.duration.survfunc import survdiff

from analysis.scoring.scores import lost_state
from analysis.statistics import hazard, kaplan_meier, logrank, lost_by, occupancy, onset_summary
from lop_sweep.errors import AnalysisError

NAN = np.nan
TREATED = [6, 6, 6, 7, 10, 13, 16, 22, 23], [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def freireich() -> pd.DataFrame:
    """Weeks of remission with 6-mercaptopurine (depth 1) and placebo (depth 2): Freireich et al. (1963)."""
    events, censored = TREATED
    treated = times([*events, *[NAN] * len(censored)], [*events, *censored], depth=1)
    placebo = times(PLACEBO, PLACEBO, depth=2)
    both = pd.concat([treated, placebo], ignore_index=True)
    both.attrs = treated.attrs
    return both


def random_times(rng: np.random.Generator, n: int = 60) -> pd.DataFrame:
    onset, end = rng.geometric(0.04, n).astype(float), rng.integers(10, 40, n)
    frame = times(np.where(onset <= end, onset, NAN).tolist(), end.tolist())
    return frame.assign(depth=rng.integers(1, 4, n), width=rng.integers(1, 3, n))


def test_the_remission_curve_is_the_textbook_one() -> None:
    """Kalbfleisch and Prentice, "The Statistical Analysis of Failure Time Data", table 1.1."""
    curve = kaplan_meier(freireich(), ["depth"])
    treated = curve[(curve["depth"] == 1) & (curve["losses"] > 0)]
    assert treated["task"].tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert treated["at_risk"].tolist() == [21, 17, 15, 12, 11, 7, 6]
    np.testing.assert_allclose(treated["survival"], [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], atol=5e-4)


def test_the_remission_test_is_the_textbook_one() -> None:
    table = logrank(freireich(), ["depth"])
    np.testing.assert_allclose(table["chi2"], 16.79, atol=5e-3)
    np.testing.assert_allclose(table["expected"], [19.25, 10.75], atol=5e-3)
    assert (table["df"] == 1).all()
    assert (table["p"] < 1e-4).all()


def test_curves_equal_those_of_scipy() -> None:
    frame = random_times(np.random.default_rng(1))
    time, lost = frame["onset"].fillna(frame["tasks"]), frame["onset"].notna()
    theirs = ecdf(CensoredData(uncensored=time[lost], right=time[~lost])).sf
    ours = kaplan_meier(frame).iloc[1:]
    np.testing.assert_array_equal(ours["task"], theirs.quantiles)
    np.testing.assert_allclose(ours["survival"], theirs.probabilities)


@pytest.mark.parametrize("within", [[], ["width"]])
def test_the_logrank_test_equals_statsmodels(within: list[str]) -> None:
    frame = random_times(np.random.default_rng(2))
    time, lost = frame["onset"].fillna(frame["tasks"]), frame["onset"].notna()
    strata = frame["width"].to_numpy() if within else None
    chi2, p = survdiff(time, lost.astype(int), frame["depth"].to_numpy(), strata=strata)
    ours = logrank(frame, ["depth"], within=within)
    np.testing.assert_allclose(ours["chi2"], chi2)
    np.testing.assert_allclose(ours["p"], p)
    assert ours["expected"].sum() == pytest.approx(ours["losses"].sum())


def test_without_censoring_the_interval_is_wilsons() -> None:
    curve = kaplan_meier(times([2, 4, 4, 8], [9, 9, 9, 9]))
    row = curve[curve["task"] == 4].iloc[0]
    assert (row["survival"], row["at_risk"]) == (0.25, 3)
    np.testing.assert_allclose([row["low"], row["high"]], [0.0456, 0.6994], atol=1e-4)


def test_an_onset_cannot_be_seen_in_the_last_tasks() -> None:
    """With hold = 3 a sequence of 10 tasks shows onsets up to task 8."""
    frame = scores_of([{"tasks": 10}, {"tasks": 10, "onset": 8.0, "lost": 1.0}], hold=3)
    assert kaplan_meier(frame)["task"].tolist() == [0, 8]
    assert kaplan_meier(frame, ["tasks"])["task"].tolist() == [0, 8]


def test_the_probability_by_a_task_reads_the_curve() -> None:
    frame = times([2, 5, NAN, NAN], [9, 9, 9, 4])
    table = lost_by(frame, [1, 2, 8, 50])
    np.testing.assert_allclose(table["lost"], [0, 0.25, 0.625, NAN])
    assert table["reason"].tolist()[-1] == "after the last task at which an onset can be seen"
    assert table["low"][0] == 0 < table["high"][0] < 1


def test_hazards_count_the_tasks_at_risk() -> None:
    table = hazard(times([3, 12, NAN], [20, 20, 15]), block=10)
    assert table["exposure"].tolist() == [3 + 10 + 10, 2 + 5]
    assert table["losses"].tolist() == [1, 1]
    np.testing.assert_allclose(table["hazard"], [1 / 23, 1 / 7])
    lasting = hazard(times([3], [30]), block=10)
    assert lasting["reason"].tolist() == ["", "no network is at risk", "no network is at risk"]


def test_the_state_relapses() -> None:
    """The audit's network: fails at tasks 5 to 7, recovers from 8 to 20, fails from 21 to 100."""
    failed = np.zeros((1, 100), bool)
    failed[0, 4:7] = failed[0, 20:] = True
    state = lost_state(failed, hold=3, recover=10)
    np.testing.assert_array_equal(np.flatnonzero(state[0]) + 1, [5, 6, 7, *range(21, 101)])
    table = occupancy(state)
    assert table.loc[[3, 4, 10, 99], "share"].tolist() == [0, 1, 0, 1]
    assert table.loc[[10, 99], "ever"].tolist() == [1, 1]
    assert table.loc[[19, 20], "relapsed"].tolist() == [0, 1]


def test_short_gaps_are_not_recoveries() -> None:
    failed = np.array([[0, 1, 1, 0, 0, 1, 0, 0, 0, 1]], bool)
    assert lost_state(failed, 2, 3).astype(int).tolist() == [[0, 1, 1, 1, 1, 1, 0, 0, 0, 0]]
    groups = pd.DataFrame({"depth": [1, 2]})
    table = occupancy(np.array([[True, True], [False, True]]), groups)
    assert table["share"].tolist() == [1, 1, 0, 1]


def test_summaries_count_what_is_left_out() -> None:
    frame = scores_of([{"onset": 4.0, "lost": 1.0}, {"lost": NAN}, {}, {"depth": 2, "lost": NAN}])
    table = onset_summary(frame, ["depth"])
    assert table["depth"].tolist() == [2, 5]
    assert table["excluded"].tolist() == [1, 1]
    assert table["losses"].tolist() == [0, 1]
    assert table["median_onset"].tolist()[1] == 4
    assert table["reason"].tolist() == ["no onset is defined", ""]


def test_no_losses_and_one_group_have_a_reason() -> None:
    assert logrank(times([NAN, NAN], [9, 9]).assign(depth=[1, 2]), ["depth"])["reason"].tolist() == ["no losses"] * 2
    assert logrank(times([3, NAN], [9, 9]), ["depth"])["reason"].tolist() == ["one group"]
    assert onset_summary(times([NAN, NAN], [9, 9]))["reason"].tolist() == ["fewer than half have an onset"]
    curve = kaplan_meier(times([NAN, NAN], [9, 9]))
    assert curve["survival"].tolist() == [1, 1]
    assert curve["low"].tolist()[1] < 0.5
    with pytest.raises(AnalysisError, match="no network has a defined onset"):
        kaplan_meier(scores_of([{"lost": NAN}]))
    with pytest.raises(AnalysisError, match="lacks the columns onset, onset_status"):
        kaplan_meier(scores_of([{}]).drop(columns=["onset", "onset_status"]))


def test_intervals_cover_the_probability_by_a_task() -> None:
    """Hazard 0.05, a third censored at task 15: 95% of 600 intervals of 16 seeds, 92% of those of 8 seeds."""
    rng, truth, covered, known = np.random.default_rng(3), 1 - 0.95**20, 0, 0
    for _ in range(100):
        onset, end = rng.geometric(0.05, 16).astype(float), rng.choice([15, 30, 40], 16)
        row = lost_by(times(np.where(onset <= end, onset, NAN).tolist(), end.tolist()), [20]).iloc[0]
        covered += row["low"] <= truth <= row["high"]
        known += row["reason"] == ""
    assert known >= 97
    assert covered / known >= 0.92


def test_the_level_of_the_logrank_test_is_kept() -> None:
    rng, rejected = np.random.default_rng(4), 0
    for _ in range(120):
        frame = random_times(rng, 40).assign(depth=np.repeat([1, 2], 20))
        rejected += logrank(frame, ["depth"])["p"].iloc[0] < 0.05
    assert rejected / 120 < 0.11
