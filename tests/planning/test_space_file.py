"""Search-space files: what has no effect is refused, neighbours are imported, and errors name their cause."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from own_space import space_with_neighbours
from ray import cloudpickle, tune

from lop_sweep.errors import SpaceError
from lop_sweep.planning.space import SearchSpace
from lop_sweep.planning.space_file import SETTINGS, load_space, to_space
from lop_sweep.registry import component, isolated

HEAD = "from ray import tune\n"
PLAIN = "param_space = {'lr': 0.1}\n"


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with isolated():
        yield


def write(folder: Path, content: str, name: str = "space.py") -> Path:
    path = folder / name
    path.write_text(HEAD + content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("num_sample = 5", r"num_sample = 5 has no effect \(did you mean num_samples\?\); the settings of"),
        ("NUM_SAMPLES = 5", r"NUM_SAMPLES = 5 has no effect \(did you mean num_samples\?\)"),
        ("n_samples: int = 5", "did you mean num_samples"),
        ("sample_seed = 5", "did you mean sampling_seed"),
        ("packs = ['seed']", r"packs = \['seed'\] has no effect \(did you mean pack\?\)"),
        ("samplers = 'sobol'", "did you mean sampler"),
        ("SEEDS = 8", "did you mean seeds"),
        ("width = 32", "width = 32 has no effect outside param_space; write it in there"),
        ("seed = 3", "seed = 3 has no effect outside param_space; write it in there, or did you mean seeds"),
        (
            "tune_config = tune.TuneConfig(num_samples=4)",
            "tune_config is an object of Tune's TuneConfig, which has no effect in a search space; write num_s",
        ),
        ("config = tune.RunConfig(name='x')", "Tune's RunConfig, .* use the options of lop-sweep sweep"),
        ("from ray.train import RunConfig\nconfig = RunConfig()", "Tune's RunConfig"),
        (
            "from ray.tune.schedulers import ASHAScheduler\nscheduler = ASHAScheduler()",
            "every cell is computed to its end",
        ),
        (
            "from ray.tune.search.basic_variant import BasicVariantGenerator\nsearch = BasicVariantGenerator()",
            "write num_samples and sampler = 'sobol', or use LopTrainable",
        ),
        (
            "from ray.tune.stopper import MaximumIterationStopper\nstop = MaximumIterationStopper(3)",
            "remove it, or use",
        ),
        ("tuner = tune.Tuner(print, param_space=param_space)", "Tune's Tuner, .* LopTrainable is for a Tuner of yours"),
    ],
)
def test_names_without_effect_are_refused(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        load_space(write(tmp_path, PLAIN + content + "\n"))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'space.py'}: ")


def test_a_misspelt_param_space_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"did you mean param_space\?"):
        load_space(write(tmp_path, "param_spaces = {'lr': 0.1}"))


def test_ordinary_names_are_allowed(tmp_path: Path) -> None:
    """Constants that the file reads, functions, classes, imports, distributions, and names far from any setting."""
    path = write(
        tmp_path,
        "from math import *\nimport random as samples\nfrom os import path as packs\n"
        "num_sample, width = 5, 8\nRATES = [0.1 * i for i in range(1, num_sample)]\nLR = tune.loguniform(0.1, 1)\n"
        "def sample(spec): return 0.2\nclass Seeds: pass\nfor steps in (3, 4): last = steps\n_num_samples = 7\n"
        "title, NOTE = 'x', tune.choice([1])\n"
        "param_space = {'lr': tune.grid_search(RATES), 'sigma': tune.sample_from(sample), 'width': width}\n",
    )
    assert len(load_space(path).cells) == 4


def test_settings_of_a_file_are_those_of_a_search_space(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "param_space = {'lr': tune.uniform(0, 1), 'delta': tune.uniform(0, 1)}\n"
        "num_samples, sampling_seed, sampler, seeds, pack = 4, 3, 'sobol', [2, 5], ['seed']\n",
    )
    space = load_space(path)
    content = {"lr": tune.uniform(0, 1), "delta": tune.uniform(0, 1)}
    assert space == SearchSpace(
        content, num_samples=4, sampling_seed=3, sampler="sobol", seeds=[2, 5], pack=["seed"], name="space"
    )
    assert set(SETTINGS) < {*SearchSpace.__init__.__annotations__}


def test_files_older_than_seeds_and_sampler_keep_their_cells(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "seeds = 3\ndef sampler(spec): return 0.5\n"
        "param_space = {'seed': tune.grid_search(list(range(4, 4 + seeds))), 'sigma': tune.sample_from(sampler)}\n",
    )
    assert load_space(path).axes == {"seed": [4, 5, 6]}


NAMED = "param_space = {'depth': tune.choice([1, 2]), 'width': tune.choice([3]), 'lr': tune.sample_from(function)}\n"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "def function(config):\n    return 0.1 / config['depth']",
            r"of lr failed with KeyError: 'depth' \(space.py, line 3\); the function gets .*: write spec.config.depth$",
        ),
        (
            "function = lambda config: config.depth",
            r"AttributeError: .* 'depth' \(space.py, line 2\); .*write spec.config.d",
        ),
        (
            "function = lambda spec: spec.config.dept",
            r"'dept' \(space.py, line 2\); the function gets a spec: spec.config",
        ),
        (
            "function = lambda spec: spec['config']['width'] / 2 + spec['config']['lr']",
            r"TypeError: .* \(space.py, line 2\)",
        ),
        (
            "function = lambda spec: spec.config.depth.part",
            r"'int' object has no attribute 'part' \(space.py, line 2\)",
        ),
        (
            "def function(spec):\n    return 1 / 0",
            r"failed with ZeroDivisionError: division by zero \(space.py, line 3\)$",
        ),
        ("import json\ndef function(spec):\n    return json.loads('{')", r"JSONDecodeError: .* \(space.py, line 4\)$"),
        ("def function():\n    raise SystemExit(3)", r"failed with SystemExit: 3 \(space.py, line 3\)$"),
        (
            "def function(spec):\n    try:\n        {}['a']\n    except KeyError:\n        raise ValueError('no a')",
            r"ValueError: no a \(space.py, line 6\)$",
        ),
    ],
)
def test_errors_within_sample_from_name_their_cause(function: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        load_space(write(tmp_path, f"{function}\n{NAMED}"))
    assert "object at 0x" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_that_depend_on_each_other_are_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "param_space = {'depth': tune.sample_from(lambda spec: spec.config.width),"
        " 'width': tune.sample_from(lambda spec: spec.config.depth)}\n",
    )
    with pytest.raises(SpaceError, match="depth depends on itself, by way of sample_from"):
        load_space(path)


def test_a_file_imports_its_neighbours_and_leaves_no_trace(tmp_path: Path) -> None:
    """So two spaces may have different modules of the same name."""
    paths, finders = list(sys.path), list(sys.meta_path)
    for slope in (0.25, 0.5):
        space = load_space(space_with_neighbours(tmp_path / str(slope), slope))
        assert space.axes == {"lr": [0.1, 0.2]}
        assert component("activation", "neighbour_relu").value(np.array([-1.0])) == -slope
        assert not {"helper", "deeper", "deeper.still"} & set(sys.modules)
    assert (sys.path, sys.meta_path) == (paths, finders)


def test_components_of_neighbours_travel_by_value(tmp_path: Path) -> None:
    """Another process, which cannot import the module, gets the class with what it uses, as Ray's workers do."""
    load_space(space_with_neighbours(tmp_path / "spaces", 0.25))
    (tmp_path / "class").write_bytes(cloudpickle.dumps(type(component("activation", "neighbour_relu"))))
    code = "import numpy, pickle; print(pickle.load(open('class', 'rb'))().value(numpy.array([-1.0, 2.0])))"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.stdout == "[-0.25  2.  ]\n", result.stderr


