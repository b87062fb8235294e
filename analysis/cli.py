"""The command `lop-analysis`: scores, maps, curves and a report from a sweep directory."""

from __future__ import annotations

import argparse
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from analysis.cli_statistics import TABLE_ENDINGS, StatisticsCommands, sweep_names
from analysis.data import (
    blocks_of,
    by_configuration,
    load_cells,
    load_requested,
    load_tasks,
    measured_metrics,
    open_store,
    parse_where,
    select,
)
from analysis.plot import (
    CATEGORIES,
    EFFECTS,
    ENDINGS,
    LEVEL,
    MAX_COLUMNS,
    MAX_CURVES,
    SURFACES,
    VALUES,
    check_axes,
    check_difference,
    check_ending,
    check_level,
    check_width,
    map_value,
    plot_curves,
    plot_difference,
    plot_layers,
    plot_map,
    provenance,
    save_figure,
)
from analysis.report import write_report
from analysis.scoring import LossCriterion, score, with_criterion, with_fresh_pool
from lop_sweep.console.arguments import OneLineParser, run_command
from lop_sweep.console.options import add_options, options_from
from lop_sweep.console.terminal import log_to_stderr, remark
from lop_sweep.errors import AnalysisError, comma_list, printable
from lop_sweep.metrics import METRICS
from lop_sweep.script import script_frame
from lop_sweep.script.plots import save_script_plots
from lop_sweep.storage import local_path, write_bytes, writing
from lop_sweep.version import __version__

