"""The command `lop-analysis`: scores, maps and curves from a sweep directory."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

import lop_sweep
from analysis.curves import draw_curves
from analysis.load import load_cells, load_requested, load_tasks, parse_where, select
from analysis.maps import draw_map
from analysis.scores import Rule, score_cells
from analysis.values import VALUES, map_value
from lop_sweep.arguments import OneLineParser, run_command
from lop_sweep.errors import AnalysisError, named
from lop_sweep.files import writing
from lop_sweep.metrics import MEASURES
from lop_sweep.store import Store

_FIGURE_ENDINGS = (".png", ".pdf", ".svg")
_TABLE_ENDINGS = (".csv", ".parquet")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 2 bad input."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    return run_command(_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    rule = Rule()
    common = OneLineParser(add_help=False)
    common.add_argument("dir", metavar="DIR", help="a sweep directory")
    common.add_argument(
        "--where", action="append", default=[], metavar="FIELD=VALUE", help="only these cells; may be repeated"
    )
    judged = OneLineParser(add_help=False)
    judged.add_argument("--last", type=int, metavar="N", help="tasks that count as late (default: the last quarter)")
    judged.add_argument(
        "--margin", type=float, default=rule.margin, metavar="X", help=f"nats (default {rule.margin:g})"
    )
    judged.add_argument(
        "--factor", type=float, default=rule.factor, metavar="X", help=f"a ratio (default {rule.factor:g})"
    )

    parser = OneLineParser(prog="lop-analysis", description="Loss-of-plasticity analysis of a sweep directory.")
    parser.add_argument("--version", action="version", version=lop_sweep.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    maps = commands.add_parser("map", parents=[common, judged], help="a score over two axes", description=_map.__doc__)
    maps.add_argument("--x", required=True, metavar="FIELD", help="the horizontal axis, lr for example")
    maps.add_argument("--y", required=True, metavar="FIELD", help="the vertical axis, depth for example")
    maps.add_argument("--value", default="excess", metavar="SCORE", help=f"one of {named(VALUES)} (default excess)")
    maps.add_argument("--out", default="map.png", metavar="FILE", help="a .png, .pdf or .svg file (default map.png)")
    maps.set_defaults(run=_map)

    curves = commands.add_parser("curves", parents=[common], help="measures task by task", description=_curves.__doc__)
    curves.add_argument(
        "--out", default="curves.png", metavar="FILE", help="a .png, .pdf or .svg file (default curves.png)"
    )
    curves.set_defaults(run=_curves)

    scores = commands.add_parser("scores", parents=[common, judged], help="a row per cell", description=_scores.__doc__)
    scores.add_argument("--out", required=True, metavar="FILE", help="a .csv or .parquet file")
    scores.set_defaults(run=_scores)
    return parser


def _map(options: argparse.Namespace) -> int:
    """Draw a score over two axes: seeds averaged, other axes as panels."""
    _check_ending(options.out, _FIGURE_ENDINGS)
    map_value(options.value)
    rule = _rule(options)
    scored = _scored(options, rule)
    requested = select(load_requested(options.dir), parse_where(options.where), required=False)
    figure = draw_map(scored, options.x, options.y, options.value, rule, _title(options.dir), requested)
    return _save(figure, options)


def _curves(options: argparse.Namespace) -> int:
    """Draw every measure against the task number, with the spread over seeds."""
    _check_ending(options.out, _FIGURE_ENDINGS)
    return _save(draw_curves(*_load(options)), options)


def _scores(options: argparse.Namespace) -> int:
    """Write one row of scores per cell."""
    _check_ending(options.out, _TABLE_ENDINGS)
    scored = _scored(options, _rule(options))
    with writing(Path(options.out)):
        if options.out.endswith(".csv"):
            scored.to_csv(options.out, index=False)
        else:
            scored.to_parquet(options.out, index=False)
    print(f"{len(scored):,} cells -> {options.out}", file=sys.stderr)
    return 0


def _rule(options: argparse.Namespace) -> Rule:
    return Rule(last=options.last, margin=options.margin, factor=options.factor)


def _load(options: argparse.Namespace, rule: Rule | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cells and their tasks; with a rule only the late ones."""
    where = parse_where(options.where)
    cells = select(load_cells(options.dir), where)
    tasks = load_tasks(options.dir, ["cell", "task", *MEASURES], window=rule.window if rule else None)
    return cells, tasks[tasks["cell"].isin(cells["cell"])]


def _scored(options: argparse.Namespace, rule: Rule) -> pd.DataFrame:
    return score_cells(*_load(options, rule), rule)


def _title(directory: str) -> str:
    sweep = Store(directory).read_sweep()
    return f"Loss of plasticity: {sweep['space']}" if sweep else ""


def _check_ending(path: str, endings: Sequence[str]) -> None:
    if not path.endswith(tuple(endings)):
        raise AnalysisError(f"--out {path!r}: must end with {' or '.join(endings)}")


def _save(figure: Figure, options: argparse.Namespace) -> int:
    path = Path(options.out)
    figure.draw_without_rendering()  # lays it out, once: what follows would do it twice
    figure.set_layout_engine("none")
    with writing(path):
        figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"-> {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
