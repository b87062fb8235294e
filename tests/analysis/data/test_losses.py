"""The words and the level of guessing of each stream's loss."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.data import chance_levels, in_words_of
from lop_sweep.config import CellConfig

REGRESSION, CLASSES = "slowly_changing_regression", "random_labels"


@pytest.mark.parametrize(
    ("text", "streams", "words"),
    [
        ("late CE - fresh CE (nats)", ["gaussian_mixture", CLASSES], "late CE - fresh CE (nats)"),
        ("late CE - fresh CE (nats)", [REGRESSION], "late loss - fresh loss (squared error)"),
        ("slope of the CE (nats per task)", [REGRESSION], "slope of the loss (squared error per task)"),
        ("CE (nats)", [REGRESSION, CLASSES], "loss (nats or squared error)"),
        ("by > 0.1 nats and > 1.5 times", [REGRESSION], "by > 0.1 and > 1.5 times"),
        ("CE (nats)", ["of a user's own"], "loss (unit of the loss)"),
        ("late_ce, dominates, min_ce", [REGRESSION], "late_ce, dominates, min_ce"),
        ("nats", [REGRESSION], ""),
        ("CE (nats)", [], "CE (nats)"),
    ],
)
def test_texts_are_in_the_words_of_the_losses(text: str, streams: list[str], words: str) -> None:
    assert in_words_of(text, streams) == words


def test_guessing_costs_the_logarithm_of_the_number_of_classes() -> None:
    cells = [
        CellConfig(), CellConfig(stream=CLASSES), CellConfig(stream=REGRESSION), CellConfig(input_dim=7, delta=1.0),
        CellConfig(stream="permuted_inputs", data="mnist_5k"), CellConfig(stream="unknown here"), CellConfig(),
    ]  # fmt: skip
    levels = chance_levels(pd.DataFrame([cell.model_dump() for cell in cells]))
    assert levels.tolist() == np.log([2, 10, np.inf, 2, 10, np.inf, 2]).tolist()
    assert chance_levels(pd.DataFrame([cell.model_dump() for cell in cells]).iloc[:0]).shape == (0,)
