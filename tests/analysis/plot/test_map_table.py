"""The tidy numbers behind a map, and that a map drawn from them is the same."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_store import MEASURED_VALUES
from made_up import scored_frame
from matplotlib.figure import Figure

from analysis.data.load import load_requested
from analysis.plot.aggregate import map_samples, map_table
from analysis.plot.difference import plot_difference
from analysis.plot.maps import plot_map
from analysis.plot.save import provenance
from analysis.plot.variables import CATEGORIES
from analysis.scoring.criterion import criterion_of, with_criterion
from analysis.scoring.intervals import wilson
from analysis.scoring.table import score
from lop_sweep.errors import AnalysisError


@pytest.fixture(scope="module")
def scored(made: Path) -> pd.DataFrame:
    return score(made, margin=0.2)


def pixels(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=60)
    return buffer.getvalue()


def test_a_row_has_the_share_of_a_point_and_its_interval() -> None:
    rows = [
        {"lr": 0.1, "depth": 1, "seed": seed, "lost": lost, "delta": delta}
        for delta in (0.0, 1.5) for seed, lost in enumerate((0.0, 1.0, 1.0))
    ]  # fmt: skip
    rows.append({"lr": 0.2, "depth": 2, "delta": 1.5, "lost": np.nan, "verdict": "diverged"})
    table = map_table(scored_frame(rows), "lr", "depth")
    assert list(table.columns[:9]) == ["lr", "depth", "delta", "score", "cells", "n", "lost", "share", "undecided"]
    assert len(table) == 2 * 2 * 2  # delta, depth, lr
    point = table.query("lr == 0.1 and depth == 1 and delta == 0").iloc[0]
    low, high = map(float, wilson(2, 3))
    assert (point["score"], point["cells"], point["n"], point["lost"]) == ("lost", 3, 3, 2)
    assert [point[name] for name in ("share", "value", "low", "high")] == pytest.approx([2 / 3, 2 / 3, low, high])
    diverged = table.query("lr == 0.2 and depth == 2 and delta == 1.5").iloc[0]
    assert (diverged["cells"], diverged["n"], diverged["diverged"], diverged["defined"]) == (1, 0, 1, 0)
    assert np.isnan(diverged[["share", "value", "low", "high"]].to_numpy(float)).all()
    assert table["cells"].sum() == len(rows)


def test_samples_are_in_the_order_of_the_rows(scored: pd.DataFrame) -> None:
    requested = scored.iloc[:1].assign(cell="not computed", lr=7.0)
    table = map_table(scored, "lr", "depth", "excess", requested=requested, surface="counts")
    samples = map_samples(scored, "lr", "depth", "excess", requested=requested)
    assert [len(one) for one in samples] == table["defined"].tolist()
    np.testing.assert_allclose([one.mean() if len(one) else np.nan for one in samples], table["value"])
    assert 0 in table["defined"].tolist()
    with pytest.raises(AnalysisError, match="'verdict' is a category and has no numbers"):
        map_samples(scored, "lr", "depth", "verdict")


def test_columns_keep_their_types(scored: pd.DataFrame) -> None:
    table = map_table(scored, "lr", "depth", ["lost", "verdict"])
    for name in ("lr", "depth", "delta"):
        assert table[name].dtype == scored[name].dtype
    assert table["n"].dtype.kind == "i"
    assert set(table["score"]) == {"lost", "verdict"}
    assert (table.query("score == 'lost'")["category"] == "").all()
    assert table.query("score == 'verdict'")["value"].isna().all()


@pytest.mark.parametrize("value", ["excess", "onset", "first_symptom", ["lost", "verdict", "saturation"]])
def test_a_table_draws_the_same_map(value: str | list[str], scored: pd.DataFrame, made: Path) -> None:
    requested = load_requested(made)
    table = map_table(scored, "lr", "depth", value, requested=requested)
    from_scores = pixels(plot_map(scored, "lr", "depth", value, requested=requested))
    assert pixels(plot_map(table)) == from_scores
    stored = io.BytesIO()
    table.to_parquet(stored)
    assert pixels(plot_map(pd.read_parquet(io.BytesIO(stored.getvalue())))) == from_scores


def test_every_value_has_a_table(scored: pd.DataFrame) -> None:
    table = map_table(scored, "lr", "depth", [*MEASURED_VALUES, *CATEGORIES])
    assert list(table["score"].unique()) == [*MEASURED_VALUES, *CATEGORIES]
    assert len(table) == 3 * 4 * 2 * (len(MEASURED_VALUES) + len(CATEGORIES))
    assert criterion_of(table).margin == 0.2


def test_a_part_of_a_table_can_be_drawn(scored: pd.DataFrame) -> None:
    table = map_table(scored, "lr", "depth", ["lost", "excess"])
    part = table[(table["delta"] == 1.5) & (table["depth"] > 1)]
    figure = plot_map(part, value="lost")
    assert [axes.get_title() for axes in figure.axes[:-1]] == ["delta = 1.5"]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["2", "3"]
    cells = int(part.query("score == 'lost'")["cells"].sum())
    assert f"; {cells} cells: " in figure.texts[0].get_text()
    assert provenance(part)["cells"] == cells


def test_arguments_that_contradict_a_table_are_refused(scored: pd.DataFrame) -> None:
    table = map_table(scored, "lr", "depth")
    with pytest.raises(AnalysisError, match="this table is over lr and depth, not depth and lr"):
        plot_map(table, "depth", "lr")
    with pytest.raises(AnalysisError, match="this table has no excess; it has lost"):
        plot_map(table, value="excess")
    with pytest.raises(AnalysisError, match="`requested` must be passed to map_table"):
        plot_map(table, requested=scored)
    with pytest.raises(AnalysisError, match="the table has no rows"):
        plot_map(table.iloc[:0])
    with pytest.raises(AnalysisError, match="`x` and `y` must be configuration fields, got None"):
        plot_map(scored, "lr")


def test_plots_refuse_frames_without_criterion(scored: pd.DataFrame) -> None:
    """No caption may state the default where scores were made with another criterion."""
    lost = scored.copy()
    lost.attrs = {}
    for draw in (plot_map, map_table):
        with pytest.raises(AnalysisError, match=r"must carry the criterion .* analysis\.with_criterion"):
            draw(lost, "lr", "depth")
    with pytest.raises(AnalysisError, match="must carry the criterion"):
        plot_difference(scored, lost, "lr", "depth")
    with pytest.raises(AnalysisError, match="must be scored with the same criterion"):
        plot_difference(scored, with_criterion(scored, margin=0.3), "lr", "depth")
    with pytest.raises(AnalysisError, match=r"must come from analysis\.score; it lacks the columns verdict"):
        map_table(scored.drop(columns="verdict"), "lr", "depth")


def test_captions_and_metadata_state_the_criterion_of_the_scores(scored: pd.DataFrame) -> None:
    figure = plot_map(scored[scored["delta"] == 1.5], "lr", "depth", "lost")
    text = figure.get_label()
    assert "exceeds the median of fresh networks by > 0.2 nats" in text
    assert provenance(scored)["rule"]["margin"] == 0.2
    assert plot_difference(scored, scored, "lr", "depth", "lost").get_label().count("0.2 nats") == 1


def test_a_generator_decides_the_intervals(scored: pd.DataFrame) -> None:
    default, seeded, other = (
        map_table(scored, "lr", "depth", "excess", rng=rng)
        for rng in (None, np.random.default_rng(0), np.random.default_rng(1))
    )
    pd.testing.assert_frame_equal(default, seeded)
    assert (default["low"] != other["low"]).any()
    pd.testing.assert_series_equal(default["value"], other["value"])
