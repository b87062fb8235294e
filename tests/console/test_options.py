"""Options declared once: parser, options object, keywords and docstring agree."""

from __future__ import annotations

import argparse
import inspect
from dataclasses import dataclass

import pytest

from lop_sweep.console.options import (
    accepts_options,
    add_options,
    check_options,
    document_options,
    option,
    options_from,
    options_from_keywords,
)
from lop_sweep.errors import SweepError


@document_options
@dataclass(frozen=True)
class Sample:
    """Sample options."""

    cpus: int | None = option(None, "CPUs (default: all)", at_least=1)
    dtype: str = option("float64", "type of 100% of the numbers", choices=("float64", "float32"))
    margin: float = option(2 / 3, "nats", metavar="NATS", at_least=0)
    keep_state: bool | None = option(None, "keep states (default: if small)")
    retry_failed: bool = option(False, "retry only what failed")
    progress: bool = option(True, "show a progress bar")
    folder: str = option("out", "where files go", flag="out")
    log: str | None = option(None, "where to log", metavar="PLACE", bare="here")
    other: int = 5

    def __post_init__(self) -> None:
        check_options(self, SweepError)


def parse(*words: str, names: list[str] | None = None) -> Sample:
    parser = argparse.ArgumentParser()
    add_options(parser, Sample, names)
    return options_from(Sample, parser.parse_args(words))


def test_no_arguments_give_the_defaults() -> None:
    assert parse() == Sample()


def test_each_kind_of_option_is_parsed() -> None:
    words = "--cpus 3 --dtype float32 --margin 0.5 --no-keep-state --retry-failed --no-progress --out here"
    expected = Sample(3, "float32", 0.5, keep_state=False, retry_failed=True, progress=False, folder="here")
    assert parse(*words.split()) == expected
    assert parse("--keep-state").keep_state is True


def test_a_flag_may_stand_for_a_value() -> None:
    assert [parse(*words).log for words in ((), ("--log",), ("--log", "there"))] == [None, "here", "there"]


def test_only_the_named_options_are_added() -> None:
    assert parse("--margin", "1", names=["margin"]) == Sample(margin=1.0)
    with pytest.raises(SystemExit):
        parse("--cpus", "1", names=["margin"])


def test_help_names_choices_and_defaults_once() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, Sample)
    text = " ".join(parser.format_help().split())
    assert "--dtype NAME type of 100% of the numbers: float64, float32 (default float64)" in text
    assert "--cpus N CPUs (default: all) " in text
    assert "--margin NATS nats (default 0.667)" in text
    assert "--no-progress do not show a progress bar" in text
    assert "--other" not in text


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"cpus": 0}, "cpus = 0: must be an integer of at least 1"),
        ({"cpus": "4"}, "cpus = '4': must be an integer of at least 1"),
        ({"cpus": True}, "cpus = True: must be an integer of at least 1"),
        ({"dtype": "int8"}, "dtype = 'int8': must be one of float64, float32"),
        ({"margin": float("nan")}, "margin = nan: must be a finite number of at least 0"),
        ({"margin": -1}, "margin = -1: must be a finite number of at least 0"),
        ({"progress": 1}, "progress = 1: must be True or False"),
        ({"folder": None}, "folder = None: must be a string"),
        ({"cpu": 4}, r"unknown option 'cpu' \(did you mean 'cpus'\?\); choose from: cpus, dtype"),
        ({"other": 4}, "unknown option 'other'; choose from: cpus, dtype"),
    ],
)
def test_wrong_keywords_and_values_are_refused(keywords: dict[str, object], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        options_from_keywords(Sample, keywords, SweepError)


def test_keywords_make_the_same_object() -> None:
    assert options_from_keywords(Sample, {"cpus": 2, "margin": 1}, SweepError) == Sample(2, margin=1)


def test_docstring_and_signature_list_every_option() -> None:
    assert "Attributes:\n    cpus: CPUs (default: all).\n" in (Sample.__doc__ or "")
    assert "    progress: show a progress bar (default True).\n" in (Sample.__doc__ or "")

    @accepts_options(Sample)
    def run(out: str, **options: object) -> None:
        raise AssertionError(out, options)

    signature = inspect.signature(run)
    assert str(signature).startswith("(out: 'str', *, cpus: int | None = None, dtype: str = 'float64'")
    assert "other" not in signature.parameters
