"""The command `lop-sweep`: parse arguments, call the library, print the result."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lop_sweep import runtime
from lop_sweep.cli_refine import REFINE_HELP, add_refine, budget_line, refine
from lop_sweep.cli_trackers import LOG_HELP, TrackerOptions, log_sweep, tracked
from lop_sweep.config import FIELDS, CellConfig, FieldInfo
from lop_sweep.console import signals
from lop_sweep.console.arguments import OneLineParser, run_command
from lop_sweep.console.options import add_options, check_options, option, options_from
from lop_sweep.console.terminal import check_output, log_to_stderr, remark, say, write_output
from lop_sweep.errors import ConfigError, SweepError, single_line
from lop_sweep.script import results_frame, summarise
from lop_sweep.script.engines import ENGINES, make_experiment
from lop_sweep.tune import Outcome, SweepOptions
from lop_sweep.version import __version__


@dataclass(frozen=True)
class RunOptions:
    """The options of `lop-sweep run` beside the fields of the cell."""

    engine: str = option("fast", "implementation", choices=ENGINES)
    dtype: str = option("float64", "precision of training", choices=runtime.DTYPES)
    device: str = option("cpu", "cpu (default) or cuda")
    out: str = option("out", "where the files go", metavar="DIR")
    progress: bool = option(True, "show a progress bar")


@dataclass(frozen=True)
class StatusOptions:
    """The options of `lop-sweep status`."""

    json: bool = option(False, "print a JSON object")


@dataclass(frozen=True)
class AuditOptions:
    """The options of `lop-sweep audit`."""

    repair: bool = option(False, "set broken files aside; the next sweep computes their cells again")


@dataclass(frozen=True)
class PlanOptions:
    """The options of `lop-sweep plan` beside some of `SweepOptions`."""

    budget: str | None = option(None, "say what lop-sweep refine would cost instead", metavar="N|TIME")
    resolution: int = option(65, "with --budget, values along each range", at_least=2)

    def __post_init__(self) -> None:
        check_options(self, SweepError)


_PLANNED = ("cpus", "dtype", "pack", "batch", "keep_state")
"""The options of `lop-sweep plan`, of those in `SweepOptions`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 1 not everything is finished, 2 bad input."""
    log_to_stderr(logging.INFO)
    return run_command(make_parser(), arguments)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of `lop-sweep`."""
    parser = OneLineParser(prog="lop-sweep", description="Sweeps that find out where networks lose plasticity.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add_command(name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:  # noqa: A002
        command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=run.__doc__)
        command.set_defaults(run=run)
        return command

    sweep = add_command("sweep", _sweep, "run what is missing of a search space")
    sweep.add_argument("space", metavar="SPACE", help="a search-space file, which is executed, or a shipped one's name")
    sweep.add_argument("--out", required=True, metavar="DIR", help="the sweep directory; run again to continue")
    add_options(sweep, SweepOptions)
    add_options(sweep, TrackerOptions)
    sweep.set_defaults(interruptible=False)  # it handles signals itself

    add_refine(add_command("refine", refine, REFINE_HELP))

    plan = add_command("plan", _plan, "say what a sweep would compute and what it costs; start nothing")
    plan.add_argument("space", metavar="SPACE", help="as for sweep")
    plan.add_argument("--out", metavar="DIR", help="the sweep directory, if something may be there already")
    add_options(plan, SweepOptions, _PLANNED)
    add_options(plan, PlanOptions)

    for name, command, options, text in (
        ("status", _status, StatusOptions, "show the state of a sweep"),
        ("audit", _audit, AuditOptions, "check every guarantee of a sweep directory"),
        ("compact", _compact, None, "merge the files of finished packs"),
        ("log", log_sweep, TrackerOptions, LOG_HELP),
    ):
        added = add_command(name, command, text)
        added.add_argument("dir", metavar="DIR", help="the sweep directory")
        if options:
            add_options(added, options)

    copied = add_command("copy", _copy, "copy a sweep to another directory or bucket")
    copied.add_argument("source", metavar="SRC", help="the sweep directory")
    copied.add_argument("target", metavar="DST", help="where to; an earlier copy is completed")

    listed = add_command("components", _components, "list activations, optimizers, metrics, ... to choose from")
    listed.add_argument("wanted", nargs="*", metavar="KIND|NAME", help="only those of a kind, or of a name")
    listed.add_argument("--space", metavar="SPACE", help="with those of a search-space file, which is executed")

    run = add_command("run", _run, "run one cell, like the script")
    for info in FIELDS.values():
        add_field(run, info)
    for name in ("sat_bias", "sat_weight_scale"):
        flags = (f"--{name}", f"--{name.replace('_', '-')}")
        run.add_argument(*flags, type=float, help="accepted because the script does; has no effect")
    add_options(run, RunOptions)
    return parser


