"""The command `lop-sweep`: words in, words out."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence

from lop_sweep import runtime
from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.console import signals
from lop_sweep.console.arguments import OneLineParser, run_command
from lop_sweep.console.terminal import check_output, log_to_stderr, remark, say, write_output
from lop_sweep.errors import ConfigError, single_line
from lop_sweep.script import results_frame, summarise
from lop_sweep.script.engines import ENGINES, make_experiment
from lop_sweep.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 not everything is finished, 2 bad input."""
    log_to_stderr(logging.INFO)
    return run_command(_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="lop-sweep", description="Sweeps that find out where networks lose plasticity.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    sweep = commands.add_parser("sweep", help="run what is missing of a search space", description=_sweep.__doc__)
    sweep.add_argument(
        "space", metavar="SPACE", help="a search-space file (it is executed) or the name of a shipped one"
    )
    sweep.add_argument("--out", required=True, metavar="DIR", help="the sweep directory; run again to go on")
    sweep.add_argument("--address", metavar="ADDR", help="a Ray cluster to run on (default: a local Ray of its own)")
    sweep.add_argument("--cpus", type=int, metavar="N", help="CPUs of the local Ray (default: all)")
    sweep.add_argument("--dtype", default="float64", help="float64 (default) or float32")
    sweep.add_argument("--device", default="cpu", help="cpu (default), or cuda: one GPU a trial")
    sweep.add_argument(
        "--pack", type=int, metavar="N", help="cells that a trial runs together, at most (default: by what they cost)"
    )
    sweep.add_argument(
        "--tasks-per-report", type=int, metavar="N", help="tasks between two reports (default: by what they cost)"
    )
    sweep.add_argument(
        "--checkpoint-every", type=float, default=60.0, metavar="S", help="seconds between checkpoints (default 60)"
    )
    sweep.add_argument(
        "--max-failures", type=int, default=3, metavar="N", help="how often a failed trial is tried again (default 3)"
    )
    sweep.add_argument(
        "--keep-state",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="keep the last state of every cell, from which one with more tasks goes on (default: if all take < 1 GiB)",
    )
    sweep.add_argument("--retry-failed", action="store_true", help="compute only what kept failing before")
    sweep.add_argument("--no-progress", action="store_true", help="show no progress bar")
    sweep.set_defaults(run=_sweep, interruptible=False)  # it handles signals itself

    status = commands.add_parser("status", help="where a sweep stands", description=_status.__doc__)
    status.add_argument("dir", metavar="DIR", help="the sweep directory")
    status.add_argument("--json", action="store_true", help="as a JSON object")
    status.set_defaults(run=_status)

    audit = commands.add_parser("audit", help="check every promise of a sweep directory", description=_audit.__doc__)
    audit.add_argument("dir", metavar="DIR", help="the sweep directory")
    audit.add_argument(
        "--repair", action="store_true", help="set aside what is broken; the next sweep computes it again"
    )
    audit.set_defaults(run=_audit)

    compact = commands.add_parser("compact", help="merge the files of finished packs", description=_compact.__doc__)
    compact.add_argument("dir", metavar="DIR", help="the sweep directory")
    compact.set_defaults(run=_compact)

    run = commands.add_parser("run", help="run one cell, like the script", description=_run.__doc__)
    for field in FIELDS:
        _add_field(run, field)
    run.add_argument("--sat_bias", "--sat-bias", type=float, help="accepted as in the script; used by nothing")
    run.add_argument("--sat_weight_scale", "--sat-weight-scale", type=float, help="likewise")
    run.add_argument("--engine", default="fast", help=f"{' or '.join(ENGINES)} (default fast)")
    run.add_argument("--dtype", default="float64", help="float64 (default) or float32")
    run.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    run.add_argument("--out", default="out", metavar="DIR", help="where the files go (default: out)")
    run.add_argument("--no-progress", action="store_true", help="show no progress bar")
    run.set_defaults(run=_run)
    return parser


def _add_field(parser: argparse.ArgumentParser, field: str) -> None:
    info = FIELDS[field]
    names = [field, field.replace("_", "-"), info.flag]
    default = "as --steps" if info.default is None else info.default
    parser.add_argument(
        *dict.fromkeys(f"--{name}" for name in names),
        dest=field,
        type=info.type,
        metavar="X" if info.type is float else "N",
        default=argparse.SUPPRESS,
        help=f"{info.description} (default {default})".replace("%", "%%"),
    )


def _sweep(options: argparse.Namespace) -> int:
    """Run what is missing of a search space into a sweep directory; exit status 0 only if every cell is complete."""
    from lop_sweep.planning import load_space
    from lop_sweep.tune import SweepOptions, run_sweep

    check_output()
    settings = SweepOptions(
        address=options.address,
        cpus=options.cpus,
        dtype=options.dtype,
        device=options.device,
        pack=options.pack,
        tasks_per_report=options.tasks_per_report,
        checkpoint_every=options.checkpoint_every,
        max_failures=options.max_failures,
        keep_state=options.keep_state,
        retry_failed=options.retry_failed,
        progress=not options.no_progress,
    )
    with signals.unblocked():  # it may start programs
        space = load_space(options.space)
    outcome = run_sweep(space, options.out, settings)
    status = outcome.status
    failed = f"{status.failed} failed, " if status.failed else ""
    say(
        f"{status.finished} of {status.cells} cells finished, {status.diverged} diverged, {failed}"
        f"{status.missing + status.running} missing; "
        f"{outcome.computed} computed now in {outcome.seconds:.0f} s -> {options.out}"
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


def _status(options: argparse.Namespace) -> int:
    """Say where a sweep stands: its cells, who is at work, how long it will take, what failed."""
    from lop_sweep.planning import status_json, status_lines, sweep_status
    from lop_sweep.storage import Store

    status = sweep_status(Store(options.dir))
    if options.json:
        write_output(json.dumps(status_json(status)) + "\n")
        return 0
    for line in status_lines(status):
        say(line)
    return 0


def _audit(options: argparse.Namespace) -> int:
    """Check every promise of a sweep directory on its files; exit status 0 if all hold, 1 if not."""
    from lop_sweep.storage import Store
    from lop_sweep.storage.maintenance.audit import audit, repair

    store = Store(options.dir)
    report, moved = repair(store) if options.repair else (audit(store), [])
    for line in (*report.findings, *report.notes):
        say(str(line))
    say(
        f"{report.files:,} files, {report.cells:,} cells, {report.rows:,} rows of tasks: "
        + (f"{len(report.findings):,} problem{'s' * (len(report.findings) > 1)}" if report.findings else "no problem")
    )
    if options.repair:
        say(f"{len(moved):,} files set aside in {store.root / 'aside'}; the same lop-sweep sweep command goes on")
    return 1 if report.findings else 0


def _compact(options: argparse.Namespace) -> int:
    """Merge the files of finished packs into few large ones; may run beside a sweep."""
    from lop_sweep.storage import Store
    from lop_sweep.storage.maintenance import compact

    done = compact(Store(options.dir))
    say(f"{done.packs:,} packs: {done.before:,} pairs of files before, {done.after:,} now -> {options.dir}")
    return 0


def _run(options: argparse.Namespace) -> int:
    """Run one cell: the script's CSV, summary and plots into --out, the summary as JSON on standard output.

    How it was computed (device, BLAS and its kernels, versions) is written to numerics.json beside them.
    """
    from tqdm import tqdm

    from lop_sweep.script.plots import save_script_plots
    from lop_sweep.storage import writable_folder, writing

    check_output()
    config = CellConfig(**{field: getattr(options, field) for field in FIELDS if field in options})
    runtime.limit_threads()
    try:
        experiment = make_experiment(config, options.engine, options.dtype, options.device)
    except (MemoryError, RuntimeError) as error:
        raise ConfigError(
            f"a network of {config.depth} x {config.width} units cannot be made: {single_line(error)}"
        ) from error
    how = {"engine": options.engine, "dtype": options.dtype, "device": experiment.device}
    out = writable_folder(options.out)
    bar = tqdm(range(config.tasks), unit=" tasks", disable=True if options.no_progress else None)
    results = results_frame([experiment.run_task() for _ in bar])
    summary = json.dumps(summarise(results, experiment.run_fresh_baseline()), indent=2)
    with writing(out):
        results.to_csv(out / "lop_fixed_regime_results.csv", index=False)
        (out / "summary.json").write_text(summary + "\n")
        (out / "numerics.json").write_text(json.dumps({**how, **runtime.describe_numerics()}, indent=2) + "\n")
        save_script_plots(results, out)
    write_output(summary + "\n")
    return 0
