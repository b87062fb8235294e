"""Search spaces: expanded through Tune into cells, grouped into packs, refused with one line."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stateful_components  # noqa: F401
from ray import tune

from lop_sweep.config import FIELDS, CellConfig
from lop_sweep.errors import ConfigError, SpaceError
from lop_sweep.pack import Pack, expand, make_packs
from lop_sweep.planning.space import SearchSpace, expand_space
from lop_sweep.planning.space_file import load_space, shipped_spaces

HEAD = "from ray import tune\n"


def write(folder: Path, content: str) -> Path:
    path = folder / "space.py"
    path.write_text(HEAD + content)
    return path


def test_a_grid_becomes_its_cells() -> None:
    cells = expand_space({"depth": tune.grid_search([1, 2]), "lr": tune.grid_search([0.1, 0.2, 0.3]), "sigma": 0.5})
    assert len(cells) == 6
    assert set(cells) == {CellConfig(depth=d, lr=r, sigma=0.5) for d in (1, 2) for r in (0.1, 0.2, 0.3)}


def test_sampling_is_seeded_and_repeats_the_grid() -> None:
    space = {"lr": tune.loguniform(1e-3, 1), "width": tune.randint(4, 400), "depth": tune.grid_search([1, 2])}
    first, again, other = (expand_space(space, num_samples=5, sampling_seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert len(first) == 10
    assert not set(first) & set(other)
    assert len({cell.lr for cell in first}) == 10
    assert all(1e-3 <= cell.lr <= 1 for cell in first)


def test_all_of_tunes_primitives_work() -> None:
    space = {
        "lr": tune.sample_from(lambda spec: 0.1 / spec.config.depth),
        "depth": tune.choice([1, 2, 4]),
        "steps": tune.qrandint(10, 50, 10),
        "sigma": tune.quniform(0.1, 0.5, 0.1),
        "delta": tune.uniform(-1, 1),
        "tasks": {"grid_search": [5, 6]},
    }
    for cell in expand_space(space, num_samples=4):
        assert cell.lr == 0.1 / cell.depth
        assert cell.steps in range(10, 60, 10)


def test_global_generators_are_seeded_and_restored() -> None:
    space = {
        "lr": tune.sample_from(lambda spec: np.random.uniform(0.1, 1)),
        "delta": tune.sample_from(lambda spec: random.random()),
    }
    outside = np.random.get_state()[1].copy()
    assert expand_space(space, num_samples=3) == expand_space(space, num_samples=3)
    assert expand_space(space, num_samples=3) != expand_space(space, num_samples=3, sampling_seed=1)
    assert np.array_equal(np.random.get_state()[1], outside)


GRIDS: list[dict[str, Any]] = [
    {"lr": tune.grid_search([0.1, 0.4, 0.2]), "depth": tune.grid_search([2, 1]), "seed": tune.grid_search([3, 1, 2])},
    {"seed": {"grid_search": range(3)}, "delta": tune.grid_search(np.linspace(0, 1, 3)), "metrics": ["srank"]},
    {"steps": tune.grid_search([10, 20]), "lr": tune.grid_search([0.1, 0.1, 1, 1.0]), "tasks": 3},
    {"steps": tune.grid_search([10, 20]), "fresh_steps": tune.grid_search([20, None]), "lr": 0.3},
    {"steps": tune.grid_search([10, 20]), "fresh_steps": None, "seed": tune.grid_search([np.int64(1), 2.0])},
    {"fresh_baseline": tune.grid_search(["auto", 7]), "seed": tune.grid_search([1, 1.0, 2]), "width": 8},
    {"metrics": tune.grid_search(["srank", "", "test_ce,srank"]), "depth": tune.grid_search([1, 2])},
    {"lr": tune.grid_search([0.1, tune.uniform(0.2, 0.3)]), "depth": tune.grid_search([1, 2])},
    {"lr": tune.sample_from(lambda spec: 0.1 * spec.config.depth), "depth": tune.grid_search([1, 2])},
    {"depth": 3},
    {},
]


@pytest.mark.parametrize("space", GRIDS, ids=lambda space: "-".join(space))
@pytest.mark.parametrize("num_samples", [1, 2])
def test_grids_have_the_cells_that_tune_generates_in_its_order(
    space: dict[str, Any], num_samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = expand_space(space, num_samples)
    monkeypatch.setattr("lop_sweep.planning.space._as_grid", lambda param_space: None)
    generated = expand_space(space, num_samples)
    assert found == generated
    assert [cell.id for cell in found] == [cell.id for cell in generated]


def test_plain_grids_do_not_need_tunes_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lop_sweep.planning.space.variants", None)
    assert [len(expand_space(space)) for space in GRIDS[:3]] == [18, 9, 4]
    with pytest.raises(TypeError):
        expand_space(GRIDS[3])


def test_a_grid_that_no_computer_could_run_is_refused_at_once() -> None:
    axes = {name: tune.grid_search(list(range(1, 1000))) for name in ("seed", "depth", "lr", "delta")}
    with pytest.raises(SpaceError, match=r"996,005,996,001 cells: must be 1 to 4,000,000"):
        expand_space(axes)


def test_equal_cells_are_one_cell() -> None:
    assert len(expand_space({"depth": tune.choice([3])}, num_samples=7)) == 1
    assert len(expand_space({"lr": tune.grid_search([1, 1.0])})) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("param_space = {'dept': 3}", r"unknown key 'dept' \(did you mean 'depth'\?\); lop-sweep run --help and"),
        ("param_space = {'depth': '3'}", "depth = '3': must be a number"),
        ("param_space = {'depth': [1, 2]}", r"for several values write tune.grid_search"),
        ("param_space = {'lr': tune.grid_search([0.1, -1])}", "lr = -1: must be greater than 0"),
        ("param_space = {'lr': tune.grid_search([])}", "the search space is empty"),
        ("param_space = {'lr': tune.grid_search(3)}", "Ray Tune cannot expand param_space"),
        ("import numpy\nparam_space = {'lr': tune.grid_search(numpy.array(3))}", "Ray Tune cannot expand param_space"),
        ("param_space = {'lr': tune.sample_from(lambda spec: 1 / 0)}", "Ray Tune cannot expand .*"),
        ("param_space = [1]", "param_space must be a dictionary"),
        ("", "defines no param_space"),
        ("param_space = {", "line 2: syntax error"),
        ("import nothing_of_that_name", "failed with ModuleNotFoundError: No module named"),
        ("raise SystemExit(0)", "failed with SystemExit"),
        ("param_space = {}\npack = 'seed'", r"pack = 'seed': must be a list of field names"),
        ("param_space = {}\npack = ['depth']", r"cells of one pack cannot differ in depth; possible are seed"),
        ("param_space = {}\npack = ['sede']", "cannot differ in sede"),
        ("param_space = {}\nnum_samples = 0", "num_samples = 0: must be an integer of at least 1"),
        ("param_space = {}\nnum_samples = 2.5", "num_samples = 2.5: must be"),
        ("param_space = {}\nsampling_seed = -1", "sampling_seed = -1: must be an integer of at least 0"),
    ],
)
def test_bad_files_are_refused_with_one_line(content: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(SpaceError, match=message) as caught:
        load_space(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_such_space_names_the_shipped_ones(tmp_path: Path) -> None:
    shipped = "activations, delta_sigma, demo, depth_lr, depth_lr_delta, drift, full_grid, mitigations, optimizers, "
    with pytest.raises(SpaceError, match=rf"'nope' is not a file; .* {shipped}"):
        load_space("nope")
    with pytest.raises(SpaceError, match="is a directory"):
        load_space(tmp_path)


@pytest.mark.parametrize(
    ("name", "cells", "axes"),
    [
        ("demo", 105, {"depth", "lr", "seed"}),
        ("depth_lr", 650, {"depth", "lr", "delta", "seed"}),
        ("depth_lr_delta", 1848, {"depth", "lr", "delta", "seed"}),
        ("delta_sigma", 324, {"delta", "sigma", "seed"}),
        ("full_grid", 2100, {"depth", "lr", "delta", "sigma", "seed"}),
        ("optimizers", 288, {"optimizer", "lr", "seed"}),
        ("mitigations", 864, {"depth", "lr", "mitigation", "seed"}),
        ("activations", 616, {"activation", "lr", "seed"}),
        ("drift", 280, {"drift", "lr", "seed"}),
        ("slowly_changing_regression", 900, {"activation", "lr", "seed"}),
        ("random_labels", 10, {"mitigation", "seed"}),
        ("script_example", 4, {"seed"}),
    ],
)
def test_shipped_spaces(name: str, cells: int, axes: set[str]) -> None:
    space = load_space(name)
    assert len(space.cells) == cells
    assert set(space.axes) == axes
    assert space.pack is None
    if name == "script_example":
        assert space.cells[0] == CellConfig(
            seed=7, steps=500, lr=0.3, tasks=300, delta=0.0, spread=1.0, sigma=0.2, components=4, input_dim=2, depth=10
        )


def test_every_shipped_space_is_tested() -> None:
    assert set(shipped_spaces()) == {
        "activations", "delta_sigma", "demo", "depth_lr", "depth_lr_delta", "drift", "full_grid", "mitigations",
        "optimizers", "random_labels", "script_example", "slowly_changing_regression",
    }  # fmt: skip


def test_packs_fold_the_axes_named_and_no_others() -> None:
    grid = {"depth": [1, 2], "lr": [0.1, 0.2], "seed": [0, 1, 2]}
    cells = expand_space({field: tune.grid_search(values) for field, values in grid.items()})
    by_seed = make_packs(cells, ["seed"])
    assert [len(pack.cells) for pack in by_seed] == [3] * 4
    assert all(len({(cell.depth, cell.lr) for cell in pack.cells}) == 1 for pack in by_seed)
    assert [len(pack.cells) for pack in make_packs(cells, ["seed", "lr"])] == [6, 6]
    assert [len(pack.cells) for pack in make_packs(cells, [])] == [1] * 12


def test_packs_travel_as_trial_configurations() -> None:
    cells = (CellConfig(seed=1, lr=0.5), CellConfig(seed=2, lr=0.25))
    config = Pack(cells).to_config()
    assert config["cells"] == [{"seed": 1, "lr": 0.5}, {"seed": 2, "lr": 0.25}]
    assert expand(config) == cells
    assert expand(Pack(cells[:1]).to_config()) == cells[:1]
    assert expand({"depth": 3}) == (CellConfig(depth=3),)
    assert Pack(cells).id == Pack(tuple(expand(config))).id != Pack(cells[::-1]).id
    with pytest.raises(ConfigError, match="must be a list of dictionaries"):
        expand({"cells": [1, 2]})


def test_a_dictionary_and_its_cells_make_the_same_space() -> None:
    param_space = {"lr": tune.grid_search([0.1, 0.4]), "seed": tune.choice([3]), "depth": 2}
    space = SearchSpace(param_space, num_samples=2, name="grid", pack=["seed"])
    assert space == SearchSpace(
        cells=[CellConfig(lr=lr, seed=3, depth=2) for lr in (0.1, 0.4)], name="grid", pack=["seed"]
    )
    assert space.axes == {"lr": [0.1, 0.4]}
    assert (space.name, space.pack) == ("grid", ("seed",))
    assert SearchSpace(param_space).pack is None


def test_equal_explicit_cells_are_one_cell() -> None:
    assert SearchSpace(cells=[CellConfig(), CellConfig(seed=1), CellConfig()]).cells == (
        CellConfig(),
        CellConfig(seed=1),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs a param_space or cells, and not both"),
        ({"param_space": {}, "cells": [CellConfig()]}, "needs a param_space or cells, and not both"),
        ({"param_space": [1]}, "param_space must be a dictionary"),
        ({"cells": []}, "the search space is empty: cells holds no cell"),
        ({"cells": [{"lr": 0.1}]}, r"cells holds \{'lr': 0.1\}: must be a list of CellConfig"),
        ({"cells": 5}, "cells = 5: must be a list of CellConfig"),
        ({"param_space": {}, "name": 5}, "name = 5: must be a string"),
        ({"param_space": {}, "pack": ["depth"]}, "cells of one pack cannot differ in depth"),
        ({"param_space": {}, "num_samples": 0}, "num_samples = 0: must be an integer of at least 1"),
    ],
)
def test_wrong_arguments_of_a_space_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        SearchSpace(**arguments)


class Wider(CellConfig):
    """A configuration with a string and a boolean field, as later releases may have."""

    rule: str = "sgd"
    nested: bool = False


def test_strings_and_booleans_are_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lop_sweep.planning.space.FIELDS", [*FIELDS, "rule", "nested"])
    cells = [Wider(rule=rule, nested=nested, lr=0.1) for rule in ("sgd", "adam") for nested in (True, False)]
    space = SearchSpace(cells=cells)
    assert space.axes == {"rule": ["adam", "sgd"], "nested": [False, True]}


@pytest.mark.parametrize(("seeds", "expected"), [(1, 160), (3, 54), (8, 20), (100, 5)])
def test_an_automatic_baseline_is_shared_among_seeds(seeds: int, expected: int) -> None:
    space = SearchSpace(
        {
            "fresh_baseline": "auto",
            "lr": tune.grid_search([0.1, 0.4]),
            "seed": tune.grid_search(list(range(seeds))),
        }
    )
    assert len(space.cells) == 2 * seeds
    assert {cell.fresh_baseline for cell in space.cells} == {expected}


def test_an_automatic_baseline_is_no_axis() -> None:
    cells = {"depth": tune.randint(1, 3), "seed": tune.randint(0, 3), "fresh_baseline": "auto"}
    space = SearchSpace(cells, num_samples=12)
    assert set(space.axes) == {"depth", "seed"}


def test_an_automatic_baseline_counts_the_seeds_of_each_configuration() -> None:
    seeds = tune.sample_from(lambda config: 0 if config["config"]["depth"] == 1 else config["config"]["width"])
    space = SearchSpace(
        {
            "depth": tune.grid_search([1, 2]),
            "width": 8,
            "tasks": tune.grid_search([5, 6]),
            "seed": seeds,
            "fresh_baseline": tune.grid_search(["auto", 7]),
        }
    )
    assert {cell.fresh_baseline for cell in space.cells} == {160, 7}
    with pytest.raises(ConfigError, match="fresh_baseline = 'auto': must be a number"):
        CellConfig(fresh_baseline="auto")
    with pytest.raises(ConfigError, match="lr = 0"):
        SearchSpace({"fresh_baseline": "auto", "lr": 0})


def test_a_hyperparameter_applies_to_the_cells_whose_component_has_it() -> None:
    space = SearchSpace({
        "optimizer": tune.grid_search(["sgd", "test_momentum"]),
        "weight_decay": tune.grid_search([0.0, 0.1]),
        "seed": tune.grid_search([1, 2]),
    })  # fmt: skip
    found = sorted((cell.optimizer, cell.weight_decay, cell.seed) for cell in space.cells)
    assert found == [
        ("sgd", 0.0, 1), ("sgd", 0.0, 2), ("sgd", 0.1, 1), ("sgd", 0.1, 2), ("test_momentum", 0.0, 1),
        ("test_momentum", 0.0, 2),
    ]  # fmt: skip
    assert {cell.id for cell in space.cells if cell.weight_decay == 0.1} == {
        CellConfig(weight_decay=0.1, seed=seed).id for seed in (1, 2)
    }


def test_a_hyperparameter_that_no_cell_uses_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"weight_decay = 0\.1: not a hyperparameter of optimizer 'test_momentum'"):
        SearchSpace({"optimizer": "test_momentum", "weight_decay": tune.grid_search([0.0, 0.1])})
    with pytest.raises(ConfigError, match=r"unknown optimizer 'sdg' \(did you mean 'sgd'\?\); choose from: sgd"):
        SearchSpace({"optimizer": tune.grid_search(["sgd", "sdg"])})
