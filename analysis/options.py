"""The rule's thresholds as options of a command."""

from __future__ import annotations

import argparse

from analysis.scoring import DEFINITIONS, LossCriterion
from lop_sweep.errors import comma_list

_HELP = {
    "last": (int, "N", "tasks that count as late (default: the last quarter)"),
    "margin": (float, "X", "nats"),
    "factor": (float, "X", "a ratio"),
    "chance": (float, "X", "nats; fresh networks that are no better cannot be judged"),
    "hold": (int, "N", "tasks in a row that make an onset, of a loss or a symptom"),
    "recover": (int, "N", "tasks in a row that make a recovery"),
    "early": (int, "N", "tasks that symptoms are measured against"),
    "rank": (float, "X", "symptom: effective rank below this share of the early one"),
    "duplicates": (float, "X", "symptom: growth of the share of duplicate features"),
    "saturation": (float, "X", "symptom: growth of the share of saturated units"),
}


def add_criterion_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for every field of `LossCriterion`."""
    criterion = LossCriterion()
    parser.add_argument(
        "--definition", default=criterion.definition, metavar="NAME",
        help=f"what lost means: {comma_list(DEFINITIONS)} (default {criterion.definition})",
    )  # fmt: skip
    for name, (kind, metavar, text) in _HELP.items():
        default = getattr(criterion, name)
        note = text if default is None else f"{text} (default {default:.3g})"
        parser.add_argument(f"--{name}", type=kind, default=default, metavar=metavar, help=note)


def criterion_from(options: argparse.Namespace) -> LossCriterion:
    """The rule that the options describe.

    Raises:
        AnalysisError: a value is out of range.
    """
    return LossCriterion(definition=options.definition, **{name: getattr(options, name) for name in _HELP})
