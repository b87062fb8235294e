"""The public API of `lop_sweep`: what `help` and `dir` show, and what a script uses."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import lop_sweep
from lop_sweep import CellConfig, LopSweepError, SearchSpace, SweepOptions, run_sweep
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
        "Status", "Store", "SweepOptions", "load_space", "local_ray", "register", "run_sweep",
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


def test_a_dictionary_is_not_a_search_space(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"space = \{'lr': 0.1\}: must be a SearchSpace; write SearchSpace\(param_sp"):
        run_sweep({"lr": 0.1}, tmp_path / "out")  # type: ignore[arg-type]
