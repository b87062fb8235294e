"""The documentation is true: its commands and Python blocks run, its links resolve, and what it names exists.

`make demo` and `make test` are run by `.ci/run`; all other commands are run here, page by page, in their order. Each of
the README's has a process of its own. Those of the other pages share this process and its Ray; a long test runs each
in a process of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from object_server import request
from sweeping import run_here

from analysis import score
from lop_sweep.config import FIELDS
from lop_sweep.metrics import METRICS
from lop_sweep.registry import isolated
from lop_sweep.storage.schema import CELLS, TASKS

ROOT = Path(__file__).parents[1]
MODULES = {"lop-sweep": "lop_sweep", "lop-analysis": "analysis"}
DOCS = ROOT / "docs"
EXECUTED = [
    ROOT / "README.md",
    DOCS / "tutorial.md",
    DOCS / "sweeps.md",
    DOCS / "random-search.md",
    DOCS / "extend.md",
    DOCS / "compare.md",
    DOCS / "own-components.md",
    DOCS / "analysis.md",
    DOCS / "statistics.md",
    DOCS / "results.md",
    DOCS / "clusters.md",
    DOCS / "trackers.md",
    DOCS / "tuner.md",
    DOCS / "refinement.md",
]
"""The README's sweep is what the other pages work on, each in a copy of its folder."""
NOT_RUN = {
    ("clusters.md", "pip install 'lop-sweep[cloud]'"): "downloads packages, and needs a bucket and its keys",
    ("clusters.md", "python3 -m venv venv && . venv/bin/activate"): "downloads packages",
    ("clusters.md", "#SBATCH --job-name=lop-sweep --nodes=2 --ntasks-per-node=1 --cpus-per-task=16 --time=04:00:00"): (
        "lines of a batch script; tests/faults/test_slurm.py submits such scripts"
    ),
    ("clusters.md", "sbatch sweep.sbatch"): "needs Slurm; tests/faults/test_slurm.py submits such scripts",
    ("clusters.md", "python -m pip wheel --no-deps --wheel-dir dist ."): (
        "needs Docker and a registry, or an account with AWS; tests/deploy/test_deploy.py checks the files"
    ),
    ("clusters.md", "kubectl create secret generic lop-sweep-s3 --from-env-file=credentials.env"): "needs Kubernetes",
    ("clusters.md", "kubectl create configmap lop-sweep-space --from-file=my_space.py"): (
        "needs Kubernetes; tests/deploy/test_deploy.py checks the manifests"
    ),
    ("clusters.md", "lop-sweep status s3://my-bucket/sweeps/my_space"): "the sweep before it needs Kubernetes",
    ("clusters.md", "lop-sweep sweep my_space.py --out /shared/results --address HEAD:6379 --cpus-expected 64"): (
        "64 CPUs; tests/faults/test_autoscaling.py runs a smaller one"
    ),
    ("gallery/README.md", "lop-sweep sweep depth_lr_delta --out depth_lr_delta"): "hours",
    ("gallery/mitigations.md", "python docs/gallery/mitigation_sweeps.py strengths strengths"): "hours",
    ("gallery/optimizers.md", "lop-sweep sweep optimizers --out optimizers --dtype float32"): "hours",
    ("gallery/random_labels.md", "lop-sweep sweep random_labels --out random_labels --dtype float32"): "half an hour",
    (
        "gallery/refinement.md",
        "lop-sweep refine docs/gallery/fine_edge.py --out fine_edge --budget 240 --dtype float32",
    ): ("half an hour"),
    ("gallery/regression.md", "lop-sweep sweep slowly_changing_regression --out slowly_changing_regression"): "hours",
    ("install.md", "pip install -c constraints.txt ."): "downloads packages; make demo and tools/release.py install",
    ("install.md", "pip install -c constraints.txt --index-url INDEX torch"): "INDEX is an address",
    (
        "install.md",
        "pipx install --pip-args='-c constraints.txt --extra-index-url INDEX' dist/lop_sweep-0.1.0-py3-none-any.whl",
    ): "INDEX is an address",
    ("performance.md", "make bench                 # a few minutes"): (
        "minutes to an hour; tests/test_benchmarks.py runs every benchmark on little data"
    ),
    ("results.md", "import duckdb"): "reads a bucket; tests/storage/test_other_readers.py does the same",
    ("results.md", "CREATE SECRET (TYPE s3, PROVIDER credential_chain);"): (
        "needs Amazon's S3; tests/storage/test_other_readers.py does the same with another server"
    ),
    ("trackers.md", "tensorboard --logdir results/tensorboard"): "serves until it is stopped",
    ("trackers.md", "mlflow server --backend-store-uri sqlite:///runs.db --port 5000"): (
        "serves until it is stopped; tests/analysis/trackers/test_mlflow_server.py logs to such a server"
    ),
    ("trackers.md", "WANDB_MODE=offline lop-sweep log results --wandb plasticity"): (
        "needs an account; tests/analysis/trackers/test_wandb.py logs without one"
    ),
}
"""The blocks that no test runs as they are, by page and first line, with the reason.

`tests/test_gallery.py` computes the gallery's pages from the published files."""
OUTPUT = {"text", "json"}
"""Languages of blocks that are not to be run: output, layouts and files."""
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md")),
    *sorted(path for path in DOCS.rglob("*.md") if not path.name.endswith(".template.md")),
]
STARTS_COMMAND = re.compile(r"^(\w+=\S+ )*(lop-sweep|lop-analysis|python3?|pip|make|ray|import|from) ", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: as after the fence.
        text: what is in it.
        before: the page up to it.
    """

    language: str
    text: str
    before: str

    @property
    def file(self) -> str:
        """The name under which a search space is to be saved: the last file named before it."""
        return re.findall(r"`(\w+\.py)`", self.before)[-1]

    @property
    def is_space(self) -> bool:
        return self.language == "python" and "\nparam_space = " in self.text


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, flags=re.DOTALL | re.MULTILINE)
    return [Block(match[2], textwrap.dedent(match[3]), text[: match.start()]) for match in found]


def commands(block: Block) -> list[str]:
    return block.text.strip().splitlines() if block.language == "sh" else []


def needs_cluster(command: str) -> bool:
    return command.startswith("ray start") or "/shared/" in command


ALL_COMMANDS = list(
    dict.fromkeys(command for page in EXECUTED for block in blocks(page) for command in commands(block))
)


def run_command(command: str, folder: Path) -> None:
    name, *arguments = shlex.split(command)
    result = subprocess.run(
        [sys.executable, "-m", MODULES[name], *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, f"{command}\n{result.stderr}"


def run_python(text: str, folder: Path) -> str:
    result = subprocess.run([sys.executable, "-c", text], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, f"{text}\n{result.stderr}"
    return result.stdout


def run_command_here(command: str, folder: Path) -> None:
    """Run a command in this process."""
    name, *arguments = shlex.split(command)
    main = importlib.import_module(f"{MODULES[name]}.cli").main
    with contextlib.chdir(folder), isolated():
        result = run_here(*arguments, command=main)
    assert result.returncode == 0, f"{command}\n{result.stderr}"


def run_python_here(text: str, folder: Path) -> str:
    """Run a block in this process."""
    with contextlib.chdir(folder), isolated(), contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(text, {"__name__": "__main__"})
    return printed.getvalue()


def run_page(page: Path, folder: Path, here: bool = False) -> list[str]:
    """Run a page's blocks in their order; returns what its Python blocks print."""
    python, shell = (run_python_here, run_command_here) if here else (run_python, run_command)
    printed = []
    for block in blocks(page):
        if block.is_space:
            (folder / block.file).write_text(block.text)
        elif block.language == "python":
            printed.append(python(block.text, folder))
        for command in commands(block):
            if not command.startswith("make ") and not needs_cluster(command):
                shell(command, folder)
    return printed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's commands have been run."""
    folder = tmp_path_factory.mktemp("readme")
    run_page(ROOT / "README.md", folder)
    return folder


@pytest.fixture(params=[True, pytest.param(False, marks=pytest.mark.long)], ids=["one process", "a process each"])
def here(request: pytest.FixtureRequest) -> bool:
    """Whether a page runs in this process, which then has a Ray."""
    if request.param:
        request.getfixturevalue("own_ray")
    return bool(request.param)


@pytest.fixture
def place(folder: Path, here: bool, tmp_path: Path) -> Path:
    """A copy of the README's folder for one page."""
    return Path(shutil.copytree(folder, tmp_path / "page"))


def test_every_command_is_run() -> None:
    others = [c for c in ALL_COMMANDS if not needs_cluster(c) and shlex.split(c)[0] not in MODULES]
    assert others == ["make demo", "make test"]
    ci = (ROOT / ".ci" / "run").read_text()
    assert all(command in ci for command in [*others, "make docs"])


def test_every_block_is_run_or_has_a_reason() -> None:
    """`sh` and `python` are run; `bash`, `py` and `sql` are in `NOT_RUN`; output has no commands."""
    not_run = set()
    for page in PAGES:
        for block in blocks(page):
            if block.language in ("sh", "python"):
                assert page in EXECUTED, f"{page}: no test runs {block.text}"
            elif block.language in OUTPUT:
                assert not STARTS_COMMAND.search(block.text) or page.name == "cli.md", f"{page}: {block.text}"
            else:
                not_run.add((page.relative_to(DOCS).as_posix(), block.text.splitlines()[0]))
    assert not_run == NOT_RUN.keys()
    for reason in NOT_RUN.values():
        assert all((ROOT / path).exists() for path in re.findall(r"tests/[\w/]+\.py", reason)), reason


def test_pages_run_are_those_of_the_tests() -> None:
    source = Path(__file__).read_text()
    for page in EXECUTED[1:]:
        assert f'run_page(DOCS / "{page.relative_to(DOCS).as_posix()}"' in source


def test_readme_commands_write_their_files(folder: Path) -> None:
    for name in ("report.html", "map.png"):
        assert (folder / name).stat().st_size > 500
    assert len(pd.read_parquet(folder / "results" / "cells")) == 27


def test_the_first_map_shows_kept_and_lost_plasticity(folder: Path) -> None:
    """All seeds of the deepest networks at the largest learning rate are lost; most others stay plastic."""
    verdicts = score(folder / "results").set_index(["depth", "lr"])["verdict"]
    assert verdicts.loc[(8, 1.6)].to_list() == ["lost"] * 3
    assert (verdicts == "lost").sum() == 3
    assert (verdicts == "plastic").sum() > 15


def test_blocks_of_the_tutorial_run(place: Path, here: bool) -> None:
    """It begins with the README's sweep."""
    (readme,) = (block.text for block in blocks(ROOT / "README.md") if block.is_space)
    (tutorial,) = (block.text for block in blocks(DOCS / "tutorial.md") if block.is_space)
    assert tutorial == readme
    (printed,) = run_page(DOCS / "tutorial.md", place, here)
    assert printed.startswith("lr")
    for name in ("report.html", "map.png", "causes.png", "curves.png", "scores.csv"):
        assert (place / name).stat().st_size > 500


@pytest.mark.long  # tests/planning expands such spaces every day
def test_blocks_of_the_page_on_random_search_run(place: Path, here: bool) -> None:
    (means,) = run_page(DOCS / "random-search.md", place, here)
    assert means.startswith("lr ")
    for name, points, seeds in (("sampled", 12, 3), ("even", 16, 2)):
        of_points = pd.read_parquet(place / name / "cells").groupby(["lr", "delta"])["seed"]
        assert of_points.unique().map(sorted).to_list() == [list(range(seeds))] * points
    assert (place / "points.png").stat().st_size > 500


@pytest.mark.long  # tests/storage/test_old_directories.py extends a sweep every day
def test_blocks_of_the_page_on_extending_run(place: Path, here: bool) -> None:
    (printed,) = run_page(DOCS / "extend.md", place, here)
    assert re.search(r"100 +48\n120 +27\n", printed)
    assert (place / "longer.png").stat().st_size > 500


@pytest.mark.long  # tests/analysis/statistics and tests/analysis/plot run such commands each day
def test_blocks_of_the_page_on_comparing_run(folder: Path) -> None:
    run_page(DOCS / "compare.md", folder)
    assert "equivalence" in (folder / "compare.csv").read_text()
    assert (folder / "difference.png").stat().st_size > 500


def test_blocks_of_sweeps_page_run(place: Path, here: bool) -> None:
    printed = run_page(DOCS / "sweeps.md", place, here)
    assert printed == ["2 cells computed; 2 of 2 finished\nTrue\n"]
    assert (place / "one" / "summary.json").stat().st_size > 500


def test_blocks_of_own_components_page_run(place: Path, here: bool) -> None:
    """The three components of the example take less than 40 lines."""
    (example,) = (block for block in blocks(DOCS / "own-components.md") if block.is_space)
    definitions = example.text.partition("for one in SLOPES:")[2].partition("CHOICES =")[0]
    assert 20 < len(list(filter(str.strip, definitions.splitlines()))) < 40
    (printed,) = run_page(DOCS / "own-components.md", place, here)
    assert printed.count("keeps to the contract\n") == 3
    tasks = pd.read_parquet(place / "own" / "tasks")
    assert tasks.groupby(["activation", "mitigation"]).size().to_dict() == {
        (activation, mitigation): 96 for activation in ("leaky_0.05", "leaky_0.3") for mitigation in ("clip", "none")
    }
    assert (place / "own.png").stat().st_size > 500


def test_blocks_of_analysis_page_run(place: Path, here: bool) -> None:
    criterion, unfinished = run_page(DOCS / "analysis.md", place, here)
    assert criterion.startswith("0.2\n")
    assert float(unfinished) == 1
    assert (place / "lost.pdf").stat().st_size > 500


@pytest.mark.long  # tests/analysis/statistics runs every command each day
def test_blocks_of_statistics_page_run(folder: Path) -> None:
    (printed,) = run_page(DOCS / "statistics.md", folder)
    assert "edge in lr" in printed
    for name in (
        "survival.png",
        "specification.png",
        "hazard.csv",
        "effects.csv",
        "compare.csv",
        "power.csv",
        "paired.csv",
    ):
        assert (folder / name).stat().st_size > 50


def test_blocks_of_results_page_run(place: Path, here: bool) -> None:
    by_pandas, by_others = run_page(DOCS / "results.md", place, here)
    assert "1.6" in by_pandas
    assert "shape: (9, 3)" in by_others
    assert "excess" in by_others


def test_blocks_of_trackers_page_run(place: Path, here: bool) -> None:
    """The commands for servers are in blocks of another kind; tests/analysis/trackers runs them."""
    (printed,) = run_page(DOCS / "trackers.md", place, here)
    assert printed == "TensorBoard: 27 of 27\n"
    assert len(list((place / "results" / "tensorboard").iterdir())) == 27


@pytest.mark.long  # tests/tune/test_trainable.py runs trials every day, without Ray
def test_blocks_of_tuner_page_run(folder: Path) -> None:
    stopped, found, restored = run_page(DOCS / "tuner.md", folder)
    done = [int(number) for number in re.findall(r"^\d +[\d.]+ +(\d+) +[\d.]+$", stopped, re.MULTILINE)]
    assert len(done) == 4
    assert min(done) < 20 == max(done), "ASHA stops some trials; which depends on who reports first"
    assert "'width': 16" in found
    assert "6 trials" in restored
    assert list((folder / "tuner" / "asha").glob("*/events.out.tfevents*"))


@pytest.mark.long  # tests/tune/test_refining.py refines every day
def test_blocks_of_refinement_page_run(folder: Path) -> None:
    computed, own = run_page(DOCS / "refinement.md", folder)
    assert computed == "2 cells computed\n"
    assert "12 cells; side unknown at" in own
    assert (folder / "edge.png").stat().st_size > 500


@pytest.mark.long  # tests/storage and tests/faults use buckets and shards every day
def test_blocks_of_clusters_page_run(folder: Path, s3: str, bucket: Path) -> None:
    """Those that start a cluster are run by the test after this one."""
    request(s3, "PUT", "/my-bucket")
    run_page(DOCS / "clusters.md", folder)


@pytest.mark.long  # tests/faults/test_survival.py runs a sweep on a cluster every day
def test_cluster_commands_work(folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    head, node, *ours = (
        command.replace("HEAD:6379", f"127.0.0.1:{port}")
        .replace("--port=6379", f"--port={port}")
        .replace("/shared/results", str(folder / "on_cluster"))
        for command in filter(needs_cluster, ALL_COMMANDS)
    )
    assert len(ours) == 2
    space = folder / "my_space.py"
    space.write_text(space.read_text().replace("[0, 1, 2]", "[0]"))
    with running(head):
        wait_for(port)
        with running(node):
            for command in ours:
                run_command(command, folder)
    assert len(pd.read_parquet(folder / "on_cluster" / "cells")) == 9


@contextmanager
def running(command: str) -> Iterator[None]:
    """Run a command until the block ends, then stop it by its process id."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    executable = str(Path(sys.executable).with_name("ray"))
    process = subprocess.Popen(
        [executable, *shlex.split(command)[1:]], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
        assert process.poll() is None, f"{command} ended by itself"
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            time.sleep(3)  # the head's other services
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"no head node at port {port}")


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub forms them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_named_files_and_modules_exist(page: Path) -> None:
    for path in re.findall(r"`((?:lop_sweep|analysis|tests|benchmarks|search_spaces|docs)/[\w/.-]+)`", prose(page)):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"`((?:lop_sweep|analysis)(?:\.[A-Za-z_]\w*)+)`", prose(page)):
        assert resolves(name), name
    for script in re.findall(r"python (benchmarks/\w+\.py)", page.read_text()):
        assert (ROOT / script).exists(), script


def resolves(name: str) -> bool:
    """Return whether a dotted name is a module, or an attribute of one."""
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return bool(module) and hasattr(importlib.import_module(module), attribute)
    return True


def test_guarantees_name_existing_tests() -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "guarantees.md").read_text()))
    assert len(named) > 15
    assert named <= {path.stem for path in (ROOT / "tests").rglob("test_*.py")}


def options_of(module: str, names: Sequence[str]) -> dict[str, set[str]]:
    """Return the options that the help of each subcommand lists."""
    code = (
        f"from {module}.cli import main\nimport contextlib\nfor name in {names!r}:\n    print('==', name, flush=True)\n"
    )
    code += "    with contextlib.suppress(SystemExit):\n        main([name, '--help'])\n"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    helps = dict(zip(names, result.stdout.split("== ")[1:], strict=True))
    return {name: documented_options(text) - {"--help"} for name, text in helps.items()}


def documented_options(text: str) -> set[str]:
    """Return the options that a text names, without those of benchmarks."""
    return set(re.findall(r"--[a-z][\w-]*", re.sub(r"`[^`]*benchmarks/[^`]+`", "", text)))


def test_options_of_lop_sweep_are_documented() -> None:
    documented = documented_options((DOCS / "sweeps.md").read_text())
    known = options_of("lop_sweep", ["sweep", "plan", "status", "audit", "compact", "log", "components", "run"])
    of_refinements = {"--budget", "--resolution"}  # docs/refinement.md
    for name in ("sweep", "plan", "status", "audit", "compact", "log", "components"):
        assert known[name] - of_refinements <= documented
    assert documented <= set().union(*known.values(), {"--where"})  # of `lop-analysis`


def test_options_of_refinements_are_documented() -> None:
    documented = documented_options((DOCS / "refinement.md").read_text())
    known = options_of("lop_sweep", ["refine", "sweep", "plan"])
    assert documented <= set().union(*known.values(), {"--x", "--y"})  # of `lop-analysis map`
    assert known["refine"] - known["sweep"] <= documented


def test_options_of_lop_analysis_are_documented() -> None:
    documented = set().union(
        *(documented_options((DOCS / page).read_text()) for page in ("analysis.md", "statistics.md"))
    )
    names = ["report", "map", "difference", "curves", "layers", "plots", "scores"]
    names += ["survival", "effects", "symptoms", "compare", "power", "specification"]
    assert documented == set().union(*options_of("analysis", names).values())


def test_result_columns_are_documented() -> None:
    text = (DOCS / "results.md").read_text() + (DOCS / "protocol.md").read_text()
    for column in {*CELLS.names, *TASKS.names} - set(FIELDS):
        assert f"`{column}`" in text, column


def test_result_types_are_documented() -> None:
    tables = dict(
        zip(("tasks", "cells"), tables_of((DOCS / "results.md").read_text(), "| column | type |"), strict=True)
    )
    for name, schema in (("tasks", TASKS), ("cells", CELLS)):
        documented = {column: kind for columns, kind in tables[name] for column in re.findall(r"`(\w+)`", columns)}
        for field in schema:
            if field.name not in FIELDS and field.name not in METRICS:
                kind = "list of double" if pa.types.is_list(field.type) else str(field.type)
                assert documented[field.name] == kind, field.name


def tables_of(text: str, head: str) -> list[list[tuple[str, str]]]:
    """Return the first two columns of each table with this head."""
    found = [part.split("\n\n")[0] for part in text.split(f"\n{head}")[1:]]
    return [[tuple(map(str.strip, line.split("|")[1:3])) for line in part.splitlines()[2:]] for part in found]
