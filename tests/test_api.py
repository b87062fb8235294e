"""The public API of `lop_sweep`: what `help` and `dir` show, and what a script uses."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import lop_sweep
from lop_sweep import CellConfig, LopSweepError, SearchSpace, SweepOptions, load_space, run_sweep
from lop_sweep.errors import SpaceError, SweepError


def example_in(docstring: str) -> str:
    """Return the indented block of a docstring."""
    return textwrap.dedent("\n".join(re.findall(r"^(?:    .*|)$", docstring, flags=re.MULTILINE))).strip()


def test_the_example_in_the_docstring_runs(tmp_path: Path) -> None:
    example = example_in(lop_sweep.__doc__ or "")
    assert 10 <= len([line for line in example.splitlines() if line]) <= 20
    environment = {**os.environ, "PYTHONPATH": str(Path(lop_sweep.__file__).parents[1])}
    example += "\nimport sys\nprint('trackers:', *({'mlflow', 'wandb'} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert "8 of 8 cells finished" in result.stdout
    assert "depth  lr" in result.stdout
    assert result.stdout.endswith("trackers:\n")


def test_dir_and_all_show_every_public_name() -> None:
    names = {
        "CellConfig", "Experiment", "LopSweepError", "LopTrainable", "Outcome", "ReferenceExperiment", "SearchSpace",
        "LevelSetSearcher", "Status", "Store", "SweepOptions", "load_space", "local_ray", "register", "run_refinement",
        "run_sweep",
    }  # fmt: skip
    assert set(dir(lop_sweep)) == set(lop_sweep.__all__) == names
    for name in names:
        assert inspect.getdoc(getattr(lop_sweep, name))


def test_run_sweep_has_every_option_as_a_keyword() -> None:
    signature = inspect.signature(run_sweep)
    assert list(signature.parameters) == ["space", "out", "on_pack", *vars(SweepOptions())]
    for name, value in vars(SweepOptions()).items():
        assert signature.parameters[name].default == value
        assert f"    {name}: " in (SweepOptions.__doc__ or "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"cpu": 2},
            r"unknown option 'cpu' \(did you mean 'cpus'\?\); choose from: address, cpus, cpus_exp",
        ),
        ({"cpus": 0}, "cpus = 0: must be an integer of at least 1"),
        ({"checkpoint_every": float("inf")}, "checkpoint_every = inf: must be a finite number of at least 0"),
        ({"device": "gpu"}, "device = 'gpu': must be one of cpu, cuda, torch"),
        ({"cpus": 1, "address": "head:6379"}, "cpus is for a local Ray"),
        ({"address": ""}, "address = '': give HOST:PORT"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str, tmp_path: Path) -> None:
    space = SearchSpace(cells=[CellConfig()])
    with pytest.raises(SweepError, match=message) as caught:
        run_sweep(space, tmp_path / "out", **options)
    assert isinstance(caught.value, LopSweepError)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (5, "space = 5: must be a SearchSpace, a parameter space .a dictionary., the path of a search-space file or"),
        (None, "space = None: must be a SearchSpace"),
        ([CellConfig()], r"must be a SearchSpace, .* shipped one; for cells write SearchSpace\(cells=\[\.\.\.\]\)"),
        (CellConfig(), r"for cells write SearchSpace\(cells="),
        (SearchSpace, "space = <class .*>: must be a SearchSpace"),
        ({"dept": 3}, r"unknown key 'dept' \(did you mean 'depth'"),
        ("nope", "search space 'nope' is not a file"),
    ],
)
def test_what_is_no_search_space_is_refused(space: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(LopSweepError, match=message) as caught:
        run_sweep(space, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_other_arguments_of_wrong_types_are_refused() -> None:
    space = SearchSpace(cells=[CellConfig()])
    with pytest.raises(SweepError, match="out = 5: must be a path"):
        run_sweep(space, 5)  # type: ignore[arg-type]
    with pytest.raises(SweepError, match="on_pack = 'print': must be a function"):
        run_sweep(space, "out", on_pack="print")  # type: ignore[arg-type]
    with pytest.raises(SpaceError, match="search space 5: must be a file's path or the name of a shipped space"):
        load_space(5)  # type: ignore[arg-type]


def test_a_sweep_takes_a_dictionary_and_a_file(tmp_path: Path) -> None:
    """The second call finds the cells of the first one, so it starts nothing."""
    param_space = {"width": 4, "depth": 1, "samples": 8, "steps": 2, "tasks": 2, "fresh_baseline": 1}
    outcome = run_sweep(param_space, tmp_path / "out", cpus=1, progress=False)
    assert (outcome.status.finished, outcome.computed) == (1, 1)
    (tmp_path / "space.py").write_text(f"param_space = {param_space}")
    for source in (tmp_path / "space.py", str(tmp_path / "space.py"), SearchSpace(param_space)):
        again = run_sweep(source, tmp_path / "out", progress=False)
        assert (again.status.finished, again.computed) == (1, 0)
