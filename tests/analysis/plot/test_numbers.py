"""Numbers in figures: intervals on points, and what is written at colour bars."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from made_up import scored_frame
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from analysis.plot import plot_difference, plot_map
from analysis.plot.text.numbers import interval_text, power_of, unit_of

EN_DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("ends", "norm", "signed", "text"),
    [
        ((0.49, 3.01), Normalize(-1, 1), True, "0.5 to 3.0"),
        ((0.049, 0.081), Normalize(-0.1, 0.1), True, "0.049 to 0.081"),
        ((-0.004, 0.3), Normalize(-1, 1), True, "0.00 to 0.30"),
        ((-0.62, 0.3), Normalize(-1, 1), True, f"{MINUS}0.62 to 0.30"),
        ((12.0, 340.0), Normalize(0, 400), False, f"12{EN_DASH}340"),
        ((-1.3e-6, 2.04e-6), Normalize(-5e-6, 5e-6), True, f"{MINUS}1.3 to 2.0"),
        ((1.2e-5, 3.4e-5), LogNorm(1e-6, 1), False, f"1.2e{MINUS}5{EN_DASH}3.4e{MINUS}5"),
        ((0.0035, 0.12), LogNorm(1e-6, 1), False, f"0.0035{EN_DASH}0.12"),
    ],
)  # fmt: skip
def test_intervals_have_digits_that_fit(ends: tuple[float, float], norm: Normalize, signed: bool, text: str) -> None:
    assert interval_text(*ends, norm, signed=signed) == text


def test_tiny_and_huge_numbers_share_a_power_of_ten() -> None:
    assert power_of(Normalize(-2.2e-6, 2.2e-6)) == -6
    assert power_of(Normalize(0, 32000)) == 0
    assert power_of(Normalize(0, 320000)) == 5
    assert power_of(LogNorm(1e-9, 1e-6)) == 0
    assert unit_of("nats", -6) == "10⁻⁶ nats"
    assert unit_of("nats", 0) == "nats"


def seeds_of(**columns: list[float]) -> pd.DataFrame:
    """Three learning rates with four seeds each."""
    rows = [{"lr": lr, "seed": seed} for lr in (0.1, 0.2, 0.4) for seed in range(4)]
    return scored_frame(rows).assign(**{name: np.repeat(values, 4) for name, values in columns.items()})


def bar_of(figure: Figure) -> tuple[list[str], list[str]]:
    """Return the tick labels of the colour bar, and the other texts beside it."""
    figure.draw_without_rendering()
    bar = figure.axes[-1]
    low, high = sorted(bar.get_ylim())
    shown = [tick.label2.get_text() for tick in bar.yaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    return shown, [text.get_text() for text in bar.texts]


def test_slopes_name_their_power_in_the_label() -> None:
    figure = plot_map(seeds_of(slope=[-2e-6, 0.0, 4e-6]), "lr", "depth", "slope")
    ticks, _ = bar_of(figure)
    bar = figure.axes[-1]
    assert bar.get_ylabel().replace("\n", " ") == "Theil-Sen slope of the CE (10⁻⁶ nats per task)"
    assert bar.yaxis.get_offset_text().get_text() == ""
    assert {"0", "2"} & {tick.removesuffix(".0") for tick in ticks}
    assert max(map(len, ticks)) <= 4


def onsets(values: list[float]) -> pd.DataFrame:
    scored = seeds_of(onset=values)
    return scored.assign(onset_status=np.where(scored["onset"].isna(), "censored", "observed"))


def test_a_single_value_has_a_single_tick() -> None:
    ticks, tips = bar_of(plot_map(onsets([np.nan, np.nan, 32.0]), "lr", "depth", "onset"))
    assert (ticks, tips) == (["32"], ["no onset"])
    ticks, tips = bar_of(plot_map(onsets([np.nan] * 3), "lr", "depth", "onset"))
    assert (ticks, tips) == ([], ["no onset"])
    ticks, _ = bar_of(plot_map(seeds_of(late_ce=[0.25] * 3), "lr", "depth", "late_ce"))
    assert ticks == ["0.25"]


def test_onsets_have_ticks_at_whole_tasks() -> None:
    ticks, tips = bar_of(plot_map(onsets([23.0, 24.0, 25.0]), "lr", "depth", "onset"))
    assert ticks == ["23", "24", "25"]
    assert tips == []


def test_values_beyond_the_colours_are_written_at_the_tips() -> None:
    scored = seeds_of(excess=[-3.25, 0.0, 4.5])
    _, tips = bar_of(plot_map(scored, "lr", "depth", "excess"))
    assert tips == [f"{MINUS}3.2", "4.5"]
    assert bar_of(plot_map(seeds_of(excess=[0.0, 0.1, 0.2]), "lr", "depth", "excess"))[1] == []


def test_intervals_beyond_the_colours_are_written() -> None:
    scored = seeds_of(excess=[0.0, 0.0, 0.0])
    scored.loc[scored["lr"] == 0.4, "excess"] = [3.0, 3.5, 5.0, 6.0]
    texts = [text.get_text() for text in plot_map(scored, "lr", "depth", "excess", width=7).axes[0].texts]
    assert any(" to " in text and float(text.split()[-1]) > 4 for text in texts)


def test_a_constant_difference_is_written_as_it_is() -> None:
    """Every value differs by 0.9, up to rounding: the bar ends there, and nothing is beyond it."""
    first = seeds_of(excess=[0.1, 0.2, 0.3])
    second = first.assign(cell="other " + first["cell"], excess=first["excess"] + 0.9)
    second.attrs = first.attrs
    figure = plot_difference(first, second, "lr", "depth")
    ticks, tips = bar_of(figure)
    assert tips == []
    assert figure.axes[-1].get_ylim() == pytest.approx((-0.9, 0.9))
    assert all(tick.lstrip(MINUS).startswith("0") for tick in ticks)


def test_counts_are_explained_once() -> None:
    scored = seeds_of(excess=[0.0, 0.0, 1.0], lost=[0.0, 0.0, 1.0]).assign(
        verdict=np.repeat(["plastic", "plastic", "lost"], 4),
        first_symptom=np.repeat(["no loss", "no loss", "rank"], 4), lead=3.0,
    )  # fmt: skip
    for values, explained in (
        (["verdict", "first_symptom"], "k/n: k of n seeds have this verdict, or it comes first in k of the n seeds"),
        (["lost"], "k/n: k of n seeds lost plasticity"),
    ):
        figure = plot_map(scored, "lr", "depth", values, width=7)
        for text in (figure.texts[0].get_text().replace("\n", " "), figure.get_label().replace("\n", " ")):
            assert text.count("k/n") == 1
        assert explained in figure.texts[0].get_text().replace("\n", " ")


@pytest.mark.parametrize("width", [3.4, 7.0, None])
def test_several_categories_stay_within_the_figure(width: float | None) -> None:
    scored = seeds_of(excess=[0.0, 0.0, 1.0], lost=[0.0, 0.0, 1.0], slope=[1e-6, 2e-6, 9e-6]).assign(
        verdict=np.repeat(["plastic", "plastic", "lost"], 4),
        first_symptom=np.repeat(["no loss", "no loss", "rank"], 4), lead=3.0,
    )  # fmt: skip
    figure = plot_map(scored, "lr", "depth", ["verdict", "first_symptom", "slope"], width=width)
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert box.x0 > -0.06
    assert box.x1 < figure.get_figwidth() + 0.06
    assert box.y0 > -0.06
    assert box.y1 < figure.get_figheight() + 0.06


def test_labels_of_low_panels_are_wrapped() -> None:
    rows = [{"lr": lr, "delta": delta, "depth": depth} for lr in (0.1, 0.2) for delta in (1, 2) for depth in range(4)]
    figure = plot_map(scored_frame(rows), "lr", "delta", width=3.4)
    figure.draw_without_rendering()
    labels = [axes.yaxis.label.get_window_extent() for axes in figure.axes[:4] if axes.get_ylabel()]
    assert labels
    assert not any(one.overlaps(other) for one, other in pairwise(labels))


def test_a_notebook_shows_a_figure_without_a_backend() -> None:
    figure = plot_map(seeds_of(excess=[0.0, 0.1, 0.2]), "lr", "depth")
    png = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    saved = io.BytesIO()
    figure.savefig(saved, format="png", bbox_inches="tight")
    assert png == saved.getvalue()
