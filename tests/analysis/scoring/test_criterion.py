"""The criterion: declared once, and carried by the scores that were made with it."""

from __future__ import annotations

import argparse
import inspect
import io
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.data.load import load_cells, load_tasks
from analysis.scoring.criterion import (
    CRITERION_FIELDS,
    DEFINITIONS,
    TEMPLATES,
    LossCriterion,
    criterion_of,
    with_criterion,
)
from analysis.scoring.table import score, score_cells
from lop_sweep.console.options import add_options, options_from
from lop_sweep.errors import AnalysisError

CHOSEN = LossCriterion(margin=0.3, last=2)


@pytest.fixture(scope="module")
def scored(store_dir: Path) -> pd.DataFrame:
    return score(store_dir, where={"depth": [1, 2]}, margin=0.3, last=2)


def test_scores_say_how_they_were_made(scored: pd.DataFrame, store_dir: Path) -> None:
    assert scored.attrs == {
        "directory": str(store_dir), "where": {"depth": [1, 2]}, "criterion": asdict(CHOSEN),
    }  # fmt: skip
    assert criterion_of(scored) == CHOSEN
    by_object = score(store_dir, criterion=LossCriterion(margin=0.3), last=2)
    pd.testing.assert_frame_equal(by_object, scored)
    assert criterion_of(by_object) == CHOSEN
    in_memory = score_cells(load_cells(store_dir), load_tasks(store_dir), margin=0.3, last=2)
    pd.testing.assert_frame_equal(in_memory, scored)
    assert criterion_of(in_memory) == CHOSEN


KEEPING = {
    "a mask": lambda frame: frame[frame["depth"] == 2],
    "query": lambda frame: frame.query("depth == 2"),
    "assign": lambda frame: frame.assign(new=1),
    "sort_values": lambda frame: frame.sort_values("lr"),
    "columns": lambda frame: frame[["cell", "lost"]],
    "concat of parts": lambda frame: pd.concat([frame.head(3), frame.tail(3)]),
    "groups": lambda frame: pd.concat([group for _, group in frame.groupby("lr")]),
    "merge with a part": lambda frame: frame.merge(frame[["cell"]], on="cell"),
    "copy": lambda frame: frame.copy(),
}


@pytest.mark.parametrize("name", KEEPING)
def test_operations_that_keep_the_criterion(name: str, scored: pd.DataFrame) -> None:
    assert criterion_of(KEEPING[name](scored)) == CHOSEN


def test_a_parquet_file_keeps_the_criterion_and_the_scores(scored: pd.DataFrame) -> None:
    buffer = io.BytesIO()
    scored.to_parquet(buffer)
    restored = pd.read_parquet(io.BytesIO(buffer.getvalue()))
    assert restored.attrs == scored.attrs
    assert criterion_of(restored) == CHOSEN


LOSING = {
    "merge": lambda frame: frame.merge(pd.DataFrame({"lr": [0.2], "note": ["x"]})),
    "concat": lambda frame: pd.concat([frame, with_criterion(frame, margin=9)]),
    "rows": lambda frame: pd.DataFrame([row for _, row in frame.iterrows()]),
    "csv": lambda frame: pd.read_csv(io.StringIO(frame.to_csv())),
}


@pytest.mark.parametrize("name", LOSING)
def test_frames_without_criterion_are_refused(name: str, scored: pd.DataFrame) -> None:
    lost = LOSING[name](scored)
    with pytest.raises(AnalysisError, match=r"must carry the criterion .* analysis\.with_criterion"):
        criterion_of(lost)
    assert criterion_of(with_criterion(lost, margin=0.3, last=2)) == CHOSEN
    assert "criterion" not in lost.attrs


def test_unknown_thresholds_are_refused(store_dir: Path) -> None:
    with pytest.raises(AnalysisError, match=r"unknown option 'margn' \(did you mean 'margin'\?\); choose from:"):
        score(store_dir, margn=0.2)
    with pytest.raises(AnalysisError, match="margin = -1: must be a finite number of at least 0"):
        score(store_dir, margin=-1)


def test_numpy_numbers_become_plain_ones() -> None:
    criterion = LossCriterion(last=np.int64(3), margin=np.float32(0.5), hold=np.int32(2))
    assert [type(getattr(criterion, name)) for name in ("last", "margin", "hold")] == [int, float, int]
    assert criterion == LossCriterion(last=3, margin=0.5, hold=2)


def test_every_field_is_an_option_a_keyword_and_documented() -> None:
    names = [field.name for field in fields(LossCriterion)]
    assert list(CRITERION_FIELDS) == names
    parser = argparse.ArgumentParser()
    add_options(parser, LossCriterion)
    assert options_from(LossCriterion, parser.parse_args([])) == LossCriterion()
    words = [word for name in names for word in (f"--{name}", "onset" if name == "definition" else "2")]
    expected = LossCriterion("onset", **dict.fromkeys(names[1:], 2))
    assert options_from(LossCriterion, parser.parse_args(words)) == expected
    for function in (score, score_cells):
        assert set(names) <= set(inspect.signature(function).parameters)
    assert all(f"    {name}: " in str(LossCriterion.__doc__) for name in names)


def test_every_definition_has_a_sentence() -> None:
    for name in DEFINITIONS:
        text = str(LossCriterion(name, last=7, margin=0.25))
        assert text.startswith("lost: ")
        assert "0.25" in text
        assert "{" not in text
    assert set(DEFINITIONS) <= set(TEMPLATES)
