"""Check a release: versions, citation, sdist and wheel, and the wheel's commands in clean environments. Upload nothing.

    python tools/release.py [--python PYTHON ...] [--out FOLDER]

The release notes go to standard output, everything else to standard error. The exit status is 1 if a check fails or if
no Python could run a sweep, and 2 for bad input. A check that could not be made is listed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from email.policy import default as email_policy
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("analysis", "lop_sweep", "search_spaces")
COMMANDS = {"lop-sweep = lop_sweep.__main__:main", "lop-analysis = analysis.__main__:main"}
SPACE = '''"""Four small cells."""

from ray import tune

param_space = {
    "depth": tune.grid_search([1, 2]),
    "lr": tune.grid_search([0.1, 0.4]),
    "width": 8,
    "tasks": 4,
    "fresh_baseline": 2,
}
'''
IMPORTS = """
import sys
from pathlib import Path
import analysis, lop_sweep, search_spaces
for package in (analysis, lop_sweep, search_spaces):
    folder = Path(package.__file__).parent
    assert folder.is_relative_to(sys.prefix), f"{folder} is not the installed package"
    assert (folder / "py.typed").exists(), f"{folder} has no py.typed"
assert lop_sweep.__version__ == sys.argv[1], lop_sweep.__version__
"""
ALONE = (("lop-sweep", "--help"), ("lop-sweep", "plan", "demo"), ("lop-analysis", "--help"))
SWEEP = (("lop-sweep", "sweep", "tiny.py", "--out", "results"), ("lop-sweep", "audit", "results"))
READ = (
    ("lop-analysis", "map", "results", "--x", "lr", "--y", "depth", "--out", "map.png"),
    ("lop-analysis", "report", "results", "--out", "report.html"),
)


class ReleaseError(Exception):
    """A check failed; the message says which, and why."""


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def run(*command: str | Path, folder: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """Run a command and return its standard output.

    Raises:
        ReleaseError: it failed; the message ends with what it printed.
    """
    result = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        shown = " ".join(map(str, command))
        raise ReleaseError(f"{shown}: exit status {result.returncode}\n{result.stdout}{result.stderr}".rstrip())
    return result.stdout


# What is released


def source_version(root: Path = ROOT) -> str:
    """Return the version in `lop_sweep/version.py`, which is also that of `pyproject.toml`."""
    found = re.search(r'^__version__ = "(.+)"$', (root / "lop_sweep" / "version.py").read_text(), flags=re.MULTILINE)
    if found is None:
        raise ReleaseError("lop_sweep/version.py does not define __version__")
    return found[1]


def newest_section(root: Path = ROOT) -> tuple[str, str]:
    """Return the heading and the text of the changelog's newest section."""
    parts = re.split(r"^## +(.+)$", (root / "CHANGELOG.md").read_text(), maxsplit=2, flags=re.MULTILINE)
    if len(parts) < 3:
        raise ReleaseError("CHANGELOG.md has no section '## VERSION (DATE)'")
    return parts[1].strip(), parts[2].strip()


def check_versions(root: Path = ROOT) -> str:
    """Return the version that the source, `CITATION.cff` and the newest section of the changelog agree on.

    Raises:
        ReleaseError: they differ.
    """
    version = source_version(root)
    cited = str(yaml.safe_load((root / "CITATION.cff").read_text())["version"])
    heading, _ = newest_section(root)
    if cited != version:
        raise ReleaseError(f"CITATION.cff has version {cited}, lop_sweep/version.py {version}; make them equal")
    if version not in re.findall(r"[\w.+]+", heading):
        raise ReleaseError(f"the newest section of CHANGELOG.md is '{heading}', the version {version}; name it there")
    return version


def check_citation(root: Path = ROOT) -> None:
    """Validate `CITATION.cff` against the schema of the Citation File Format, without a network.

    Raises:
        ReleaseError: it is not valid.
    """
    schema = ("--builtin-schema", "vendor.citation-file-format")
    run(sys.executable, "-m", "check_jsonschema", *schema, "--default-filetype", "yaml", root / "CITATION.cff")


def tracked_files() -> list[str]:
    """Return the paths of the files under version control that exist, relative to the repository."""
    return [name for name in run("git", "ls-files").splitlines() if (ROOT / name).is_file()]


