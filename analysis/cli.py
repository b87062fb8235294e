"""The command `lop-analysis`: scores, maps, curves and a report from a sweep directory."""

from __future__ import annotations

import argparse
import io
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.data import (
    Where,
    blocks_of,
    by_configuration,
    load_cells,
    load_requested,
    load_tasks,
    open_store,
    parse_where,
    select,
)
from analysis.options import add_criterion_options, criterion_from
from analysis.plot import (
    CATEGORIES,
    EFFECTS,
    ENDINGS,
    MAX_COLUMNS,
    MAX_CURVES,
    VALUES,
    check_axes,
    check_ending,
    map_value,
    plot_curves,
    plot_difference,
    plot_layers,
    plot_map,
    provenance,
    save_figure,
)
from analysis.report import write_report
from analysis.scoring import check_fields, score_sweep, symptom_table
from lop_sweep.console.arguments import OneLineParser, run_command
from lop_sweep.console.terminal import log_to_stderr, remark
from lop_sweep.errors import AnalysisError, comma_list, printable
from lop_sweep.metrics import LAYERED, METRICS
from lop_sweep.script import script_frame
from lop_sweep.script.plots import save_script_plots
from lop_sweep.storage import local_path, write_bytes, writing
from lop_sweep.version import __version__

_TABLE_ENDINGS = (".csv", ".parquet")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 2 bad input."""
    log_to_stderr(logging.WARNING)
    return run_command(_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    where = OneLineParser(add_help=False)
    where.add_argument(
        "--where", action="append", default=[], metavar="FIELD=VALUE", help="only these cells; may be repeated"
    )
    one = OneLineParser(add_help=False)
    one.add_argument("dir", metavar="DIR", help="a sweep directory")
    decidable = OneLineParser(add_help=False)
    add_criterion_options(decidable)
    drawn = OneLineParser(add_help=False)
    drawn.add_argument("--x", required=True, metavar="FIELD", help="the horizontal axis, lr for example")
    drawn.add_argument("--y", required=True, metavar="FIELD", help="the vertical axis, depth for example")
    drawn.add_argument(
        "--width", type=float, metavar="INCHES", help="for print: 3.4 for a paper's column, 7 for its page"
    )

    parser = OneLineParser(prog="lop-analysis", description="Loss-of-plasticity analysis of a sweep directory.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    maps = commands.add_parser(
        "map", parents=[one, where, decidable, drawn], help="a score over two axes", description=_map.__doc__
    )
    maps.add_argument(
        "--value", default="excess", metavar="SCORE[,SCORE]",
        help=f"one of {comma_list([*VALUES, *CATEGORIES])} (default excess); several stand side by side; "
        f"'causes' stands for {comma_list(EFFECTS)}",
    )  # fmt: skip
    _add_out(maps, _map, "map.png")

    difference = commands.add_parser(
        "difference", parents=[where, decidable, drawn], help="what changes between two sweeps",
        description=_difference.__doc__,
    )  # fmt: skip
    difference.add_argument("dir", metavar="FIRST", help="a sweep directory")
    difference.add_argument("second", metavar="SECOND", help="another one")
    difference.add_argument(
        "--value", default="excess", metavar="SCORE", help=f"one of {comma_list(VALUES)} (default excess)"
    )
    _add_out(difference, _difference, "difference.png")

    curves = commands.add_parser(
        "curves", parents=[one, where], help="measures task by task", description=_curves.__doc__
    )
    _add_out(curves, _curves, "curves.png")
    layers = commands.add_parser("layers", parents=[one, where], help="task x layer", description=_layers.__doc__)
    _add_out(layers, _layers, "layers.png")

    plots = commands.add_parser("plots", parents=[one], help="the script's six plots", description=_plots.__doc__)
    plots.add_argument("--cell", required=True, metavar="ID", help="a cell's id, or how it begins")
    plots.add_argument("--out", required=True, metavar="FOLDER", help="where the six files go")
    plots.set_defaults(run=_plots)

    scores = commands.add_parser(
        "scores", parents=[one, where, decidable], help="a row per cell", description=_scores.__doc__
    )
    _add_out(scores, _scores, None, "a .csv or .parquet file")
    symptoms = commands.add_parser(
        "symptoms",
        parents=[one, where, decidable],
        help="how often they come with a loss",
        description=_symptoms.__doc__,
    )
    symptoms.add_argument(
        "--by", action="append", default=[], metavar="FIELD[,FIELD]", help="divide the cells by these fields"
    )
    _add_out(symptoms, _symptoms, None, "a .csv or .parquet file")

    report = commands.add_parser(
        "report", parents=[one, where, decidable], help="a page to explore", description=_report.__doc__
    )
    _add_out(report, _report, "report.html", "an .html file")
    return parser


def _add_out(
    parser: argparse.ArgumentParser, run: object, default: str | None, what: str = "a .png, .pdf or .svg file"
) -> None:
    note = f"{what} (default {default})" if default else what
    parser.add_argument("--out", required=default is None, default=default, metavar="FILE", help=note)
    parser.set_defaults(run=run)


def _map(options: argparse.Namespace) -> int:
    """Draw scores over two axes: seeds summarised, other axes as panels."""
    _check_out(options.out, ENDINGS)
    check_axes(options.x, options.y)
    values = list(EFFECTS) if options.value == "causes" else list(dict.fromkeys(options.value.split(",")))
    for value in values:
        map_value(value)
    criterion, where, width = criterion_from(options), parse_where(options.where), _width(options)
    scored = score_sweep(options.dir, where, criterion, slopes="slope" in values)
    requested = select(load_requested(options.dir), where, required=False)
    figure = plot_map(scored, options.x, options.y, values, criterion, _title(options.dir), requested, width=width)
    save_figure(figure, options.out, provenance(options.dir, scored, criterion, where))
    return _written(options.out)


def _difference(options: argparse.Namespace) -> int:
    """Draw a score of the second sweep minus that of the first, with what is sure to differ marked."""
    _check_out(options.out, ENDINGS)
    check_axes(options.x, options.y)
    map_value(options.value)
    criterion, where, width = criterion_from(options), parse_where(options.where), _width(options)
    slopes = options.value == "slope"
    first, second = (score_sweep(folder, where, criterion, slopes) for folder in (options.dir, options.second))
    names = Path(options.dir).resolve().name, Path(options.second).resolve().name
    figure = plot_difference(first, second, options.x, options.y, options.value, criterion, names, width=width)
    made = {name: provenance(folder, scored, criterion, where)
            for name, folder, scored in zip(("first", "second"), (options.dir, options.second), (first, second),
                                            strict=True)}  # fmt: skip
    save_figure(figure, options.out, made)
    return _written(options.out)


def _curves(options: argparse.Namespace) -> int:
    """Draw every measure against the task number, with the spread over seeds."""
    _check_out(options.out, ENDINGS)
    cells, where = _cells(options)
    by_configuration(cells, MAX_CURVES)  # refuses what is too much before it is read
    tasks = load_tasks(options.dir, ["cell", "task", *METRICS], where=where)
    save_figure(plot_curves(cells, tasks), options.out, provenance(options.dir, cells, where=where))
    return _written(options.out)


def _layers(options: argparse.Namespace) -> int:
    """Draw effective rank and duplicate features of each layer against the task number, mean over seeds."""
    _check_out(options.out, ENDINGS)
    cells, where = _cells(options)
    by_configuration(cells, MAX_COLUMNS)
    figure = plot_layers(blocks_of(cells, options.dir, LAYERED))
    save_figure(figure, options.out, provenance(options.dir, cells, where=where))
    return _written(options.out)


def _plots(options: argparse.Namespace) -> int:
    """Draw the six plots of the single-file script for one cell."""
    local_path(options.out)
    cells = load_cells(options.dir)
    chosen = cells[cells["cell"].str.startswith(options.cell)]
    if len(chosen) != 1:
        raise AnalysisError(
            f"--cell {options.cell!r}: is how the ids of {len(chosen)} finished cells begin, not of one"
        )
    (block,) = blocks_of(chosen, options.dir)
    folder = Path(options.out)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        paths = save_script_plots(script_frame({name: values[0] for name, values in block.metrics.items()}), folder)
    return _written(comma_list(map(str, paths)))


def _scores(options: argparse.Namespace) -> int:
    """Write one row of scores per cell."""
    _check_out(options.out, _TABLE_ENDINGS)
    scored = score_sweep(options.dir, parse_where(options.where), criterion_from(options))
    return _write_table(scored, options.out, "cells")


def _symptoms(options: argparse.Namespace) -> int:
    """Write how many of the cells that lost plasticity, and of those that kept it, have each symptom."""
    _check_out(options.out, _TABLE_ENDINGS)
    by = [field for text in options.by for field in text.split(",")]
    check_fields(by)
    scored = score_sweep(options.dir, parse_where(options.where), criterion_from(options))
    return _write_table(symptom_table(scored, by), options.out, "rows")


def _report(options: argparse.Namespace) -> int:
    """Write one page that shows the sweep in a browser, offline: maps to choose, cells to look into."""
    _check_out(options.out, (".html",))
    write_report(options.dir, options.out, criterion_from(options), parse_where(options.where))
    return _written(options.out)


def _check_out(out: str, endings: tuple[str, ...]) -> None:
    check_ending(out, endings)
    local_path(out)


def _cells(options: argparse.Namespace) -> tuple[pd.DataFrame, Where]:
    where = parse_where(options.where)
    return select(load_cells(options.dir), where), where


def _width(options: argparse.Namespace) -> float | None:
    width: float | None = options.width
    if width is not None and not 2 <= width <= 60:
        raise AnalysisError(f"--width {width:g}: must be from 2 to 60 inches; a paper's column has 3.4")
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
