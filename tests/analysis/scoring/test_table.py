"""Scores of cells: the rule and its definitions, symptoms, streaming, an independent calculation on a real store."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.data.load import load_cells, load_tasks
from analysis.scoring.criterion import DEFINITIONS, LossCriterion
from analysis.scoring.symptoms import FIRST, symptom_table
from analysis.scoring.table import score as score_store
from analysis.scoring.table import score_cells
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import AnalysisError
from lop_sweep.metrics import METRICS, measured_with
from lop_sweep.storage.store import Store


def score(final_ce: list[float], fresh: float, criterion: LossCriterion | None = None, **cell: object) -> pd.Series:
    """The scores of one cell with these final losses and this mean of the fresh baseline.

    `cell` may also have sequences: of saturation, rank and duplicates.
    """
    tasks = len(final_ce)
    rows = pd.DataFrame({"cell": "a", "task": range(1, tasks + 1), "final_ce": np.array(final_ce, float)})
    rows["end_ce"] = rows["final_ce"]
    for name in measured_with():
        if name in rows:
            continue
        values = np.asarray(cell.pop(name, np.arange(tasks) + 0.5 * METRICS[name].per_layer), float)
        rows[name] = [np.array([mean - 0.5, mean + 0.5]) for mean in values] if METRICS[name].per_layer else values
    config = CellConfig(tasks=tasks, depth=2).model_dump()
    baseline = {"fresh_ce": np.full(20, fresh), "fresh_mean_ce": fresh, "fresh_median_ce": fresh}
    cells = pd.DataFrame([{**config, "cell": "a", "status": "finished", **baseline, **cell}])
    return score_cells(cells, rows, criterion=criterion).iloc[0]


def test_excess_and_ratio_of_the_last_quarter() -> None:
    scores = score([9, 9, 9, 9, 9, 9, 0.3, 0.5], fresh=0.2)
    assert scores["late_tasks"] == 2
    assert scores["late_ce"] == pytest.approx(0.4)
    assert scores["excess"] == pytest.approx(0.2)
    assert scores["ratio"] == pytest.approx(2)
    assert scores["log_ratio"] == pytest.approx(math.log10(2))
    assert scores["area_ce"] == pytest.approx(54.8)
    assert scores["area_excess"] == pytest.approx(54.8 - 8 * 0.2)
    assert scores["late_saturation"] == 6.5
    assert scores["early_saturation"] == 2.0
    assert scores["saturation_growth"] == 4.5
    assert scores["late_effective_rank"] == 7.0  # mean over tasks 6, 7 and layers +0, +1
    assert (scores["late_failures"], scores["fresh_failures"], scores["fresh_networks"]) == (1, 0, 20)
    assert (scores["verdict"], scores["lost"]) == ("undecided", 0.0)  # two tasks are too few


@pytest.mark.parametrize(
    ("tasks", "last", "window"), [(1, None, 1), (2, None, 1), (100, None, 25), (8, 3, 3), (8, 50, 8)]
)
def test_how_many_tasks_are_late(tasks: int, last: int | None, window: int) -> None:
    assert score([0.1] * tasks, 0.1, LossCriterion(last=last))["late_tasks"] == window


@pytest.mark.parametrize(
    ("late", "fresh", "verdict"),
    [
        (0.1, 0.1, "plastic"),
        (0.01, 0.0001, "plastic"),  # a hundredfold of nothing
        (0.0, 0.3, "plastic"),
        (0.55, 0.4, "plastic"),  # beyond the margin, not the factor
        (0.65, 0.4, "lost"),
        (0.12, 0.01, "lost"),
        (0.11, 0.0, "lost"),  # the fresh networks are perfect: the ratio is infinite
        (5.0, 0.7, "untrainable"),
        (0.1, math.log(2), "untrainable"),
        (0.1, math.nan, "untrainable"),  # the fresh networks diverged
    ],
)
def test_verdicts_follow_margin_factor_and_chance(late: float, fresh: float, verdict: str) -> None:
    scores = score([late] * 100, fresh)
    assert scores["verdict"] == verdict
    assert score([late] * 4, fresh, LossCriterion("mean"))["verdict"] == verdict
    expected = {"plastic": 0.0, "lost": 1.0}.get(verdict, math.nan)
    assert scores["lost"] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("stream", "fresh", "chance", "verdict"),
    [
        ("random_labels", 2.3, None, "plastic"), ("random_labels", math.log(10), None, "untrainable"),
        ("random_labels", 2.3, math.log(2), "untrainable"), ("gaussian_mixture", 0.7, None, "untrainable"),
        ("slowly_changing_regression", 50.0, None, "plastic"), ("slowly_changing_regression", 2.0, 1.5, "untrainable"),
    ],
)  # fmt: skip
def test_the_level_of_chance_follows_the_stream(stream: str, fresh: float, chance: float | None, verdict: str) -> None:
    scores = score([0.1] * 100, fresh, LossCriterion(chance=chance), stream=stream)
    assert scores["verdict"] == verdict


def test_one_failing_fresh_network_makes_no_cell_untrainable() -> None:
    failing = np.array([0.01] * 11 + [9.0] * 9)
    assert score([0.01] * 100, 4.0, fresh_ce=failing)["verdict"] == "plastic"
    assert score([9.0] * 100, 4.0, fresh_ce=failing)["verdict"] == "lost"
    assert score([9.0] * 100, 4.0, fresh_ce=np.array([0.01] * 9 + [9.0] * 11))["verdict"] == "untrainable"


def test_sequences_too_short_for_a_definition_are_undecided() -> None:
    rising = [0.1, 0.2, 0.4, 0.9, 1.9]
    for tasks in range(1, 5):
        short = score(rising[:tasks], 0.1, LossCriterion(definition="trend"))
        assert (short["verdict"], math.isnan(short["lost"])) == ("too short", True)
    assert score(rising, 0.1, LossCriterion(definition="trend"))["verdict"] == "lost"
    assert score([0.9] * 4, 0.1, LossCriterion(definition="onset", hold=5))["verdict"] == "too short"
    assert score([0.9] * 5, 0.1, LossCriterion(definition="onset", hold=5))["verdict"] == "lost"
    assert score([0.9], 1.0, LossCriterion(definition="trend"))["verdict"] == "untrainable"


@pytest.mark.parametrize(
    ("losses", "rate", "mean", "onset", "trend"),
    [
        ([0.1] * 20, 0, 0, 0, 0),
        ([0.1] * 8 + [0.9] * 12, 1, 1, 1, 0),  # half of the pairs have no slope: the interval holds 0
        ([0.1 + 0.02 * task for task in range(20)], 1, 1, 1, 1),
        ([0.9] * 10 + [0.1] * 10, 0, 0, 0, 0),  # comes back for ten tasks
        ([0.9] * 14 + [0.1] * 6, 0, 0, 1, 0),  # six tasks are no recovery
        ([0.9] * 4 + [0.1] * 10 + [0.9] * 6, 1, 1, 1, 0),  # a relapse
        ([0.1, 0.9, 0.9] * 6 + [0.1, 0.1], 0, 1, 0, 0),  # never three in a row, and 2 of 5 late tasks
        ([0.1] * 19 + [9.0], 0, 1, 0, 0),  # a single large loss
        ([0.005 * task for task in range(20)], 0, 0, 0, 0),  # rises by less than the margin
    ],
)
def test_definitions_differ_where_they_should(
    losses: list[float], rate: int, mean: int, onset: int, trend: int
) -> None:
    lost = {name: score(losses, 0.1, LossCriterion(definition=name))["lost"] for name in DEFINITIONS}
    assert math.isnan(lost.pop("paired"))  # there are no controls
    assert lost == {"rate": rate, "mean": mean, "onset": onset, "trend": trend}


def test_a_loss_is_excluded_only_by_enough_tasks() -> None:
    verdicts = [score([0.1] * tasks, 0.1)["verdict"] for tasks in (20, 60, 96, 100)]
    assert verdicts == ["undecided", "undecided", "undecided", "plastic"]
    assert score([0.1] * 60, 0.1, LossCriterion(difference=0.2))["verdict"] == "plastic"
    failing = [0.1] * 75 + [0.1] * 22 + [0.9] * 3
    assert score(failing, 0.1)["verdict"] == "undecided"  # 3 of 25 against 0 of 20: p = 0.16
    assert score(failing, 0.1, fresh_ce=np.full(160, 0.1))["verdict"] == "lost"


def test_fresh_networks_of_all_seeds_count_together(store_dir: Path) -> None:
    cells, tasks = load_cells(store_dir), load_tasks(store_dir)
    whole = score_cells(cells, tasks).set_index("cell")
    configuration = [name for name in FIELDS if name != "seed"]
    for _, group in cells.groupby(configuration):
        losses = np.nan_to_num(np.concatenate(list(group["fresh_ce"])), nan=np.inf)
        median = np.median(losses)
        ours = whole.loc[group["cell"]]
        assert (ours["fresh_networks"] == len(losses)).all()
        assert (
            ours["fresh_failures"] == (np.isinf(losses) | ((losses > median + 0.1) & (losses > 1.5 * median))).sum()
        ).all()
        np.testing.assert_allclose(ours["fresh_pooled_ce"], median)
    some = score_store(store_dir, where={"seed": [cells["seed"].iloc[0]]}).set_index("cell")
    pd.testing.assert_frame_equal(some, whole.loc[some.index], check_like=True)


def test_losses_before_the_last_update_stand_in_where_others_were_not_measured(store_dir: Path) -> None:
    cells, tasks = load_cells(store_dir), load_tasks(store_dir)
    new = score_cells(cells, tasks)
    assert set(new["loss"]) == {"end_ce"}
    old = score_cells(cells, tasks.assign(end_ce=np.nan))
    assert set(old["loss"][old["status"] == "finished"]) == {"final_ce"}
    swapped = score_cells(cells, tasks.assign(end_ce=tasks["final_ce"]))
    same = [name for name in old if name not in ("loss", "late_end_ce")]
    pd.testing.assert_frame_equal(old[same], swapped[same])


def test_onsets_are_observed_censored_or_undefined() -> None:
    found = score([0.1] * 4 + [0.9] * 6 + [0.1] * 10, 0.1)
    assert (found["onset"], found["onset_status"], found["recovery"]) == (5, "observed", 11)
    never = score([0.1] * 20, 0.1)
    assert (never["onset_status"], math.isnan(never["onset"])) == ("censored", True)
    untrainable = score([0.9] * 20, 1.0, LossCriterion(margin=0, factor=0))
    assert (untrainable["onset_status"], math.isnan(untrainable["onset"])) == ("undefined", True)
    assert score([0.1] * 4 + [0.9] * 16, 0.1, LossCriterion(hold=17))["onset_status"] == "censored"


STEP = {5: [0.0] * 4 + [1.0] * 16, 9: [0.0] * 8 + [1.0] * 12, 15: [0.0] * 14 + [1.0] * 6, 0: [0.0] * 20}
"""Sequences that go from 0 to 1 at a task; 0 for never."""


@pytest.mark.parametrize(
    ("saturation", "duplicates", "rank", "first", "lead"),
    [
        (5, 9, 15, "saturation", 5),
        (15, 9, 0, "duplicates", 1),
        (0, 15, 5, "rank", 5),
        (9, 9, 15, "several at once", 1),
        (15, 15, 15, "none before the loss", math.nan),
        (0, 0, 0, "none before the loss", math.nan),
    ],
)
def test_which_symptom_comes_first(saturation: int, duplicates: int, rank: int, first: str, lead: float) -> None:
    falling = [10.0 - 9 * value for value in STEP[rank]]
    cell = score(
        [0.1] * 9 + [0.9] * 11, 0.1, LossCriterion(early=4), saturation=STEP[saturation],
        duplicate_fraction=STEP[duplicates], effective_rank=falling,
    )  # fmt: skip
    assert (cell["onset"], cell["first_symptom"]) == (10, first)
    assert cell["lead"] == pytest.approx(lead, nan_ok=True)
    for name, task in (("saturation", saturation), ("duplicates", duplicates), ("rank", rank)):
        assert cell[f"{name}_at"] == pytest.approx(task or math.nan, nan_ok=True)
    assert cell["rank_collapse"] == pytest.approx(0.9 if rank else 0.0)


def test_cells_without_loss_or_onset_have_no_first_symptom() -> None:
    assert score([0.1] * 20, 0.1, saturation=STEP[5])["first_symptom"] == "no loss"
    assert score([0.9, 0.1, 0.9, 0.9, 0.1] * 4, 0.1, saturation=STEP[5])["first_symptom"] == "no onset seen"
    assert score([0.1] * 20, 0.9, saturation=STEP[5])["first_symptom"] == "undefined"
    passing = score([0.1] * 5 + [0.9] * 3 + [0.1] * 12, 0.1, saturation=STEP[5])
    assert (passing["onset"], passing["first_symptom"]) == (6, "no loss")


def test_thresholds_are_parameters() -> None:
    assert score([0.5] * 40, 0.4, LossCriterion(margin=0.05, factor=1.2))["verdict"] == "lost"
    assert score([0.5] * 4, 0.4, LossCriterion(chance=0.3))["verdict"] == "untrainable"
    steps = STEP[5]
    assert math.isnan(score([0.1] * 20, 0.1, LossCriterion(early=4, saturation=1.0), saturation=steps)["saturation_at"])
    for bad in ({"last": 0}, {"hold": 0}, {"recover": 0}, {"early": 0}, {"margin": -1}, {"factor": math.nan},
                {"chance": math.inf}, {"rank": -1}, {"definition": "best"}, {"last": 2.5}, {"hold": 1.5}):  # fmt: skip
        with pytest.raises(AnalysisError, match=next(iter(bad))):
            LossCriterion(**bad)


@pytest.mark.parametrize(
    ("name", "early", "able"),
    [
        ("rank", 1.42, False), ("rank", 1.43, True), ("duplicates", 0.89, False), ("duplicates", 0.88, True),
        ("saturation", 0.95, False), ("saturation", 0.0, True),
    ],
)  # fmt: skip
def test_symptoms_that_a_network_cannot_have(name: str, early: float, able: bool) -> None:
    metric = {"rank": "effective_rank", "duplicates": "duplicate_fraction", "saturation": "saturation"}[name]
    worst = 0.99 if name == "duplicates" else 1.0  # of 100 features
    cell = score([0.1] * 20, 0.1, **{metric: [early] * 5 + [worst] * 15})
    assert bool(cell[f"{name}_at_risk"]) == able
    assert (cell[f"{name}_at"] == 6) == able


def test_duplicates_of_a_narrow_layer_cannot_reach_one() -> None:
    """Of 4 features at most 3 are duplicates of an earlier one: from 0.7 on they cannot grow by 0.1."""
    narrow = score([0.1] * 20, 0.1, width=4, duplicate_fraction=[0.7] * 20)
    wide = score([0.1] * 20, 0.1, width=100, duplicate_fraction=[0.7] * 20)
    assert (narrow["duplicates_at_risk"], wide["duplicates_at_risk"]) == (False, True)


def test_the_late_gradient_norm_is_a_median() -> None:
    assert (
        score([0.1] * 12, 0.1, LossCriterion(last=3), grad_norm=[0.0] * 9 + [1.0, 2.0, 99.0])["late_grad_norm"] == 2.0
    )


def test_diverged_cells_and_cells_without_baseline_are_undefined() -> None:
    diverged = score([0.1, 0.1, 0.1, math.nan], 0.1, status="diverged")
    assert diverged["verdict"] == "diverged"
    undefined = (
        "late_ce",
        "late_failures",
        "late_final_ce",
        "excess",
        "ratio",
        "lost",
        "late_saturation",
        "slope",
        "onset",
        "area_ce",
        "rank_at",
    )
    assert np.isnan([diverged[name] for name in undefined]).all()
    assert (diverged["onset_status"], diverged["first_symptom"]) == ("undefined", "undefined")
    without = score([0.1] * 4, math.nan, fresh_baseline=0)
    assert without["verdict"] == "no baseline"
    assert math.isnan(without["lost"])
    assert without["late_final_ce"] == pytest.approx(0.1)


def test_scores_of_a_real_store_equal_an_independent_calculation(store_dir: Path) -> None:
    """From the raw folders with plain pandas, one cell after the other."""
    scored = score_store(store_dir).set_index("cell")
    tasks, cells = pd.read_parquet(store_dir / "tasks"), pd.read_parquet(store_dir / "cells")
    assert len(scored) == len(cells) == 24
    for cell in cells.itertuples():
        rows = tasks[tasks["cell"] == cell.cell].sort_values("task")
        ours = scored.loc[cell.cell]
        if cell.status == "diverged":
            assert math.isnan(ours["late_final_ce"])
            continue
        late = rows.tail(2)
        assert ours["late_final_ce"] == pytest.approx(late["final_ce"].mean(), rel=1e-12)
        assert ours["excess"] == pytest.approx(late["end_ce"].mean() - cell.fresh_ce.mean(), rel=1e-9, abs=1e-12)
        assert ours["area_ce"] == pytest.approx(rows["end_ce"].sum(), rel=1e-12)
        ranks = np.concatenate(late["effective_rank"].to_list())
        assert ours["late_effective_rank"] == pytest.approx(ranks.mean(), rel=1e-12)
        growth = late["saturation"].mean() - rows.head(5)["saturation"].mean()
        assert ours["saturation_growth"] == pytest.approx(growth, abs=1e-12)


def test_frames_and_streams_score_the_same(store_dir: Path) -> None:
    criterion = LossCriterion(last=3, hold=2)
    cells, tasks = load_cells(store_dir), load_tasks(store_dir)
    streamed = score_store(store_dir, criterion=criterion)
    pd.testing.assert_frame_equal(score_cells(cells, tasks, criterion=criterion), streamed)
    shuffled = tasks.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(score_cells(cells, shuffled, criterion=criterion), streamed)
    backwards = score_cells(cells[::-1], tasks, criterion=criterion)
    pd.testing.assert_frame_equal(backwards[::-1].reset_index(drop=True), streamed)
    for definition in ("rate", "trend"):
        whole, less = (
            score_store(store_dir, criterion=LossCriterion(definition), slopes=slopes) for slopes in (True, False)
        )
        pd.testing.assert_frame_equal(less, whole.drop(columns=["slope", "slope_low", "slope_high"]))
    some = streamed[streamed["depth"] == 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(score_store(store_dir, where={"depth": [2.0]}, criterion=criterion), some)


def test_incomplete_rows_are_refused(store_dir: Path) -> None:
    cells, tasks = load_cells(store_dir), load_tasks(store_dir)
    with pytest.raises(AnalysisError, match="rows of tasks are missing, or stored twice"):
        score_cells(cells, tasks.drop(index=5))
    repeated = tasks.assign(task=tasks["task"].where(tasks.index != 5, tasks["task"] - 1))
    with pytest.raises(AnalysisError, match=f"cell {tasks['cell'][5]}: rows of tasks are missing, or stored twice"):
        score_cells(cells, repeated)
    with pytest.raises(AnalysisError, match=f"`cells` has cell {cells['cell'][0]} twice"):
        score_cells(pd.concat([cells, cells.head(1)]), tasks)
    with pytest.raises(AnalysisError, match="has no rows of tasks"):
        score_cells(cells, tasks[tasks["cell"] != cells["cell"].iloc[3]])


def test_more_late_tasks_than_tasks_are_refused(store_dir: Path) -> None:
    tasks = load_cells(store_dir)["tasks"].max()
    assert (score_store(store_dir, criterion=LossCriterion(last=tasks))["late_tasks"] == tasks).all()
    with pytest.raises(AnalysisError, match=f"last = {tasks + 1}: no cell here has more than {tasks} tasks"):
        score_store(store_dir, criterion=LossCriterion(last=tasks + 1))


def test_no_cells_give_no_scores(store_dir: Path) -> None:
    none = score_cells(load_cells(store_dir).iloc[:0], load_tasks(store_dir).iloc[:0])
    assert none.empty
    assert list(none.columns) == list(score_store(store_dir).columns)


def test_first_symptoms_are_the_documented_ones(store_dir: Path) -> None:
    assert set(score_store(store_dir)["first_symptom"]) <= set(FIRST)


def test_a_criterion_states_itself() -> None:
    assert str(LossCriterion("mean", last=7, margin=0.2, factor=3)) == (
        "lost: mean CE of the last 7 tasks exceeds that of fresh networks by > 0.2 nats and > 3 times"
    )
    assert str(LossCriterion()) == (
        "lost: the last quarter of tasks fail more often than fresh networks, by at least 0.1 "
        "(Fisher's test, p < 0.01); a task fails if its CE exceeds the median of fresh networks by > 0.1 nats "
        "and > 1.5 times"
    )
    assert "lost: 4 failed tasks in a row" in str(LossCriterion("onset", hold=4))
    assert "slope" in str(LossCriterion("trend"))


def test_how_often_a_symptom_comes_with_a_loss() -> None:
    still = {"duplicate_fraction": STEP[0], "effective_rank": np.ones(20)}
    criterion, loss = LossCriterion("mean", early=4), [0.1] * 9 + [0.9] * 11
    cells = [score(loss, 0.1, criterion, saturation=STEP[task], **still) for task in (5, 9, 15)]
    cells += [score([0.1] * 20, 0.1, criterion, saturation=STEP[task], **still) for task in (5, 0, 0, 0)]
    table = symptom_table(pd.DataFrame(cells)).set_index(["verdict", "symptom"])
    lost, plastic = table.loc["lost", "saturation"], table.loc["plastic", "saturation"]
    assert (lost["cells"], lost["with_symptom"], lost["first"], lost["median_lead"]) == (3, 3, 2, 3)
    assert (plastic["cells"], plastic["with_symptom"], plastic["share"], plastic["first"]) == (4, 1, 0.25, 0)
    assert plastic["low"] == pytest.approx(0.0456, abs=1e-4)  # Wilson's interval of 1 in 4
    rank = table.loc["lost", "rank"]  # it is 1 from the first task on: it cannot fall
    assert (rank["cells"], rank["at_risk"], rank["with_symptom"]) == (3, 0, 0)
    assert math.isnan(rank["share"])
    twice = symptom_table(pd.DataFrame(cells), ["depth", "depth"])
    assert list(twice.columns[:3]) == ["depth", "verdict", "symptom"]
    with pytest.raises(AnalysisError, match="unknown configuration field 'depht'; choose from: seed"):
        symptom_table(pd.DataFrame(cells), ["depht"])


def test_scores_do_not_depend_on_how_files_were_merged(store_dir: Path, tmp_path: Path) -> None:
    import shutil

    from lop_sweep.storage.maintenance.compaction import compact

    copy = tmp_path / "copy"
    shutil.copytree(store_dir, copy)
    compact(Store(copy))
    before, after = (score_store(folder).sort_values("cell", ignore_index=True) for folder in (store_dir, copy))
    pd.testing.assert_frame_equal(before, after)