def test_neighbours_do_not_replace_the_standard_library_or_hide_packages(tmp_path: Path) -> None:
    (tmp_path / "statistics.py").write_text("raise SystemExit('the neighbour')")
    (tmp_path / "wandb").mkdir()  # a folder of results, not a package
    sys.modules.pop("statistics", None)
    path = write(
        tmp_path,
        "import statistics\nimport importlib.util\nfound = importlib.util.find_spec('wandb')\n"
        "param_space = {'lr': statistics.mean([0.1, 0.3]), 'depth': 1 + bool(found.origin)}\n",
    )
    (cell,) = load_space(path).cells
    assert (cell.lr, cell.depth) == (0.2, 2)


def test_what_is_wrong_in_a_neighbour_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "import helper\n" + PLAIN)
    (tmp_path / "helper.py").write_text("x = (\n")
    with pytest.raises(SpaceError, match=r"helper.py, line 1: syntax error"):
        load_space(path)
    (tmp_path / "helper.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(
        SpaceError, match=r"space.py: executing it failed with ModuleNotFoundError: No module named 'noth"
    ):
        load_space(path)


def test_a_space_is_made_of_all_that_stands_for_one(tmp_path: Path) -> None:
    param_space = {"lr": tune.grid_search([0.1, 0.4])}
    space = SearchSpace(param_space)
    path = write(tmp_path, "param_space = {'lr': tune.grid_search([0.1, 0.4])}\n")
    assert to_space(space) is space
    assert to_space(param_space) == space
    assert to_space(path).cells == to_space(str(path)).cells == space.cells
    assert to_space("demo").name == "demo"