_FIGURE, _TABLE = "a .png, .pdf or .svg file", "a .csv or .parquet file"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 for success, 2 for bad input."""
    log_to_stderr(logging.WARNING)
    return run_command(make_parser(), arguments)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of `lop-analysis`."""
    parser = OneLineParser(prog="lop-analysis", description="Loss-of-plasticity analysis of a sweep directory.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    directory, where, criterion, axes, print_width = _directory(), _where(), _criterion(), _axes(), _print_width()

    def add(run: Callable[[argparse.Namespace], int], text: str, *parents: OneLineParser) -> OneLineParser:
        command = commands.add_parser(
            run.__name__.removeprefix("_"), help=text, description=run.__doc__, parents=list(parents)
        )
        command.set_defaults(run=run)
        return command

    command = add(_map, "scores over two axes", directory, where, criterion, axes, print_width)
    command.add_argument(
        "--value", default="excess", metavar="SCORE[,SCORE]",
        help=f"choose from: {comma_list([*VALUES, *CATEGORIES])} (default excess); several stand side by side; "
        f"'causes' is short for {comma_list(EFFECTS)}",
    )  # fmt: skip
    command.add_argument(
        "--surface", choices=SURFACES, default="gp",
        help="how the boundary of P(lost) is found: by a fitted surface or the counts at each point (default gp)",
    )  # fmt: skip
    command.add_argument(
        "--level", type=float, default=LEVEL, metavar="P",
        help=f"P(lost) at which the boundary is, above 0 and below 1 (default {LEVEL:g})",
    )  # fmt: skip
    _add_out(command, _FIGURE, "map.png")
    command = add(_difference, "what changes between two sweeps", where, criterion, axes, print_width)
    command.add_argument("dir", metavar="FIRST", help="a sweep directory")
    command.add_argument("second", metavar="SECOND", help="another sweep directory")
    command.add_argument(
        "--value", default="excess", metavar="SCORE", help=f"choose from: {comma_list(VALUES)} (default excess)"
    )
    _add_out(command, _FIGURE, "difference.png")
    command = add(_curves, "failures and metrics task by task", directory, where, criterion, print_width)
    command.add_argument(
        "--raw", action="store_true",
        help="draw losses, median and range over seeds, instead of the share of seeds that fail",
    )  # fmt: skip
    _add_out(command, _FIGURE, "curves.png")
    _add_out(add(_layers, "metrics of each layer, task by task", directory, where, print_width), _FIGURE, "layers.png")
    command = add(_plots, "the script's six plots of one cell", directory)
    command.add_argument("--cell", required=True, metavar="ID", help="a cell's id, or the beginning of it")
    command.add_argument("--out", required=True, metavar="FOLDER", help="the folder for the six files")
    _add_out(add(_scores, "one row per cell", directory, where, criterion), _TABLE)
    StatisticsCommands(_scored, _write_table).add(add, directory, where, criterion)
    command = add(_report, "a page to explore in a browser", directory, where, criterion)
    _add_out(command, "an .html file", "report.html")
    return parser


def _directory() -> OneLineParser:
    parser = OneLineParser(add_help=False)
    parser.add_argument("dir", metavar="DIR", help="a sweep directory")
    return parser


def _where() -> OneLineParser:
    parser = OneLineParser(add_help=False)
    parser.add_argument(
        "--where", action="append", default=[], metavar="FIELD=VALUE", help="only these cells; may be repeated"
    )
    return parser


def _criterion() -> OneLineParser:
    parser = OneLineParser(add_help=False)
    add_options(parser, LossCriterion)
    return parser


def _axes() -> OneLineParser:
    parser = OneLineParser(add_help=False)
    parser.add_argument("--x", required=True, metavar="FIELD", help="the horizontal axis, for example lr")
    parser.add_argument("--y", required=True, metavar="FIELD", help="the vertical axis, for example depth")
    return parser


def _print_width() -> OneLineParser:
    parser = OneLineParser(add_help=False)
    parser.add_argument(
        "--width", type=float, metavar="INCHES", help="for print: 3.4 for a paper's column, 7 for its page"
    )
    return parser


def _add_out(parser: argparse.ArgumentParser, what: str, default: str | None = None) -> None:
    note = f"{what} (default {default})" if default else what
    parser.add_argument("--out", required=default is None, default=default, metavar="FILE", help=note)


def _map(options: argparse.Namespace) -> int:
    """Draw scores over two axes: seeds are summarised, other axes become panels."""
    _check_out(options.out, ENDINGS)
    check_axes(options.x, options.y)
    check_level(options.level)
    open_store(options.dir)  # it may declare metrics
    values = list(EFFECTS) if options.value == "causes" else list(dict.fromkeys(options.value.split(",")))
    for value in values:
        map_value(value)
    where, width = parse_where(options.where), _width(options)
    scored = _scored(options, options.dir, slopes="slope" in values)
    requested = select(load_requested(options.dir), where, required=False)
    figure = plot_map(
        scored, options.x, options.y, values,
        requested=requested, surface=options.surface, level=options.level, title=_title(options.dir), width=width,
    )  # fmt: skip
    save_figure(figure, options.out, provenance(scored))
    return _written(options.out)


def _difference(options: argparse.Namespace) -> int:
    """Draw a score of the second sweep minus that of the first, and mark the points that differ."""
    _check_out(options.out, ENDINGS)
    check_axes(options.x, options.y)
    for folder in (options.dir, options.second):
        open_store(folder)  # it may declare metrics
    check_difference(options.value)
    width, slopes = _width(options), options.value == "slope"
    first, second = (_scored(options, folder, slopes=slopes) for folder in (options.dir, options.second))
    names = sweep_names(options.dir, options.second)
    figure = plot_difference(first, second, options.x, options.y, options.value, names=names, width=width)
    save_figure(figure, options.out, {"first": provenance(first), "second": provenance(second)})
    return _written(options.out)


def _curves(options: argparse.Namespace) -> int:
    """Draw the share of seeds that fail and every other metric against the task number, with the spread over seeds."""
    _check_out(options.out, ENDINGS)
    width, criterion = _width(options), options_from(LossCriterion, options)
    pooled = with_criterion(with_fresh_pool(load_cells(options.dir), criterion), criterion)
    cells = select(pooled, parse_where(options.where))
    by_configuration(cells, MAX_CURVES)  # refuses too many configurations before their tasks are read
    tasks = load_tasks(options.dir, ["cell", "task", *measured_metrics(cells)], where=parse_where(options.where))
    save_figure(plot_curves(cells, tasks, raw=options.raw, width=width), options.out, provenance(cells))
    return _written(options.out)


def _layers(options: argparse.Namespace) -> int:
    """Draw the metrics of each layer against the task number, mean over seeds."""
    _check_out(options.out, ENDINGS)
    width = _width(options)
    cells = select(load_cells(options.dir), parse_where(options.where))
    by_configuration(cells, MAX_COLUMNS)
    layered = [name for name in measured_metrics(cells) if METRICS[name].per_layer]
    figure = plot_layers(blocks_of(cells, options.dir, layered), width=width)
    save_figure(figure, options.out, provenance(cells))
    return _written(options.out)


def _plots(options: argparse.Namespace) -> int:
    """Draw the six plots of the single-file script for one cell."""
    local_path(options.out)
    cells = load_cells(options.dir)
    chosen = cells[cells["cell"].str.startswith(options.cell)]
    if len(chosen) != 1:
        raise AnalysisError(
            f"--cell must be the id of one finished cell, or its beginning, got {options.cell!r}: {len(chosen)} match"
        )
    (block,) = blocks_of(chosen, options.dir)
    folder = Path(options.out)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        results = script_frame({name: values[0] for name, values in block.metrics.items()})
        paths = save_script_plots(results, chosen["stream"].iloc[0], folder)
    return _written(comma_list(map(str, paths)))


def _scores(options: argparse.Namespace) -> int:
    """Write one row of scores per cell."""
    _check_out(options.out, TABLE_ENDINGS)
    return _write_table(_scored(options, options.dir), options.out, "cells")


def _report(options: argparse.Namespace) -> int:
    """Write one page that shows the sweep in a browser, offline: maps to choose from, and each cell in detail."""
    _check_out(options.out, (".html",))
    criterion = options_from(LossCriterion, options)
    write_report(options.dir, options.out, where=parse_where(options.where), criterion=criterion)
    return _written(options.out)


def _check_out(out: str, endings: tuple[str, ...]) -> None:
    check_ending(out, endings)
    local_path(out)


def _scored(options: argparse.Namespace, directory: str, *, slopes: bool = True) -> pd.DataFrame:
    """Score a directory, and say so if cells are judged by the loss before the last update, as in old directories."""
    criterion = options_from(LossCriterion, options)
    scored = score(directory, where=parse_where(options.where), slopes=slopes, criterion=criterion)
    before = int((scored["loss"] == "final_ce").sum())
    if before:
        remark(
            f"{directory}: {before:,} of {len(scored):,} cells are judged by final_ce, the loss before the last "
            "update, because end_ce was not measured in all of their tasks"
        )
    return scored


def _width(options: argparse.Namespace) -> float | None:
    width: float | None = options.width
    check_width(width)
    return width


def _title(directory: str) -> str:
    sweep = open_store(directory).read_sweep()
    return printable(f"Loss of plasticity: {sweep['space']}") if sweep else ""


def _write_table(frame: pd.DataFrame, out: str, what: str) -> int:
    buffer = io.BytesIO()
    if out.endswith(".csv"):
        frame.to_csv(buffer, index=False)
    else:
        frame.to_parquet(buffer, index=False)
    with writing(Path(out)):
        write_bytes(Path(out), buffer.getvalue())
    remark(f"{len(frame):,} {what} -> {out}")
    return 0


def _written(out: str) -> int:
    remark(f"-> {out}")
    return 0
