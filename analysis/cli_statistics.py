"""The statistics among the commands of `lop-analysis`: survival, effects, symptoms, compare, power, specification.

Each prints a table, and writes it to the file that `--out` names. Random numbers are seeded with 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import statistics
from analysis.data import blocks_of, check_fields, format_fields, load_cells, parse_where, select
from analysis.plot import (
    ENDINGS,
    check_ending,
    check_width,
    plot_collapse,
    plot_comparison,
    plot_effects,
    plot_points,
    plot_specification,
    plot_survival,
    provenance,
    save_figure,
)
from analysis.scoring import (
    CRITERION_FIELDS,
    LossCriterion,
    failed,
    judged_loss,
    score,
    symptom_table,
    with_fresh_pool,
)
from analysis.scoring.scores import lost_state
from analysis.statistics.frames import check_share
from analysis.statistics.survival import BLOCK_TASKS
from analysis.statistics.symptoms import HORIZON_TASKS
from lop_sweep.console.arguments import OneLineParser
from lop_sweep.console.options import options_from
from lop_sweep.console.terminal import remark, say
from lop_sweep.errors import AnalysisError, comma_list
from lop_sweep.storage import local_path

MAX_PRINTED_ROWS = 40
TABLE_ENDINGS = (".csv", ".parquet")

Add = Callable[..., OneLineParser]
"""Adds a command: what it runs, its help, and parsers with options that it shares with others."""


@dataclass(frozen=True)
class StatisticsCommands:
    """The commands, with what they share with the others.

    Attributes:
        scored: scores a directory by the parsed options.
        write: writes a table to a file, and says how many of what it has.
    """

    scored: Callable[..., pd.DataFrame]
    write: Callable[[pd.DataFrame, str, str], int]

    def add(self, add: Add, directory: OneLineParser, where: OneLineParser, criterion: OneLineParser) -> None:
        """Add the commands to a parser."""
        shared = directory, where, criterion
        command = add(self.survival, "when plasticity is lost", *shared)
        _add_fields(command, "--by", "one curve or row per combination of these fields")
        _add_fields(command, "--within", "fields to stratify the test by")
        _add_table(command, ("summary", "curve", "lost", "hazard", "test", "state"))
        command.add_argument(
            "--at", default="25,50,100", metavar="TASK[,TASK]", help="the tasks of 'lost' (default 25,50,100)"
        )
        command.add_argument(
            "--block",
            type=int,
            default=BLOCK_TASKS,
            metavar="N",
            help=f"tasks per row of 'hazard' (default {BLOCK_TASKS})",
        )
        _add_figure(command, "Kaplan-Meier curves")
        command = add(self.effects, "which axes move the failure rate", *shared)
        _add_table(command, ("regression", "collapse"))
        command.add_argument(
            "--terms", metavar="TERM[,TERM]",
            help="regressors: FIELD, 'log FIELD', \"d'\", joined by ':' for an interaction (default: all that vary)",
        )  # fmt: skip
        command.add_argument(
            "--response",
            choices=statistics.RESPONSES,
            help="what is explained (default: failures where they are known)",
        )
        _add_figure(command, "odds ratios with their intervals, or what each combination explains")
        command = add(self.symptoms, "how often symptoms come with a loss", *shared)
        _add_fields(command, "--by", "divide the cells of 'counts' by these fields")
        _add_table(command, ("counts", "odds", "lead"))
        command.add_argument(
            "--horizon",
            type=int,
            default=HORIZON_TASKS,
            metavar="N",
            help=f"tasks ahead, for 'lead' (default {HORIZON_TASKS})",
        )
        command = add(self.compare, "whether two conditions differ, or are the same", *shared)
        command.add_argument("second", nargs="?", metavar="SECOND", help="another sweep directory")
        command.add_argument("--between", metavar="FIELD=A,B", help="compare two values of a field within DIR")
        _add_table(command, ("summary", "points"))
        command.add_argument(
            "--tolerance", type=float, default=statistics.MARGIN, metavar="X",
            help=f"failures per task that count as no difference (default {statistics.MARGIN:g})",
        )  # fmt: skip
        _add_figure(command, "the differences with their intervals, or a map of the points")
        self._add_power(add, where, criterion)
        command = add(self.specification, "how far results depend on the definition of lost", *shared)
        command.add_argument(
            "--vary", action="append", required=True, metavar="THRESHOLD=VALUE[,VALUE]",
            help=f"may be repeated; thresholds: {comma_list(CRITERION_FIELDS)}",
        )  # fmt: skip
        _add_figure(command, "the specification curve")
        _add_out(command)

    def _add_power(self, add: Add, where: OneLineParser, criterion: OneLineParser) -> None:
        command = add(self.power, "how many tasks, fresh networks and seeds a difference needs", where, criterion)
        command.add_argument("dir", nargs="?", metavar="DIR", help="a sweep directory, whose design is judged")
        for flag, default, text in (
            ("--detect", 0.2, "difference of failure rates to detect"),
            ("--reach", 0.8, "power to reach"),
            ("--fresh-rate", 0.02, "failure rate of fresh networks, without DIR"),
        ):
            command.add_argument(flag, type=float, default=default, metavar="X", help=f"{text} (default {default:g})")
        for flag, default, text in (("--late-tasks", 25, "late tasks"), ("--fresh-networks", 160, "fresh networks")):
            command.add_argument(
                flag, type=int, default=int(default), metavar="N", help=f"{text}, without DIR (default {default})"
            )
        _add_out(command)

    def survival(self, options: argparse.Namespace) -> int:
        """Show when plasticity is lost: Kaplan-Meier curves, hazards, the log-rank test, and relapses."""
        _check_outs(options)
        by, within = _fields(options.by), _fields(options.within)
        at = _numbers("--at", options.at)
        scored = self.scored(options, options.dir, slopes=False)
        tables: Mapping[str, Callable[[], pd.DataFrame]] = {
            "summary": lambda: statistics.onset_summary(scored, by),
            "curve": lambda: statistics.kaplan_meier(scored, by),
            "lost": lambda: statistics.lost_by(scored, at, by),
            "hazard": lambda: statistics.hazard(scored, by, block=options.block),
            "test": lambda: statistics.logrank(scored, by, within=within),
            "state": lambda: _state_table(options, scored, by),
        }
        table = tables[options.table]()
        if options.figure:
            figure = plot_survival(statistics.kaplan_meier(scored, by), width=options.width)
            save_figure(figure, options.figure, provenance(scored))
            remark(f"-> {options.figure}")
        return self._show(table, options.out)

    def effects(self, options: argparse.Namespace) -> int:
        """Show which axes move the failure rate: a regression with seeds as clusters, or what collapses the edge."""
        _check_outs(options)
        scored = self.scored(options, options.dir, slopes=False)
        if options.table == "collapse":
            table, plot = statistics.collapse(scored, response=options.response), plot_collapse
        else:
            terms = [term.strip() for term in options.terms.split(",")] if options.terms else None
            table, plot = statistics.regression(scored, terms, response=options.response), plot_effects
        if options.figure:
            save_figure(plot(table, width=options.width), options.figure, provenance(scored))
            remark(f"-> {options.figure}")
        return self._show(table, options.out)

    def symptoms(self, options: argparse.Namespace) -> int:
        """Show how often symptoms come with a loss: counts, odds within configurations, or prediction ahead in time."""
        _check_outs(options)
        by = _fields(options.by)
        scored = self.scored(options, options.dir, slopes=False)
        tables: Mapping[str, Callable[[], pd.DataFrame]] = {
            "counts": lambda: symptom_table(scored, by),
            "odds": lambda: statistics.symptom_odds(scored),
            "lead": lambda: statistics.symptom_lead(scored, horizon=options.horizon),
        }
        return self._show(tables[options.table](), options.out)

    def compare(self, options: argparse.Namespace) -> int:
        """Compare two directories, or two values of a field, paired over configurations and seeds."""
        _check_outs(options)
        check_share("--tolerance", options.tolerance)
        if (options.second is None) == (options.between is None):
            given = "got neither" if options.second is None else "got both"
            raise AnalysisError(f"give a second directory, or --between FIELD=A,B for two values within one; {given}")
        first = self.scored(options, options.dir, slopes=False)
        if options.second is not None:
            second = self.scored(options, options.second, slopes=False)
            names = [options.dir, options.second]
        else:
            ((field, values),) = parse_where([options.between]).items()
            if len(values) != 2:
                raise AnalysisError(
                    f"--between {options.between}: must name two values, got {len(values)}; write {field}=A,B"
                )
            first, second = statistics.conditions(first, field, values[0], values[1])
            names = [format_fields({field: value}) for value in values]
        pairs, rng = statistics.pair(first, second), np.random.default_rng(0)
        differ = comma_list(pairs.attrs["compared"]) if options.second is not None else ""
        remark(
            f"first: {names[0]}; second: {names[1]}" + (f"; they differ in {differ}" if differ else "")
            + f"; {len(pairs):,} pairs of networks with the same seed that agree in all else"
        )  # fmt: skip
        if pairs.attrs["unpaired"]:
            remark(f"{pairs.attrs['unpaired']} networks have no partner and are left out")
        title = " minus ".join(reversed(sweep_names(*names) if options.second is not None else names))
        draw: Callable[[], Figure]
        if options.table == "points":
            table = statistics.compare_points(pairs, rng)
            lines = statistics.explain_points(table)
            draw = partial(plot_points, table, title, width=options.width)
        else:
            table = statistics.compare(pairs, rng, margin=options.tolerance)
            lines = statistics.explain(table, margin=options.tolerance)
            draw = partial(plot_comparison, table, title, margin=options.tolerance, width=options.width)
        if options.figure:
            made = {"first": provenance(first), "second": provenance(second), "tolerance": options.tolerance}
            save_figure(draw(), options.figure, made)
            remark(f"-> {options.figure}")
        code = self._show(table, options.out)
        for line in lines:
            remark(line)
        return code

    def power(self, options: argparse.Namespace) -> int:
        """Show what the test of failure rates can detect, and what a difference needs."""
        _check_outs(options)
        criterion = options_from(LossCriterion, options)
        test = statistics.RateTest(criterion.alpha, criterion.difference)
        if options.dir is not None:
            scored = self.scored(options, options.dir, slopes=False)
        else:
            known = {
                "late_tasks": options.late_tasks, "fresh_networks": options.fresh_networks,
                "fresh_failure_rate": options.fresh_rate,
            }  # fmt: skip
            scored = pd.DataFrame([known])
        table = statistics.sweep_power(scored, options.detect, power=options.reach, test=test)
        return self._show(table if options.dir is not None else table.drop(columns="cells"), options.out)

    def specification(self, options: argparse.Namespace) -> int:
        """Score the sweep by every combination of thresholds, and show what becomes of verdicts and of the edge."""
        _check_outs(options)
        grid = dict(_varied(text) for text in options.vary)
        base = options_from(LossCriterion, options)
        where = parse_where(options.where)

        def scored(**thresholds: Any) -> pd.DataFrame:
            return score(options.dir, where=where, slopes=False, criterion=base, **thresholds)

        table = statistics.specification_curve(scored, grid, rng=np.random.default_rng(0))
        if options.figure:
            made = provenance(select(load_cells(options.dir), where)) | {"varied": grid}
            save_figure(plot_specification(table, width=options.width), options.figure, made)
            remark(f"-> {options.figure}")
        return self._show(table, options.out)

    def _show(self, table: pd.DataFrame, out: str | None) -> int:
        shown = table.head(MAX_PRINTED_ROWS)
        for line in shown.to_string(index=False, float_format="{:.4g}".format, na_rep="-").split("\n"):
            say(line)
        if len(shown) < len(table):
            say(f"... {len(table) - len(shown):,} more rows; --out writes all of them")
        return self.write(table, out, "rows") if out else 0


def sweep_names(first: str, second: str) -> tuple[str, str]:
    """Return what to call two directories: their last components, or the paths as given where these are the same."""
    paths = Path(first).resolve(), Path(second).resolve()
    if paths[0].name == paths[1].name and paths[0] != paths[1]:
        return first, second
    return paths[0].name, paths[1].name


def _add_fields(parser: OneLineParser, flag: str, text: str) -> None:
    parser.add_argument(flag, action="append", default=[], metavar="FIELD[,FIELD]", help=text)


def _add_table(parser: OneLineParser, tables: Sequence[str]) -> None:
    parser.add_argument(
        "--table",
        choices=tables,
        default=tables[0],
        help=f"the table to show (default {tables[0]}); see docs/statistics.md",
    )
    _add_out(parser)


def _add_out(parser: OneLineParser) -> None:
    parser.add_argument("--out", metavar="FILE", help="also write it to a .csv or .parquet file")


def _add_figure(parser: OneLineParser, what: str) -> None:
    parser.add_argument("--figure", metavar="FILE", help=f"also draw {what}: a .png, .pdf or .svg file")
    parser.add_argument(
        "--width",
        type=float,
        metavar="INCHES",
        help="of the figure, for print: 3.4 for a paper's column, 7 for its page",
    )


def _check_outs(options: argparse.Namespace) -> None:
    """Refuse files that cannot be written before a long computation."""
    check_width(getattr(options, "width", None))
    for path, endings in ((options.out, TABLE_ENDINGS), (getattr(options, "figure", None), ENDINGS)):
        if path is not None:
            check_ending(path, endings)
            local_path(path)


def _fields(texts: Sequence[str]) -> list[str]:
    fields = [field for text in texts for field in text.split(",")]
    check_fields(fields)
    return fields


def _numbers(flag: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise AnalysisError(f"{flag} {text}: must be task numbers separated by commas, like 25,50") from None


def _varied(text: str) -> tuple[str, list[Any]]:
    """Return a threshold and its values from "margin=0.1,0.2"."""
    name, equals, values = (part.strip() for part in text.partition("="))
    if not equals or not values:
        raise AnalysisError(f"--vary {text!r} must be THRESHOLD=VALUE,VALUE, like margin=0.1,0.2")
    if name not in CRITERION_FIELDS:
        raise AnalysisError(f"--vary {text}: unknown threshold {name!r}; choose from: {comma_list(CRITERION_FIELDS)}")
    kind = CRITERION_FIELDS[name].type
    try:
        return name, [kind(part) for part in values.split(",")]
    except ValueError:
        raise AnalysisError(f"--vary {text}: values of {name} must be of type {kind.__name__}") from None


def _state_table(options: argparse.Namespace, scored: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the share of networks in the lost state at each task, with relapses.

    A task failed if its CE exceeds the median of the configuration's fresh networks, pooled over seeds, by the
    criterion's margin and factor.
    """
    criterion = options_from(LossCriterion, options)
    defined = scored.loc[scored["onset_status"] != "undefined", "cell"]
    cells = with_fresh_pool(load_cells(options.dir), criterion)
    cells = cells[cells["cell"].isin(defined)]
    if cells.empty:
        raise AnalysisError("no network has a defined onset: all diverged, lack a baseline or are too short")
    labels = list(dict.fromkeys([*by, *(["tasks"] if cells["tasks"].nunique() > 1 else [])]))
    states: dict[int, list[tuple[np.ndarray, pd.DataFrame]]] = {}
    for block in blocks_of(cells, options.dir, ["end_ce", "final_ce"]):
        baseline = block.cells["fresh_pooled_ce"].to_numpy(float)
        bad = failed(judged_loss(block)[0], baseline, criterion.margin, criterion.factor)
        state = lost_state(bad, criterion.hold, criterion.recover)
        states.setdefault(state.shape[1], []).append((state, block.cells[labels]))
    tables = [
        statistics.occupancy(np.concatenate([state for state, _ in parts]), pd.concat([label for _, label in parts]))
        for _, parts in sorted(states.items())
    ]
    return pd.concat(tables, ignore_index=True)
