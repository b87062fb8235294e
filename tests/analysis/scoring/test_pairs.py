"""Late tasks against their controls: SciPy, exact error rates, hand-made cells, and a real sweep."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, multinomial
from sweeping import compute_here

from analysis import map_table
from analysis.data.load import load_cells, load_tasks
from analysis.scoring import LossCriterion, excludes_loss, paired_tables, score, score_cells, shows_loss, wilson
from analysis.scoring.pairs import compare_pairs, gap_bound, mean_difference, sign_test
from lop_sweep.config import CellConfig
from lop_sweep.errors import AnalysisError
from lop_sweep.metrics import METRICS, measured_with

NAN = math.nan
RULE = LossCriterion("paired")


def counts(m: int) -> np.ndarray:
    """All b and c with b + c <= m, (n, 2)."""
    return np.array([(b, c) for b in range(m + 1) for c in range(m + 1 - b)])


def test_pairs_are_counted_by_margin_and_factor_both() -> None:
    losses = np.array([[0.5, 0.01, 0.5, 0.5, 0.35, 1.0], [NAN] * 6])
    controls = np.array([[0.01, 0.5, NAN, 0.45, 0.3, 0.2], [0.1] * 6])
    pairs, worse, better = compare_pairs(losses, controls, margin=0.1, factor=1.5)
    assert (pairs.tolist(), worse.tolist(), better.tolist()) == ([5, 0], [2, 0], [1, 0])
    expected = np.mean([0.49, -0.49, 0.05, 0.05, 0.8])
    np.testing.assert_allclose(mean_difference(losses, controls), [expected, NAN])


def test_the_p_value_is_scipys() -> None:
    for b, c in counts(30):
        expected = binomtest(int(b), int(b + c), 0.5, "greater").pvalue if b + c else 1.0
        assert sign_test(b, c) == pytest.approx(expected, rel=1e-10)


def test_the_bound_in_closed_form() -> None:
    b = np.arange(26)
    np.testing.assert_allclose(gap_bound(25, b, 0), wilson(b, np.full(26, 25), 0.9)[1])
    low = wilson(b, np.full(26, 25), 0.9)[0]
    p_high = wilson(0, 25, 0.9)[1]
    np.testing.assert_allclose(gap_bound(25, 0, b), -b / 25 + np.hypot(p_high, b / 25 - low))
    assert np.isnan(gap_bound(0, 0, 0))
    with_both = gap_bound(25, 5, 5)
    u, lower = wilson(5, 25, 0.9)[1] - 0.2, 0.2 - wilson(5, 25, 0.9)[0]
    assert with_both == pytest.approx(math.sqrt(u**2 + 2 * 0.25 * u * lower + lower**2))


@pytest.mark.parametrize(("m", "coverage"), [(7, 0.91), (25, 0.94), (60, 0.94)])
def test_error_rates_are_as_stated_exactly(m: int, coverage: float) -> None:
    """Summed over all counts: how often there is a loss by error, and how often the bound is below the truth."""
    b, c = counts(m).T
    both = np.stack([b, c, m - b - c], axis=1)
    for p in (0.01, 0.05, 0.15, 0.3, 0.5):
        chance = multinomial.pmf(both, m, [p, p, 1 - 2 * p])
        assert chance.sum() == pytest.approx(1)
        assert chance[shows_loss(m, b, c, RULE.alpha, RULE.difference)].sum() <= RULE.alpha
        for q in (0.01, 0.05, 0.2):
            chance = multinomial.pmf(both, m, [p, q, 1 - p - q])
            covered = chance[gap_bound(m, b, c) >= p - q].sum()
            assert covered > coverage, (p, q)


@pytest.mark.parametrize("alpha", [0.01, 0.2])
def test_tables_of_counts_are_the_verdicts(alpha: float) -> None:
    lost, plastic = paired_tables(30, alpha, RULE.difference)
    assert len(lost) == len(plastic) == 31 * 32 // 2
    for m in range(31):
        for b, c in counts(m):
            at = m * (m + 1) // 2 + c
            assert (b >= lost[at]) == (m > 0 and bool(shows_loss(m, b, c, alpha, RULE.difference)))
            assert (b <= plastic[at]) == bool(excludes_loss(m, b, c, RULE.difference))


def made(losses: list[float], controls: list[float], **cell: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One cell with these losses and these of its controls."""
    tasks = len(losses)
    rows = pd.DataFrame({"cell": "a", "task": range(1, tasks + 1)})
    for name in measured_with("", control=True):
        values = controls if METRICS[name].of_control else losses
        rows[name] = [np.array([1.0, 2.0])] * tasks if METRICS[name].per_layer else np.array(values, float)
    fresh = {"fresh_ce": np.full(20, 0.1), "fresh_mean_ce": 0.1, "fresh_median_ce": 0.1}
    config = CellConfig(tasks=tasks, depth=2, control_every=1).model_dump()
    return pd.DataFrame([{**config, "cell": "a", "status": "finished", **fresh, **cell}]), rows


def scored(losses: list[float], controls: list[float], criterion: LossCriterion = RULE, **cell: object) -> pd.Series:
    return score_cells(*made(losses, controls, **cell), criterion=criterion).iloc[0]