def add_field(parser: argparse.ArgumentParser, info: FieldInfo) -> None:
    """Add the flags of a configuration field: its name, with dashes too, and the script's."""
    names = [info.name, info.name.replace("_", "-"), info.flag]
    default = "as --steps" if info.default is None else "none" if info.default == "" else info.default
    parser.add_argument(
        *dict.fromkeys(f"--{name}" for name in names),
        dest=info.name,
        type=_boolean if info.type is bool else info.type,
        metavar={int: "N", float: "X", str: "NAME", bool: "true|false"}[info.type],
        default=argparse.SUPPRESS,
        help=f"{info.description} (default {default})".replace("%", "%%"),
    )


def _boolean(text: str) -> bool:
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"must be true or false, got {text!r}")
    return values[text.lower()]


def _sweep(arguments: argparse.Namespace) -> int:
    """Run what is missing of a search space into a sweep directory; exit status 0 only if every cell is complete."""
    from lop_sweep.planning import load_space
    from lop_sweep.tune import run_sweep

    check_output()
    options = options_from(SweepOptions, arguments)
    with signals.unblocked():  # it may start programs
        space = load_space(arguments.space)
    with tracked(arguments) as tracking:
        outcome: Outcome = run_sweep(space, arguments.out, on_pack=tracking.notify, **vars(options))
        tracking.finish(hurry=outcome.signal is not None)
    status = outcome.status
    failed = f"{status.failed} failed, " if status.failed else ""
    say(
        f"{status.finished} of {status.cells} cells finished, {status.diverged} diverged, {failed}"
        f"{status.missing + status.running} missing; "
        f"{outcome.computed} computed now in {outcome.seconds:.0f} s -> {arguments.out}"
    )
    if status.complete:
        return 0
    if outcome.gave_up:
        remark(f"gave up: {outcome.gave_up}")
    how = (
        "what is missing, from the checkpoints" if outcome.signal or not status.failed else "what is missing or failed"
    )
    remark(f"run the same command again to compute {how}")
    return signals.exit_status(outcome.signal) if outcome.signal else 1


def _plan(arguments: argparse.Namespace) -> int:
    """Say what a sweep would compute: new cells, those continued, the time by the cost model, and files."""
    from lop_sweep.planning import Sizing, load_space, plan_lines, preview
    from lop_sweep.tune.session import local_cpus

    options, planned = options_from(SweepOptions, arguments), options_from(PlanOptions, arguments)
    with signals.unblocked():  # it may start programs
        space = load_space(arguments.space, lattice=planned.resolution if planned.budget else None)
    if planned.budget:
        sizing = Sizing(dtype=options.dtype)
        costs = [sizing.seconds_left(cell, 0, 0, 1) for cell in space.cells]
        say(f"{space.name}: {budget_line(planned.budget, space.cells, costs)}")
        return 0
    sizing = Sizing(options.cpus or local_cpus(), options.dtype, cells=options.pack, batch=options.batch)
    for line in plan_lines(preview(space, arguments.out, sizing), options.keeps_states(space.cells)):
        say(line)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    """Show the state of a sweep: its cells, its driver, the time left, and what failed."""
    from lop_sweep.planning import status_json, status_lines, sweep_status
    from lop_sweep.storage import Store

    status = sweep_status(Store(arguments.dir))
    if options_from(StatusOptions, arguments).json:
        write_output(json.dumps(status_json(status)) + "\n")
        return 0
    for line in status_lines(status):
        say(line)
    return 0


