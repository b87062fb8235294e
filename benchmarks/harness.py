"""Shared by the benchmarks: processes with one BLAS thread, their time and memory, medians, tables, the machine."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CLEAN = dict(os.environ)
"""The environment of every measured process: without what this process sets for itself later."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
LOP_SWEEP = (sys.executable, "-m", "lop_sweep")
LOP_ANALYSIS = (sys.executable, "-m", "analysis")


@dataclasses.dataclass(frozen=True)
class Section:
    """One table of the report.

    Attributes:
        name: a short heading.
        command: the command that measures only this table.
        columns: headings of the table.
        rows: text, one entry per line of the table.
        data: all measurements, as JSON values.
        notes: how to read the table.
    """

    name: str
    command: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    data: Any
    notes: str = ""

    def markdown(self) -> str:
        """Return the table as Markdown, as in `docs/performance.md`."""
        lines = [f"### {self.name}", "", f"`{self.command}`", ""]
        lines += [f"| {' | '.join(self.columns)} |", "|" + "---|" * len(self.columns)]
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        return "\n".join([*lines, "", *([self.notes, ""] if self.notes else [])])


@dataclasses.dataclass(frozen=True)
class Run:
    """The result of a finished command: wall-clock seconds, peak resident memory in bytes, and output."""

    seconds: float
    peak_bytes: int
    output: str


def run(*command: object, env: dict[str, str] | None = None) -> Run:
    """Run a command to its end. Its peak memory is that of the process itself, without its children.

    Raises:
        RuntimeError: the command failed; the message contains its output.
    """
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)), stdout=output, stderr=subprocess.STDOUT, env={**CLEAN, **(env or {})}
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise RuntimeError(f"{command} exited with status {process.returncode}: {text}")
    return Run(seconds, usage.ru_maxrss * 1024, text)


def child(script: str, *arguments: object) -> Any:
    """Run `benchmarks/SCRIPT --child ARGUMENTS` in a process with one BLAS thread, and return its JSON output."""
    result = run(sys.executable, HERE / script, "--child", *arguments, env=ONE_THREAD)
    return json.loads(result.output.splitlines()[-1])


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Format a median with the range of all values."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def machine() -> dict[str, Any]:
    """Describe the machine and the versions."""
    from lop_sweep.runtime import describe_numerics

    numerics = {name: value for name, value in describe_numerics().items() if name != "host"}
    return {"cpu": cpu_name(), "cores": os.cpu_count(), **numerics}


def cpu_name() -> str:
    """Return the CPU's model name and family, where Linux reports them."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    wanted = ("model name", "cpu family", "model\t")
    found = dict.fromkeys(line.replace("\t", "") for line in lines if line.startswith(wanted))
    return "; ".join(found) or platform.processor()


def files_and_bytes(folder: Path) -> tuple[int, int]:
    """Count the files in a folder, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def write_space(path: Path, fields: dict[str, object]) -> Path:
    """Write a search-space file; a list of values becomes a grid axis."""
    lines = [f"    {n!r}: {f'tune.grid_search({v!r})' if isinstance(v, list) else repr(v)}," for n, v in fields.items()]
    path.write_text("\n".join(["from ray import tune", "param_space = {", *lines, "}"]) + "\n")
    return path
