"""The share of seeds that fail at each task: in closed form, and what a figure says where it is unknown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.plot import plot_curves
from analysis.plot.failures import window_tasks
from analysis.scoring import LossCriterion, failed, with_criterion, with_fresh_pool
from lop_sweep.config import CellConfig
from lop_sweep.metrics import LAYERED, METRICS

TASKS, SEEDS = 20, 3
FRESH = np.array([0.01, 0.02, 0.01, 5.0])
LOSSES = np.where(np.random.default_rng(0).random((SEEDS, TASKS)) < 0.4, 3.0, 0.001)


def cells_of(fresh: Any = FRESH, name: str = "a", **fields: Any) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {**CellConfig(seed=seed, tasks=TASKS, depth=1, **fields).model_dump(), "cell": f"{name}{seed}",
             "fresh_ce": np.array(fresh), "fresh_mean_ce": np.mean(fresh) if len(fresh) else np.nan,
             "status": "finished"}
            for seed in range(SEEDS)
        ]
    )  # fmt: skip


def tasks_of(losses: np.ndarray = LOSSES, name: str = "a", **metrics: Any) -> pd.DataFrame:
    """Rows in which every metric is 0.5, but the losses after the last update are these."""
    rows = [{"cell": f"{name}{seed}", "task": task + 1, **dict.fromkeys(METRICS, 0.5), "end_ce": losses[seed, task]}
            for seed in range(SEEDS) for task in range(TASKS)]  # fmt: skip
    frame = pd.DataFrame(rows).assign(**metrics)
    return frame.assign(**{metric: frame[metric].map(lambda value: np.array([value])) for metric in LAYERED})


def top(figure: Any) -> Any:
    return figure.axes[0]


def smoothed(shares: np.ndarray, window: int) -> np.ndarray:
    """The mean in a window that is cut off at both ends."""
    half = window // 2
    return np.array([shares[max(0, at - half) : at + half + 1].mean() for at in range(len(shares))])


def test_a_curve_is_the_smoothed_share_of_seeds_that_fail() -> None:
    figure = plot_curves(cells_of(), tasks_of())
    curve, fresh = top(figure).get_lines()
    bad = LOSSES > 1
    np.testing.assert_allclose(curve.get_ydata(), smoothed(bad.mean(axis=0), 5))
    np.testing.assert_array_equal(curve.get_xdata(), np.arange(1, TASKS + 1))
    np.testing.assert_allclose(fresh.get_ydata(), 0.25)  # the fourth of the fresh networks
    band = top(figure).collections[0].get_paths()[0].vertices[:, 1]
    own = np.array([smoothed(one, 5) for one in bad])
    assert (band.min(), band.max()) == (own.min(), own.max())
    assert top(figure).get_title() == "moving mean over 5 tasks; band: range over seeds; dashed: fresh networks"


def test_a_task_fails_as_for_the_verdict() -> None:
    criterion = LossCriterion(margin=1.0, factor=200.0)
    losses = np.tile(np.linspace(0, 4, TASKS), (SEEDS, 1))
    bad = failed(losses, np.full(SEEDS, np.median(FRESH)), criterion.margin, criterion.factor)
    assert 0 < bad.mean() < 1
    expected = smoothed(bad.mean(axis=0), 5)
    given = plot_curves(cells_of(), tasks_of(losses), criterion=criterion)
    carried = plot_curves(with_criterion(cells_of(), criterion), tasks_of(losses))
    for figure in (given, carried):
        np.testing.assert_allclose(top(figure).get_lines()[0].get_ydata(), expected)
        assert "by > 1 nats and > 200 times" in figure.get_label()


def test_fresh_networks_of_seeds_that_are_not_drawn_count() -> None:
    pooled = with_fresh_pool(cells_of().assign(fresh_ce=[np.full(2, 0.01), np.full(2, 9.0), np.full(2, 0.01)]),
                             LossCriterion())  # fmt: skip
    figure = plot_curves(pooled.iloc[:1], tasks_of())
    np.testing.assert_allclose(top(figure).get_lines()[1].get_ydata(), 1 / 3)


def test_losses_are_drawn_only_raw() -> None:
    plain, raw = (plot_curves(cells_of(), tasks_of(), raw=raw) for raw in (False, True))
    losses = [name for name in METRICS if name.endswith("_ce")]
    assert len(raw.axes) == len(METRICS)
    assert len(plain.axes) == len(METRICS) - len(losses) + 1
    end = raw.axes[list(METRICS).index("end_ce")]
    np.testing.assert_allclose(end.get_lines()[0].get_ydata(), np.median(LOSSES, axis=0))


@pytest.mark.parametrize("fresh", [[], [np.nan, np.nan, 0.1]])
def test_without_a_fresh_median_losses_are_drawn_and_the_figure_says_so(fresh: list[float]) -> None:
    figure = plot_curves(cells_of(fresh), tasks_of())
    assert len(figure.axes) == len(METRICS)
    assert "raw losses: fresh networks are missing, or most of them diverged" in " ".join(figure.get_suptitle().split())


def test_a_configuration_without_fresh_networks_is_named() -> None:
    cells = pd.concat([cells_of(), cells_of([], "b", lr=0.4)], ignore_index=True)
    figure = plot_curves(cells, pd.concat([tasks_of(), tasks_of(name="b")]))
    assert len(top(figure).get_lines()) == 2
    assert "no curve without fresh networks: lr = 0.4" in " ".join(top(figure).get_title().split())


def test_losses_before_the_last_update_say_so() -> None:
    figure = plot_curves(cells_of(), tasks_of(end_ce=np.nan, final_ce=5.0))
    np.testing.assert_array_equal(top(figure).get_lines()[0].get_ydata(), 1.0)
    assert "by the CE before the last update" in top(figure).get_title()


def test_tasks_after_a_divergence_are_left_out() -> None:
    losses = LOSSES.copy()
    losses[1, 12:] = np.nan
    cells = cells_of()
    cells.loc[1, "status"] = "diverged"
    figure = plot_curves(cells, tasks_of(losses, **dict.fromkeys(["final_ce"], np.nan)))
    assert list(top(figure).get_lines()[0].get_xdata()) == list(range(1, 13))


def test_windows_are_odd_and_about_a_tenth() -> None:
    assert [window_tasks(tasks) for tasks in (1, 4, 8, 40, 100, 300)] == [1, 3, 5, 5, 9, 29]


@pytest.mark.parametrize("width", [3.4, 7.0, None])
def test_labels_of_panels_do_not_overlap(width: float | None) -> None:
    figure = plot_curves(cells_of(), tasks_of(), width=width)
    figure.draw_without_rendering()
    boxes = [axes.yaxis.label.get_window_extent() for axes in figure.axes]
    assert not any(one.overlaps(other) for number, one in enumerate(boxes) for other in boxes[:number])
    for box in boxes:
        assert box.x0 >= 0
        assert 0 <= box.y0 < box.y1 <= figure.bbox.y1