@pytest.mark.parametrize(
    ("late", "controls", "verdict"),
    [
        ([0.1] * 25, [0.1] * 25, "plastic"),
        ([0.1] * 24, [0.1] * 24, "undecided"),  # too few tasks to exclude a loss
        ([0.9] * 25, [0.1] * 25, "lost"),
        ([0.9] * 25, [0.6] * 25, "lost"),
        ([0.9] * 25, [0.65] * 25, "plastic"),  # beyond the margin, not the factor
        ([9.0] * 20 + [0.1] * 5, [9.0] * 20 + [0.1] * 5, "untrainable"),  # most tasks are too hard for anyone
        ([9.0] * 10 + [0.1] * 15, [9.0] * 10 + [0.1] * 15, "plastic"),  # hard tasks do not count
        ([9.0] * 10 + [0.1] * 15, [0.1] * 15 + [9.0] * 10, "undecided"),  # as often one way as the other
        ([0.9] * 6 + [0.1] * 19, [0.1] * 25, "undecided"),  # 1 in 64 by chance
        ([0.9] * 7 + [0.1] * 18, [0.1] * 25, "lost"),  # 1 in 128
        ([0.9] * 25, [NAN] * 25, "no baseline"),
        ([0.9] * 25, [NAN] * 19 + [0.1] * 6, "undecided"),
        ([0.9] * 25, [NAN] * 18 + [0.1] * 7, "lost"),
    ],
)
def test_verdicts_of_pairs(late: list[float], controls: list[float], verdict: str) -> None:
    early = [0.1] * (3 * len(late))
    for fresh_baseline in (20, 0):
        one = scored(early + late, early + controls, fresh_baseline=fresh_baseline)
        assert one["verdict"] == verdict
        assert one["paired_tasks"] == np.isfinite(controls).sum()
        differences = np.array(late) - np.array(controls)
        expected = np.nanmean(differences) if np.isfinite(controls).any() else NAN
        assert one["excess_paired"] == pytest.approx(expected, nan_ok=True)
        assert one["late_control_end_ce"] == pytest.approx(
            np.nanmean(controls) if np.isfinite(controls).any() else NAN, nan_ok=True
        )


def test_a_diverged_cell_has_no_pairs() -> None:
    one = scored([0.9] * 8, [0.1] * 8, status="diverged", diverged_at=3)
    assert (one["verdict"], one["paired_tasks"]) == ("diverged", 0)
    assert math.isnan(one["excess_paired"])


def test_onsets_need_fresh_networks_and_pairs_do_not() -> None:
    early, late = [0.1] * 75, [0.9] * 25
    with_fresh = scored(early + late, [0.1] * 100)
    without = scored(early + late, [0.1] * 100, fresh_baseline=0, fresh_ce=np.empty(0), fresh_mean_ce=NAN)
    assert (with_fresh["verdict"], with_fresh["onset"], with_fresh["onset_status"]) == ("lost", 76, "observed")
    assert (without["verdict"], without["onset_status"]) == ("lost", "undefined")
    assert math.isnan(without["onset"])


def test_scores_of_a_real_sweep_are_those_of_pandas(tmp_path: Path) -> None:
    config = CellConfig(width=6, samples=12, depth=1, steps=5, lr=0.5, fresh_baseline=2, tasks=40)
    cells = [config.replace(seed=seed, control_every=every) for seed in (1, 2) for every in (0, 1, 3)]
    store = compute_here(cells, tmp_path / "sweep")
    table = score(store.root, definition="paired", last=20).set_index("cell")
    tasks = load_tasks(store.root)
    for cell in cells:
        own = tasks[(tasks["cell"] == cell.id) & (tasks["task"] > 20)]
        row = table.loc[cell.id]
        if not cell.control_every:
            assert row["verdict"] == "no baseline"
            assert own["control_end_ce"].isna().all()
            continue
        pairs = own[own["task"] % cell.control_every == 0]
        assert own["control_end_ce"].notna().sum() == len(pairs) == row["paired_tasks"]
        assert row["excess_paired"] == pytest.approx((pairs["end_ce"] - pairs["control_end_ce"]).mean())
        assert row["late_control_online_ce"] == pytest.approx(pairs["control_online_ce"].mean())
        worse = (pairs["end_ce"] - pairs["control_end_ce"] > 0.1) & (pairs["end_ce"] > 1.5 * pairs["control_end_ce"])
        assert row["paired_worse"] == worse.sum()
        assert row["verdict"] in ("undecided", "plastic", "lost")
    shown = map_table(score(store.root, where={"control_every": [3]}, last=20), "lr", "depth", "excess_paired")
    assert shown["value"].iloc[0] == pytest.approx(table[table["control_every"] == 3]["excess_paired"].mean())
    plain = score(store.root, where={"control_every": [0]}, last=20)
    with pytest.raises(AnalysisError, match="no cell measured control_end_ce; run the sweep with control_every = 1"):
        map_table(plain, "lr", "depth", "excess_paired")
    frames = score_cells(load_cells(store.root), tasks, definition="paired", last=20).set_index("cell")
    pd.testing.assert_frame_equal(frames.sort_index(), table.sort_index())
