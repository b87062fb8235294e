"""The page's scripts repeat nothing that Python declares, and fill in and format as Python does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_tools import Report, set_criterion

from analysis.data import format_value, load_requested
from analysis.plot import map_table
from analysis.report.description import describe
from analysis.report.write import SCRIPTS
from analysis.scoring import DEFINITIONS, LossCriterion, score

FILES = (*SCRIPTS, "page.html")
STRING = re.compile(r"'((?:[^'\\\n]|\\.)*)'|`((?:[^`\\]|\\.)*)`|\"((?:[^\"\\\n]|\\.)*)\"|>([^<>{}]+)<")
COMMENT = re.compile(r"/\*.*?\*/|^\s*//.*?$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"(?<![\w.#])\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])")
KEYS_OF_NAMES = ("name", "column", "metric", "scale", "definition", "statistic", "late_statistic", "rate")
IDENTIFIERS = {"undefined", "lost", "verdict", "onset", "excess", "tasks", "above"}
"""Labels and parts of sentences that are also names of columns, arrays, colours or of the plotting library."""


def texts_of(value: Any, key: str = "") -> Iterator[str]:
    """Yield every text of the description that is not just a name."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from texts_of(one, name)
    elif isinstance(value, list):
        for one in value:
            yield from texts_of(one, key)
    elif isinstance(value, str) and key not in KEYS_OF_NAMES:
        yield from (part.strip(" ,.:") for part in re.split(r"\{\w+\}", value))


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    folder = resources.files("analysis.report") / "page"
    return {name: COMMENT.sub("", (folder / name).read_text(encoding="utf-8")) for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_scripts_repeat_no_text_of_the_description(sources: dict[str, str], name: str):
    literals = ["".join(groups) for groups in STRING.findall(sources[name])]
    texts = {text for text in texts_of(describe(LossCriterion())) if len(text) > 4} - IDENTIFIERS
    assert {"late tasks fail more often", "too short", "effective rank", "10th to 90th percentile", "viridis"} <= texts
    repeated = [text for text in texts for literal in literals if text == literal or (" " in text and text in literal)]
    assert repeated == []


@pytest.mark.parametrize("name", FILES)
def test_scripts_repeat_no_threshold(sources: dict[str, str], name: str):
    about = describe(LossCriterion())
    declared = {
        about["late_share"], about["min_log_value"], about["symmetric_quantile"], about["half_widths"]["excess"],
        *about["percentiles"]["ends"],
    }  # fmt: skip
    assert [text for text in NUMBER.findall(sources[name]) if float(text) in declared] == []
    assert "Math.LN2" not in sources[name]


@pytest.mark.parametrize("name", FILES)
def test_scripts_compute_no_interval_and_no_contour(sources: dict[str, str], name: str):
    """They come from Python as tables and as lines."""
    assert not re.search(r"\bsqrt\b|wilson|'contour'", sources[name])


def random_criteria(number: int) -> Iterator[LossCriterion]:
    rng = np.random.default_rng(1)
    for _ in range(number):
        yield LossCriterion(
            definition=str(rng.choice(list(DEFINITIONS))),
            last=None if rng.random() < 0.5 else int(rng.integers(1, 22)),
            margin=float(rng.choice([rng.uniform(0, 0.5), 10 ** rng.uniform(-9, 2)])),
            factor=float(rng.choice([rng.uniform(0, 5), 10 ** rng.uniform(-6, 8)])),
            chance=None if rng.random() < 0.3 else float(rng.uniform(0.1, 1.5)),
            hold=int(rng.integers(1, 7)),
            recover=int(rng.integers(1, 12)),
        )


def test_random_criteria_give_pythons_words_and_verdicts(report: Report, made: Path, made_file: Path):
    page, requested = report(made_file), load_requested(made)
    for criterion in random_criteria(25):
        set_criterion(page, criterion)
        sentence = str(criterion)
        assert page.inner_text("#sentence") == f"{sentence[0].upper()}{sentence[1:]}."
        template = page.evaluate(
            "state => window.lop.fillTemplate(JSON.parse(about.textContent), 'symptoms', state)", asdict(criterion)
        )
        assert template.lower() == f"{criterion.of_symptoms}.".lower()
        table = map_table(score(made, criterion=criterion), "lr", "depth", ["lost"], requested=requested)
        for index, delta in enumerate((0.0, 1.5)):
            shown = page.evaluate("at => window.lopReport.pointsOf({score: 'lost', at})", {"delta": index})
            rows = table[table["delta"] == delta]
            assert [point["lost"] for point in shown] == list(rows["lost"])
            assert [point["decidable"] for point in shown] == list(rows["n"])


def test_numbers_are_written_as_in_python(report: Report, made_file: Path):
    rng = np.random.default_rng(2)
    values = [
        0.0, 1.0, -2.5, 0.1, 1e-4, 9.99999e-5, 123456.0, 999999.5, 1e6, 1e300, 5e-324, 2.0**62,
        *(rng.normal(size=300) * 10.0 ** rng.integers(-12, 12, 300)).tolist(),
    ]  # fmt: skip
    page = report(made_file)
    assert page.evaluate("values => values.map(window.lop.setting)", values) == [format_value(one) for one in values]
    assert page.evaluate("[true, false, 'a b'].map(window.lop.setting)") == ["true", "false", "a b"]