def build(folder: Path, isolated: bool = True) -> tuple[Path, Path]:
    """Build an sdist and, from it, a wheel, out of a copy of the tracked files.

    Args:
        folder: for the copy and the two files.
        isolated: let `build` install its own setuptools, which needs a network.

    Returns:
        The sdist and the wheel, in `folder/dist`.
    """
    source, out = folder / "source", folder / "dist"
    for name in tracked_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    how = () if isolated else ("--no-isolation",)
    run(sys.executable, "-m", "build", *how, "--outdir", out, source, folder=folder)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def check_contents(wheel: Path, version: str) -> None:
    """Check that a wheel has the tracked files of the three packages, both commands and the version, and nothing else.

    Raises:
        ReleaseError: something is missing or too much.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        (about,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        commands = set(archive.read(f"{about}/entry_points.txt").decode().splitlines())
        metadata = HeaderParser(policy=email_policy).parsestr(archive.read(f"{about}/METADATA").decode())
    shipped = {name for name in names if not name.startswith(f"{about}/")}
    expected = {name for name in tracked_files() if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    if shipped != expected:
        missing, extra = sorted(expected - shipped), sorted(shipped - expected)
        raise ReleaseError(f"{wheel.name}: lacks {missing}, has in addition {extra}; see [tool.setuptools]")
    if not commands >= COMMANDS:
        raise ReleaseError(f"{wheel.name}: lacks the commands {sorted(COMMANDS - commands)}")
    if metadata["Version"] != version:
        raise ReleaseError(f"{wheel.name}: has version {metadata['Version']}, not {version}")


# Clean environments


@dataclass(frozen=True)
class Interpreter:
    """A Python to try the wheel with.

    Attributes:
        path: its executable.
        version: for example '3.12'.
    """

    path: str
    version: str


def supported_versions() -> list[str]:
    """Return the Python versions that `pyproject.toml` names, oldest first."""
    return re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())


def interpreter(path: str) -> Interpreter | None:
    """Return a Python by name or path, or None if it does not run."""
    try:
        version = run(path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    except (OSError, ReleaseError):
        return None
    return Interpreter(path, version.strip())


@dataclass(frozen=True)
class Environment:
    """A new virtual environment with nothing of the repository on its paths.

    Attributes:
        folder: holds the environment, and a folder `work` in which commands run.
        python: what it was made with.
    """

    folder: Path
    python: Interpreter

    @property
    def work(self) -> Path:
        """The folder in which commands run."""
        return self.folder / "work"

    def make(self) -> None:
        """Create it."""
        run(self.python.path, "-m", "venv", self.folder / "venv")
        self.work.mkdir()

    def run(self, name: str, *arguments: str | Path) -> str:
        """Run one of its commands."""
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
        variables["PATH"] = f"{self.folder / 'venv' / 'bin'}{os.pathsep}{variables['PATH']}"
        variables["RAY_USAGE_STATS_ENABLED"] = "0"
        return run(self.folder / "venv" / "bin" / name, *arguments, folder=self.work, environment=variables)

    def install(self, *what: str | Path) -> None:
        """Install packages in the versions of `constraints.txt`."""
        self.run("python", "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", *what)

    def torch_problem(self) -> str:
        """Return why no small PyTorch can be installed, or nothing."""
        report = self.folder / "torch.json"
        try:
            self.install("--dry-run", "--report", report, "torch")
        except ReleaseError as error:
            return f"pip finds no PyTorch: {str(error).splitlines()[-1]}"
        names = [one["metadata"]["name"] for one in json.loads(report.read_text())["install"]]
        cuda = [name for name in names if name.startswith("nvidia-")]
        return f"pip finds only a CUDA build of PyTorch, with {len(cuda)} NVIDIA packages (--cuda takes it)" * bool(
            cuda
        )


def requirements_without_torch(wheel: Path) -> list[str]:
    """Return what a wheel requires besides PyTorch and extras."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = HeaderParser(policy=email_policy).parsestr(archive.read(name).decode())
    required = [str(one) for one in metadata.get_all("Requires-Dist", [])]
    return [one for one in required if "extra ==" not in one and not re.match(r"torch\b", one)]


def smoke_test(environment: Environment, wheel: Path, results: Path | None, cuda: bool = False) -> str:
    """Install a wheel in a new environment and run its commands there.

    Without a PyTorch that can be installed, run everything but a sweep.

    Args:
        environment: is created.
        wheel: the wheel.
        results: a sweep directory to read where no sweep can be run, if there is one.
        cuda: accept a CUDA build of PyTorch, of several gigabytes.

    Returns:
        Why no sweep could be run, or nothing.

    Raises:
        ReleaseError: a command failed.
    """
    environment.make()
    problem = "" if cuda else environment.torch_problem()
    if problem:
        environment.install(*requirements_without_torch(wheel))
        environment.install("--no-deps", wheel)
    else:
        environment.install("torch")
        environment.install(wheel)
        environment.run("python", "-m", "pip", "check")
    (environment.work / "tiny.py").write_text(SPACE)
    environment.run("python", "-c", IMPORTS, wheel.name.split("-")[1])
    if problem and results is not None:
        shutil.copytree(results, environment.work / "results")
    commands = [*ALONE, *(SWEEP if not problem else ()), *(READ if not problem or results else ())]
    for command in commands:
        environment.run(*command)
    for name in ("map.png", "report.html"):
        if READ[0] in commands and not (environment.work / name).stat().st_size:
            raise ReleaseError(f"Python {environment.python.version}: {name} is empty")
    return problem


