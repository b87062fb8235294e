"""A sweep in a directory, in a bucket and in four shards: seconds and requests; and a million rows on S3 to a map.

    python benchmarks/object_store.py [--space demo] [--cells 10000] [--rounds 3]

The bucket is on an S3 server on this machine (moto, written in Python), behind a proxy that counts requests. Both are
slower than a real one, and no network lies in between.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import CLEAN, HERE, LOP_ANALYSIS, LOP_SWEEP, Section, median, run, spread
from million_rows import TASKS, make_store

from lop_sweep.planning import load_space

sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))
from object_server import environment, proxy, s3_server

SHARDS = 4
READS, WRITES = ("GET", "HEAD"), ("PUT", "POST")


def sweeps(space: str) -> Section:
    """Run a sweep in a directory, in a bucket, and in four shards in a bucket."""
    cells, rows, data = len(load_space(space).cells), [], {}
    with tempfile.TemporaryDirectory() as folder, s3_server() as server:
        for name in ("a directory", "a bucket", f"{SHARDS} shards in a bucket"):
            with proxy(server) as counted:
                env = {**CLEAN, **environment(counted.endpoint)}
                out = f"{folder}/out" if name == "a directory" else f"s3://sweeps/{len(rows)}"
                command = [*LOP_SWEEP, "sweep", space, "--out", out, "--no-progress", "--cpus"]
                start = time.perf_counter()
                if "shards" in name:
                    shards = [[*command, "1", "--shard", f"{number}/{SHARDS}"] for number in range(1, SHARDS + 1)]
                    streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
                    started = [subprocess.Popen(shard, env=env, **streams) for shard in shards]
                    messages = [process.communicate()[1] for process in started]
                    if any(process.returncode for process in started):
                        raise RuntimeError(f"{name}: a shard failed: {messages}")
                else:
                    run(*command, 2, env=environment(counted.endpoint))
                seconds = time.perf_counter() - start
                reads, writes = (sum(counted.counts[method] for method in kinds) for kinds in (READS, WRITES))
                packs = int(run(sys.executable, "-c", _PACKS, out, env=env).output)
                rows.append((name, str(cells), str(packs), f"{seconds:.0f}", str(reads), str(writes)))
                data[name] = {"seconds": seconds, "packs": packs, "requests": dict(counted.counts)}
    columns = ("where", "cells", "packs", "seconds", "reads (GET, HEAD, LIST)", "writes (PUT, DELETE)")
    return Section(
        "A sweep on object stores", f"python benchmarks/object_store.py --space {space}", columns, rows, data
    )


_PACKS = "import sys; from lop_sweep.storage import Store; print(len(Store(sys.argv[1]).committed()))"


def rows_to_map(cells: int, rounds: int) -> Section:
    """Draw a map of the same store from a directory and from a bucket."""
    rows, data = [], {}
    with tempfile.TemporaryDirectory() as folder, s3_server() as server, proxy(server) as counted:
        local = Path(folder) / "sweep"
        make_store(local, cells)
        env = environment(server)
        copy = run(*LOP_SWEEP, "copy", local, "s3://sweeps/rows", env=env)
        seconds: dict[str, list[float]] = {"a directory": [], "a bucket": []}
        for _ in range(rounds):
            for name, root in (("a directory", local), ("a bucket", "s3://sweeps/rows")):
                command = [*LOP_ANALYSIS, "map", root, "--x", "lr", "--y", "depth", "--out", f"{folder}/map.png"]
                seconds[name].append(run(*command, env=env).seconds)
        run(*LOP_ANALYSIS, "map", "s3://sweeps/rows", "--x", "lr", "--y", "depth", "--out", f"{folder}/map.png",
            env=environment(counted.endpoint))  # fmt: skip
        for name, measured in seconds.items():
            ratio = median(measured) / median(seconds["a directory"])
            requests = str(counted.counts.total()) if name == "a bucket" else ""
            rows.append((name, f"{cells * TASKS:,}", spread(measured, 1), f"{ratio:.2f}", requests))
            data[name] = {"seconds": measured, "ratio": ratio}
        data["copy_seconds"] = copy.seconds
    columns = ("from", "rows", "seconds", "ratio", "requests")
    itself = f"python benchmarks/object_store.py --cells {cells} --rounds {rounds}"
    return Section("Rows on S3 to a map", itself, columns, rows, data, f"Copying took {copy.seconds:.1f} s.")


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="demo")
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for section in (sweeps(options.space), rows_to_map(options.cells, options.rounds)):
        print(section.markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