def _audit(arguments: argparse.Namespace) -> int:
    """Check every guarantee of a sweep directory on its files; exit status 0 if all hold, 1 if not."""
    from lop_sweep.storage import Store
    from lop_sweep.storage.maintenance.audit import audit, repair

    store, options = Store(arguments.dir), options_from(AuditOptions, arguments)
    report, moved = repair(store) if options.repair else (audit(store), [])
    for line in (*report.findings, *report.notes):
        say(str(line))
    say(
        f"{report.files:,} files, {report.cells:,} cells, {report.rows:,} rows of tasks: "
        + (f"{len(report.findings):,} problem{'s' * (len(report.findings) > 1)}" if report.findings else "no problem")
    )
    if options.repair:
        say(f"{len(moved):,} files set aside in {store.root / 'aside'}; run the same lop-sweep sweep again")
    return 1 if report.findings else 0


def _compact(arguments: argparse.Namespace) -> int:
    """Merge the files of finished packs into a few large ones; a sweep may run meanwhile."""
    from lop_sweep.storage import Store
    from lop_sweep.storage.maintenance import compact

    done = compact(Store(arguments.dir))
    say(f"{done.packs:,} packs: {done.before:,} pairs of files before, {done.after:,} now -> {arguments.dir}")
    return 0


def _copy(arguments: argparse.Namespace) -> int:
    """Copy a sweep between directories and object stores, and compare every file with its source afterwards."""
    from lop_sweep.storage import Store
    from lop_sweep.storage.maintenance import copy_sweep

    done = copy_sweep(Store(arguments.source), Store(arguments.target))
    there = done.files - done.written
    say(
        f"{done.written:,} files copied and compared, {done.bytes / 1e6:,.1f} MB"
        + (f"; {there:,} were there already" if there else "")
        + f" -> {arguments.target}"
    )
    return 0


def _components(arguments: argparse.Namespace) -> int:
    """List every component with its definition, its hyperparameters with their defaults, and its source."""
    from lop_sweep.components.listing import component_text, described

    if arguments.space:
        from lop_sweep.planning import load_space

        with signals.unblocked():  # it may start programs
            load_space(arguments.space)
    write_output("\n".join(component_text(described(arguments.wanted, own=bool(arguments.space)))))
    return 0


def _run(arguments: argparse.Namespace) -> int:
    """Run one cell: write the script's CSV, summary and plots to --out, and print the summary as JSON.

    How it was computed (device, BLAS and its kernels, versions) is written to numerics.json in the same folder.
    """
    from tqdm import tqdm

    from lop_sweep.script.plots import save_script_plots
    from lop_sweep.storage import local_path, writable_folder, writing

    check_output()
    options = options_from(RunOptions, arguments)
    folder = local_path(options.out)
    config = CellConfig(**{field: getattr(arguments, field) for field in FIELDS if field in arguments})
    runtime.limit_threads()
    try:
        experiment = make_experiment(config, options.engine, options.dtype, options.device)
    except (MemoryError, RuntimeError) as error:
        raise ConfigError(
            f"a network of {config.depth} x {config.width} units cannot be made: {single_line(error)}"
        ) from error
    how = {"engine": options.engine, "dtype": options.dtype, "device": experiment.device}
    out = writable_folder(folder)
    bar = tqdm(range(config.tasks), unit=" tasks", disable=None if options.progress else True)
    results = results_frame([experiment.run_task() for _ in bar])
    summary = json.dumps(summarise(results, experiment.run_fresh_baseline()), indent=2)
    with writing(out):
        results.to_csv(out / "lop_fixed_regime_results.csv", index=False)
        (out / "summary.json").write_text(summary + "\n")
        (out / "numerics.json").write_text(json.dumps({**how, **runtime.describe_numerics()}, indent=2) + "\n")
        save_script_plots(results, config.stream, out)
    write_output(summary + "\n")
    return 0