def smoke_tests(folder: Path, wheel: Path, pythons: Sequence[Interpreter], cuda: bool) -> list[str]:
    """Try a wheel with several Pythons; return what was not checked.

    Raises:
        ReleaseError: a command failed, or no Python could run a sweep.
    """
    results, problems = None, []
    for python in pythons:
        say(f"Python {python.version}: installing the wheel and running its commands")
        environment = Environment(folder / python.version, python)
        environment.folder.mkdir()
        problem = smoke_test(environment, wheel, results, cuda)
        if problem:
            read = ", and no figure was drawn" if results is None else ""
            problems.append(f"Python {python.version} ran no sweep{read}: {problem}")
        else:
            results = results or environment.work / "results"
        shutil.rmtree(environment.folder / "venv")
    if results is None:
        raise ReleaseError("\n".join(["no Python could run a sweep", *problems]))
    return problems


# The command


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--python", action="append", metavar="PYTHON", help="a Python to try, repeatable; default: those on the path"
    )
    parser.add_argument("--out", type=Path, help="keep sdist and wheel in this folder, which must not exist")
    parser.add_argument("--cuda", action="store_true", help="accept a CUDA build of PyTorch, of several gigabytes")
    parser.add_argument("--no-isolation", action="store_true", help="build with the setuptools that is installed")
    options = parser.parse_args(arguments)
    if options.out and options.out.exists():
        parser.error(f"argument --out: {options.out} exists; name a new folder")
    found = {path: interpreter(path) for path in options.python or [f"python{one}" for one in supported_versions()]}
    for path in options.python or ():
        if found[path] is None or found[path].version not in supported_versions():
            parser.error(f"argument --python: {path} is not a Python {' or '.join(supported_versions())}")
    options.pythons = sorted(filter(None, found.values()), key=lambda one: supported_versions().index(one.version))
    return options


def missing_pythons(pythons: Sequence[Interpreter]) -> list[str]:
    """Say which supported versions of Python are not tried."""
    there = {one.version for one in pythons}
    return [f"Python {one} is not on the path; --python names one" for one in supported_versions() if one not in there]


def unfinished(heading: str) -> list[str]:
    """Say what is left to do by hand before a release."""
    left = []
    if run("git", "status", "--porcelain"):
        left.append("there are changes that are not committed, and they are in the wheel where git tracks the file")
    if not re.search(r"\d{4}-\d\d-\d\d", heading):
        left.append(f"the newest section of CHANGELOG.md is '{heading}'; make it 'VERSION (YYYY-MM-DD)'")
    if "[project.urls]" not in (ROOT / "pyproject.toml").read_text():
        left.append(
            "pyproject.toml has no [project.urls], so the README's relative links lead nowhere on an index page"
        )
    return left


def check(options: argparse.Namespace, folder: Path) -> list[str]:
    """Make all checks in a new folder; return what was not checked.

    Raises:
        ReleaseError: a check failed.
    """
    version = check_versions()
    check_citation()
    say(f"version {version} in source, CITATION.cff and CHANGELOG.md; CITATION.cff is valid")
    sdist, wheel = build(folder, isolated=not options.no_isolation)
    check_contents(wheel, version)
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    run(sys.executable, "-m", "check_wheel_contents", "--config", ROOT / "pyproject.toml", wheel)
    say(f"{sdist.name} ({sdist.stat().st_size:,} bytes), {wheel.name} ({wheel.stat().st_size:,} bytes) are as expected")
    problems = smoke_tests(folder, wheel, options.pythons, options.cuda)
    if options.out:
        shutil.copytree(sdist.parent, options.out)
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all checks and print the release notes; return the exit status."""
    options = parse(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="lop-release-") as folder:
            problems = check(options, Path(folder))
        heading, notes = newest_section()
        problems += [*missing_pythons(options.pythons), *unfinished(heading)]
    except ReleaseError as error:
        say(f"release: {error}")
        return 1
    print(f"## {heading}\n\n{notes}")
    say("All checks passed. Nothing was uploaded.")
    for problem in problems:
        say(f"not done: {problem}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
