"""Components of a user's own: registered with a version, part of a cell's identity, and readable without their code."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from own_space import COMPONENTS, own_space
from ray import tune
from sweeping import compute_here

from analysis.cli import main as analyse
from analysis.data import load_cells, load_layers, load_tasks, varying_fields
from analysis.data.fields import plain
from analysis.data.losses import chance_levels, in_words_of
from analysis.plot import CATEGORIES, VALUES
from analysis.scoring import score
from analysis.statistics.compare import pair
from lop_sweep import CellConfig, Experiment, ReferenceExperiment, SearchSpace, load_space
from lop_sweep.cell_table import Column, from_columns, grid_cells, to_columns
from lop_sweep.cli import main
from lop_sweep.components import BaseActivation
from lop_sweep.components.choice import hyperparameters_of, layer_sizes
from lop_sweep.components.recorded import check_own_metrics, declare, describe
from lop_sweep.config import FIELDS
from lop_sweep.errors import ConfigError, SpaceError, StoreError
from lop_sweep.metrics import METRICS, OptionalMetric, TaskMetric
from lop_sweep.pack import Pack
from lop_sweep.planning.space import expand_space
from lop_sweep.registry import components, isolated, own_component, parse_used, register
from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.manifest import describe_space, requested_cells
from lop_sweep.storage.parquet import packs_of, read_table, write_table
from lop_sweep.storage.records import read_json, write_json
from lop_sweep.storage.schema import CELLS, TASKS, tasks_schema
from lop_sweep.storage.store import Store


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    """What a test registers is gone after it."""
    with isolated():
        yield


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished sweep, and beside it its search space. The components are not registered here."""
    folder = tmp_path_factory.mktemp("own")
    with isolated():
        space = load_space(own_space(folder / "own.py"))
        compute_here(space.cells, folder / "out")
    assert "own_relu" not in components("activation")
    assert "own_mean" not in METRICS
    return folder / "out"


@pytest.fixture
def copy(swept: Path, tmp_path: Path) -> Path:
    shutil.copytree(swept, tmp_path / "copy")
    return tmp_path / "copy"


def made(name: str, version: str = "1", slope: float = 0.1) -> str:
    """Register an activation; return how configurations name it."""

    @register("activation", name, version=version)
    class Made(BaseActivation):
        """Made."""

        slope_below = slope

        def value(self, z: Any) -> Any:
            return np.where(z > 0, z, self.slope_below * z)

        def backward(self, error: Any, z: Any, a: Any) -> Any:
            return np.where(z > 0, error, self.slope_below * error)

        def torch(self) -> Any:
            return torch.nn.LeakyReLU(self.slope_below)

    own = own_component("activation", name)
    assert own is not None
    return str(own.used)


def test_a_component_of_your_own_needs_a_version() -> None:
    with pytest.raises(ConfigError, match=r"activation 'mine': a component of your own needs a version.*version=\"1\""):
        made("mine", version="")
    assert "mine" not in components("activation")


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("a,b", "1", "its name 'a,b' must be letters, digits and _ . \\+ -, beginning with a letter"),
        ("1x", "1", "its name '1x' must be"),
        ("x", "1 2", "its version '1 2' must be letters"),
        ("none", "1", "'none': stands for no activation"),
    ],
)
def test_names_and_versions_can_be_written_into_one_field(name: str, version: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(name, version)


def test_a_name_of_lop_sweep_is_not_taken_over() -> None:
    with pytest.raises(ValueError, match="activation 'tanh' is already registered by Tanh"):
        made("tanh")


def test_a_name_is_that_of_one_place() -> None:
    """A class may be registered again where it is defined, as in a notebook, but not one from elsewhere."""
    first, second = made("mine", slope=0.1), made("mine", slope=0.2)
    assert first != second

    with pytest.raises(ConfigError, match=r"activation 'mine' is already registered by .*Made, which is another one"):

        @register("activation", "mine", version="1")
        class Other(BaseActivation):
            def value(self, z: Any) -> Any:
                return z


def test_a_class_without_source_is_refused() -> None:
    space: dict[str, Any] = {"__name__": "typed"}
    exec("class Typed:\n    def value(self, z):\n        return z\n", space)
    with pytest.raises(ConfigError, match="the source of Typed cannot be read"):
        register("activation", "typed", version="1")(space["Typed"])


def load(folder: Path, text: str, stem: str = "file") -> None:
    """Execute a search-space file."""
    (folder / f"{stem}.py").write_bytes((text + "\nparam_space = {'lr': 0.1}\n").encode())
    load_space(folder / f"{stem}.py")


def digest_of(folder: Path, text: str, name: str = "own_relu") -> str:
    """Return the digest of an activation that a file defines."""
    with isolated():
        load(folder, text)
        own = own_component("activation", name)
        assert own is not None
        assert own.digest == hashlib.sha256(own.definition.encode()).hexdigest()[:16]
        return own.digest


def test_the_digest_is_that_of_the_source(tmp_path: Path) -> None:
    """Line endings and indentation of the class as a whole do not count; its lines and comments do."""
    first = digest_of(tmp_path, COMPONENTS)
    assert first == digest_of(tmp_path, COMPONENTS)
    assert first == digest_of(tmp_path, COMPONENTS.replace("\n", "\r\n"))
    start, end = COMPONENTS.index('@register("activation"'), COMPONENTS.index('@register("optimizer"')
    indented = COMPONENTS[start:end].replace("\n", "\n    ")
    assert first == digest_of(tmp_path, f"{COMPONENTS[:start]}if True:\n    {indented}\n{COMPONENTS[end:]}")
    assert first != digest_of(tmp_path, COMPONENTS.replace("return leaky(z)", "return leaky(z)  # the same"))
    assert first != digest_of(tmp_path, COMPONENTS.replace("VERSION", "2"))
    # only the version tells that a function changed which the class calls
    assert first == digest_of(tmp_path, COMPONENTS.replace("FACTOR = 0.1", "FACTOR = 0.2"))


BASE = """
from lop_sweep import register
from lop_sweep.components import BaseActivation
class Base(BaseActivation):
    def value(self, z):
        return 2 * z
@register("activation", "own_relu", version="1")
class Derived(Base):
    def backward(self, error, z, a):
        return 2 * error
"""


def test_the_digest_covers_bases_in_the_same_file(tmp_path: Path) -> None:
    assert digest_of(tmp_path, BASE) != digest_of(tmp_path, BASE.replace("2 * z", "z + z"))


def test_classes_that_a_loop_makes_differ() -> None:
    """Their source is the same; attributes that are numbers count."""
    first, second = (parse_used(made(f"leaky_{slope}", slope=slope))[0] for slope in (0.1, 0.2))
    assert first.digest != second.digest
    assert first.digest == parse_used(made("other", slope=0.1))[0].digest


def test_own_components_are_part_of_the_identity() -> None:
    plain = CellConfig(activation="mine")  # nothing is registered: the name alone
    used = made("mine", slope=0.1)
    config = CellConfig(activation="mine")
    assert config.own_components == used
    assert config.id != plain.id
    assert config.trajectory != plain.trajectory
    assert CellConfig.from_json(config.to_json()) == config
    changed = made("mine", slope=0.2)
    assert CellConfig(activation="mine").own_components == changed
    assert CellConfig(activation="mine").id != config.id
    with isolated():
        version = made("mine", version="2", slope=0.2)
        assert parse_used(version)[0].digest == parse_used(changed)[0].digest
        assert CellConfig(activation="mine").id != config.id


def test_cells_without_own_components_keep_their_ids() -> None:
    before = CellConfig(depth=3, metrics="srank")
    made("mine")
    after = CellConfig(depth=3, metrics="srank")
    assert after.own_components == ""
    assert after.id == before.id
    assert after.trajectory == before.trajectory


def test_several_components_are_named_in_one_order(tmp_path: Path) -> None:
    cell = load_space(own_space(tmp_path / "own.py")).cells[-1]
    assert [used[:2] for used in parse_used(cell.own_components)] == [
        ("activation", "own_relu"), ("optimizer", "own_momentum"), ("stream", "own_drift"), ("mitigation", "own_noise"),
        ("metric", "own_mean"), ("metric", "own_share"),
    ]  # fmt: skip
    assert cell.replace(metrics=["own_share", "own_mean"]) == cell
    assert len(parse_used(cell.replace(metrics="own_share").own_components)) == 5


def test_a_loss_of_a_stream_of_your_own_is_named_too(tmp_path: Path) -> None:
    text = COMPONENTS.replace('    loss = "binary"', '    loss = "own_loss"') + (
        '\nfrom lop_sweep.components.losses import BinaryCrossEntropy\n'
        '@register("loss", "own_loss", version="3")\nclass OwnLoss(BinaryCrossEntropy):\n    """The same."""\n'
    )  # fmt: skip
    with isolated():
        load(tmp_path, text)
        config = CellConfig(stream="own_drift")
        assert [used[:3] for used in parse_used(config.own_components)] == [
            ("loss", "own_loss", "3"), ("stream", "own_drift", "1"),
        ]  # fmt: skip
        assert np.isfinite(Experiment([config.replace(width=5, tasks=1)]).run_task()["final_ce"]).all()
    assert CellConfig(**config.model_dump()) == config  # without the code
    assert config.replace(seed=3).own_components == config.own_components
    assert config.replace(stream="gaussian_mixture").own_components == ""


def test_a_configuration_can_be_read_and_changed_without_the_code() -> None:
    with isolated():
        used = made("mine")
        config = CellConfig(activation="mine", seed=3)
        expected = config.replace(depth=2)
    assert CellConfig.from_json(config.to_json()) == config
    assert config.replace(depth=2).id == expected.id
    assert config.replace(activation="tanh") == CellConfig(seed=3)
    assert config.replace(seed=4).own_components == used


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("x", "must be KIND NAME VERSION DIGEST"),
        ("activation mine 1 0123", "must be KIND NAME VERSION DIGEST"),
        ("activation other 1 0123456789abcdef", "the cell does not use activation 'other'"),
        ("loss mine 1 0123456789abcdef", "the cell does not use loss 'mine'"),
    ],
)
def test_own_components_are_not_set_by_hand(given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        CellConfig(activation="mine", own_components=given)
    assert "leave it out" in str(error.value)


def test_other_components_than_those_used_are_not_computed_with() -> None:
    with isolated():
        used = parse_used(made("mine", slope=0.1))[0]
        config = CellConfig(activation="mine", width=5, tasks=1)
    for compute in (lambda: Experiment([config]), lambda: ReferenceExperiment(config)):
        with pytest.raises(ConfigError, match=rf"activation 'mine': version 1 \({used.digest}\) .* is not registered"):
            compute()
    with pytest.raises(ConfigError, match="is not registered here"):
        SearchSpace(cells=[config])
    other = parse_used(made("mine", version="2"))[0]
    message = (
        rf"the cell is that of version 1 \({used.digest}\), registered here is version 2 \({other.digest}\); a cell is"
    )
    with pytest.raises(ConfigError, match=message):
        Experiment([config])
    with pytest.raises(ConfigError, match=message):
        SearchSpace(cells=[config])
    with pytest.raises(ConfigError, match=message):  # a value that was given by hand is verified
        SearchSpace({"activation": "mine", "own_components": str(used)})


def test_a_configuration_from_before_the_registration_is_refused() -> None:
    config = CellConfig(activation="mine", width=5, tasks=1)
    made("mine")
    with pytest.raises(ConfigError, match="activation 'mine': was registered after this configuration was made"):
        Experiment([config])
    assert np.isfinite(Experiment([config.replace()]).run_task()["final_ce"]).all()


AXES = {"activation": ["tanh", "leaky_1", "leaky_2"], "metrics": ["", "own_share"], "seed": [0, 1, 2, 3]}


def test_cells_of_a_grid_name_their_components(tmp_path: Path) -> None:
    """Also where two axes choose components, and where cells are read without the code."""
    with isolated():
        load(tmp_path, COMPONENTS)
        for slope in (1, 2):
            made(f"leaky_{slope}", slope=slope)
        cells = grid_cells({"width": 5}, AXES)
        expected = [CellConfig(width=5, activation=a, metrics=m, seed=s)
                    for s, m, a in itertools.product(*reversed(AXES.values()))]  # fmt: skip
        assert list(cells) == expected
        assert [cell.id for cell in cells] == [cell.id for cell in expected]
        assert len({cell.own_components for cell in cells}) == 6
        assert cells == expand_space({"width": 5, **{name: tune.grid_search(v) for name, v in AXES.items()}})
        common, columns = to_columns(cells)
        described = describe_space(SearchSpace(cells=cells, name="own"), max_rows=1)
        rows = describe_space(SearchSpace(cells=cells, name="own"))
    read = [Column.from_json(json.loads(json.dumps(column.to_json())), len(cells)) for column in columns]
    assert [cell.id for cell in from_columns(common, read, len(cells))] == [cell.id for cell in cells]
    for content in (described, rows):
        assert "own_components" not in content["axes"]
        assert requested_cells(json.loads(json.dumps(content))) == cells
    made("leaky_1", version="7")  # another one: what was computed keeps its name
    assert from_columns(common, read, len(cells)) == cells
    spoilt = [Column(c.field, ["x"] * len(c.values), c.stride, c.index) if c.field == "own_components" else c
              for c in read]  # fmt: skip
    with pytest.raises(ConfigError, match="own_components"):
        from_columns(common, spoilt, len(cells))


def test_packs_are_of_one_version() -> None:
    made("mine", version="1")
    first = CellConfig(activation="mine", seed=0)
    made("mine", version="2")
    second = CellConfig(activation="mine", seed=1)
    with pytest.raises(ConfigError, match="own_components"):
        Experiment([first, second])
    assert json.loads(json.dumps(Pack((second,)).to_config()))["own_components"] == second.own_components


def metric(name: str, base: type = OptionalMetric, **attributes: Any) -> None:
    class Made(base):  # type: ignore[misc]
        label = "made"

        def compute(self, task: Any) -> Any:
            return task.end_loss

    for attribute, value in attributes.items():
        setattr(Made, attribute, value)
    register("metric", name, version="1")(Made)


@pytest.mark.parametrize(
    ("name", "base", "attributes", "message"),
    [
        ("every", TaskMetric, {}, "metric 'every': must be optional"),
        ("lr", OptionalMetric, {}, "metric 'lr': cannot be a column of the results"),
        ("late_x", OptionalMetric, {}, "metric 'late_x': cannot be a column"),
        ("a.b", OptionalMetric, {}, "metric 'a.b': cannot be a column"),
        ("odd", OptionalMetric, {"late_statistic": "mode"}, "late_statistic must be mean or median"),
    ],
)
def test_metrics_that_cannot_be_columns_are_refused(
    name: str, base: type, attributes: dict[str, Any], message: str
) -> None:
    metric(name, base, **attributes)
    with pytest.raises(ConfigError, match=message):
        check_own_metrics()
    with pytest.raises(ConfigError, match=message):
        Experiment([CellConfig(width=5, tasks=1)])


def test_no_metric_can_have_the_name_of_another_column(swept: Path) -> None:
    """All columns of tables and scores are refused."""
    values = {value.column for value in VALUES.values()} | set(CATEGORIES) | set(VALUES)
    others = ({*TASKS.names, *CELLS.names, *score(swept).columns} | values) - set(METRICS)
    assert len(others) > 80
    for name in others:
        if not name.startswith("late_"):
            metric(name)
            with pytest.raises(ConfigError, match="cannot be a column of the results"):
                check_own_metrics()


def test_own_metrics_are_columns_as_soon_as_they_are_registered() -> None:
    before = tasks_schema().names
    metric("made_up")
    assert set(tasks_schema().names) - set(before) == {"made_up"}
    assert tasks_schema().names.index("made_up") < tasks_schema().names.index("seed")


def test_results_hold_the_columns(swept: Path) -> None:
    """A user's script reads them with pandas alone."""
    tasks = pd.read_parquet(swept / "tasks")
    assert len(tasks) == 8 * 8
    assert np.stack(tasks["own_mean"]).shape == (64, 2)
    assert tasks["own_share"].between(0, 1).all()
    named = tasks.groupby("activation")["own_components"].unique()
    assert "activation own_relu 1 " in named["own_relu"][0]
    assert "activation" not in named["tanh"][0]


def test_sweep_json_describes_the_components(swept: Path) -> None:
    described = read_json(swept / "sweep.json")["components"]
    by_name = {one["name"]: one for one in described}
    assert set(by_name) == {"own_relu", "own_momentum", "own_noise", "own_drift", "own_mean", "own_share"}
    for one in described:
        assert one["digest"] == hashlib.sha256(one["definition"].encode()).hexdigest()[:16]
    assert "return leaky(z)" in by_name["own_relu"]["definition"]
    assert by_name["own_share"]["metric"] == {
        "label": "own share", "unit": "share", "per_layer": False, "logarithmic": False, "late_statistic": "mean",
        "bounds": [0.0, 1.0],
    }  # fmt: skip
    assert by_name["own_mean"]["metric"]["bounds"] == [0.0, None]


def test_the_commands_need_no_code(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(copy), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["cells"], status["finished"], status["missing"]) == (8, 8, 0)
    assert main(["audit", str(copy)]) == 0
    assert "8 cells, 64 rows of tasks: no problem" in capsys.readouterr().out
    assert main(["copy", str(copy), str(copy.parent / "second")]) == 0
    assert main(["compact", str(copy.parent / "second")]) == 0
    assert main(["audit", str(copy.parent / "second")]) == 0
    assert "8 cells, 64 rows of tasks: no problem" in capsys.readouterr().out
    one, two = (pd.read_parquet(folder / "tasks").sort_values(["cell", "task"], ignore_index=True)
                for folder in (copy, copy.parent / "second"))  # fmt: skip
    pd.testing.assert_frame_equal(one, two)


def test_the_analysis_needs_no_code(copy: Path, tmp_path: Path) -> None:
    figure = tmp_path / "map.svg"
    arguments = ["--x", "lr", "--y", "depth", "--value", "own_mean"]
    assert analyse(["map", str(copy), *arguments, "--out", str(figure)]) == 0
    assert "mean activation" in figure.read_text()
    assert "own_components" not in figure.read_text()  # it follows from the activation
    assert analyse(["curves", str(copy), "--where", "lr=0.05", "--out", str(figure)]) == 0
    assert "own share" in figure.read_text()
    where = ["--where", "lr=0.05", "--where", "activation=own_relu"]
    assert analyse(["layers", str(copy), *where, "--out", str(figure)]) == 0
    assert "mean activation" in figure.read_text()
    assert analyse(["report", str(copy), "--out", str(tmp_path / "report.html")]) == 0
    assert "mean activation" in (tmp_path / "report.html").read_text()
    scored = score(copy).set_index("cell")
    tasks = pd.read_parquet(copy / "tasks")
    late = tasks[tasks["task"] > 6].groupby("cell")["own_share"].mean()
    pd.testing.assert_series_equal(scored["late_own_share"].sort_index(), late, check_names=False)
    layers = load_layers(copy)
    assert len(layers) == 2 * len(load_tasks(copy))
    assert layers["own_mean"].notna().all()


def test_scores_are_the_same_with_and_without_the_code(swept: Path) -> None:
    """Levels of guessing and verdicts depend on the stream, its loss and its numbers of inputs and outputs."""
    without = score(swept)
    with isolated():
        load_space(swept.parent / "own.py")
        pd.testing.assert_frame_equal(score(swept), without)
        used = hyperparameters_of(CellConfig(stream="own_drift", optimizer="own_momentum", mitigation="own_noise"))
        assert used == {"lr", "input_dim"}
    config = CellConfig(**{name: plain(without[name].iloc[0]) for name in FIELDS})
    assert layer_sizes(config)[:2] == (4, 1)
    assert hyperparameters_of(config) == {name for name, info in FIELDS.items() if info.of}  # any may count


def test_what_readers_need_of_streams_and_losses_is_recorded(tmp_path: Path) -> None:
    text = COMPONENTS.replace('    loss = "binary"', '    loss = "own_loss"').replace("config.input_dim, 1", "7, 3") + (
        "\nfrom lop_sweep.components.losses import SquaredError\n"
        '@register("loss", "own_loss", version="3")\nclass OwnLoss(SquaredError):\n    """The same."""\n'
        '    unit = "own unit"\n'
    )
    with isolated():
        load(tmp_path, text)
        cells = [CellConfig(stream="own_drift", activation="own_relu")]
        described = json.loads(json.dumps(describe(cells)))
    by_kind = {one["kind"]: one for one in described}
    assert by_kind["stream"]["stream"] == {"loss": "own_loss", "dimensions": [7, 3]}
    assert by_kind["loss"]["loss"] == {"unit": "own unit", "has_classes": False, "chance": {"3": None}}
    assert by_kind["activation"]["activation"] == {"expansion": 1}
    declare(described)
    assert layer_sizes(cells[0]) == (7, 3, 100, 100, 5)
    assert in_words_of("late CE (nats)", ["own_drift"]) == "late loss (own unit)"
    assert chance_levels(pd.DataFrame([cells[0].model_dump()])) == [np.inf]


def test_nothing_of_a_definition_is_executed(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = read_json(copy / "sweep.json")
    for one in content["components"]:
        one["definition"] = f"open({str(tmp_path / 'executed')!r}, 'w')\n"
    write_json(copy / "sweep.json", content)
    assert main(["status", str(copy)]) == 0
    assert main(["audit", str(copy)]) == 0
    assert analyse(["scores", str(copy), "--out", str(tmp_path / "scores.csv")]) == 0
    assert not (tmp_path / "executed").exists()


def test_the_audit_knows_constant_bounds_without_the_code(copy: Path) -> None:
    store = Store(copy)
    store.check()
    path = store.file("tasks", store.committed()[0])
    table = read_table(path, tasks_schema())
    index = table.schema.get_field_index("own_share")
    spoilt = table.set_column(index, table.schema.field(index), [[1.5] * len(table)])
    write_table(path, spoilt, packs_of(path))
    assert "own_share is out of range" in [finding.what for finding in audit(store).findings]


@pytest.mark.parametrize(
    "spoilt",
    [
        None, "text", [1], [{"kind": "metric"}], [{"kind": "metric", "name": "x", "metric": {}}],
        [{"kind": "activation", "name": "x", "activation": {"expansion": 10**10}}],
        [{"kind": "stream", "name": "x", "stream": {"loss": "binary", "dimensions": [1]}}],
        [{"kind": "loss", "name": "x", "loss": {"unit": "", "has_classes": 1, "chance": 5}}],
        [{"kind": "metric", "name": "x", "metric": {"label": "", "unit": "", "per_layer": 0, "logarithmic": 0,
                                                    "late_statistic": "mean", "bounds": 3}}],
    ],
)  # fmt: skip
def test_a_damaged_description_is_one_line(copy: Path, spoilt: Any) -> None:
    content = read_json(copy / "sweep.json")
    write_json(copy / "sweep.json", {**content, "components": spoilt})
    with pytest.raises(StoreError, match="its components cannot be read"):
        Store(copy).read_sweep()
    assert "x" not in METRICS


def test_a_recorded_metric_cannot_be_computed(swept: Path) -> None:
    cells = load_cells(swept)  # makes the metrics known
    assert "own_mean" in METRICS
    with pytest.raises(ConfigError, match="metric 'own_share': is known from results only"):
        Experiment([CellConfig(metrics="own_share", width=5, tasks=1)])
    row = cells.iloc[0]
    config = CellConfig(**{name: plain(row[name]) for name in FIELDS})
    assert config.id == row["cell"]
    with pytest.raises(ConfigError, match="is not registered here; load the search space"):
        Experiment([config])


def test_registering_replaces_what_was_recorded(swept: Path) -> None:
    load_cells(swept)
    load_space(swept.parent / "own.py")
    assert Experiment([load_space(swept.parent / "own.py").cells[0]]).run_task()["own_mean"].shape == (1, 2)


def test_a_sweep_goes_on_with_the_same_components_only(copy: Path, tmp_path: Path) -> None:
    """With another version its cells are others; the earlier ones stay, and so do their descriptions."""
    space = load_space(own_space(tmp_path / "own.py"))
    before = pd.read_parquet(copy / "cells")
    compute_here(space.cells, copy)
    assert len(pd.read_parquet(copy / "cells")) == 8  # all were finished
    changed = load_space(own_space(tmp_path / "own.py", version="2"))
    compute_here(changed.cells, copy)
    after = pd.read_parquet(copy / "cells")
    assert len(after) == 12  # those with own_relu anew
    assert set(before["cell"]) < set(after["cell"])
    described = [(one["name"], one["version"]) for one in read_json(copy / "sweep.json")["components"]]
    assert described.count(("own_relu", "1")) == described.count(("own_relu", "2")) == 1
    assert len(described) == 7
    compute_here([CellConfig(width=5, depth=1, samples=4, steps=1, tasks=1, fresh_baseline=0)], copy)
    assert len(read_json(copy / "sweep.json")["components"]) == 7
    assert not audit(Store(copy)).findings

    old, both = load_cells(copy.parent / "copy").query("tasks == 8"), ["activation", "lr"]
    assert varying_fields(old[old["own_components"].isin(before["own_components"])]) == both[::-1]
    assert set(varying_fields(old)) == {"lr", "activation", "own_components"}  # two versions of one component


def test_activations_are_compared_although_their_identities_differ(copy: Path) -> None:
    scored = score(copy)
    relu, tanh = (scored[scored["activation"] == name] for name in ("own_relu", "tanh"))
    pairs = pair(relu, tanh)
    assert len(pairs) == 4
    assert "own_components" not in pairs


def test_metrics_of_one_name_are_of_one_kind(copy: Path) -> None:
    metric("own_mean")  # per task, unlike that of the directory
    with pytest.raises(ConfigError, match="metric 'own_mean' is one per hidden layer in these results, unlike another"):
        load_cells(copy)


def test_a_space_with_a_component_without_version_is_one_line(tmp_path: Path) -> None:
    own_space(tmp_path / "own.py")
    text = (tmp_path / "own.py").read_text().replace(', version="1")', ")", 1)
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(SpaceError, match="executing it failed with ConfigError: activation 'own_relu': a component of"):
        load_space(tmp_path / "own.py")


def test_own_components_are_listed_with_their_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = own_space(tmp_path / "own.py")
    assert main(["components", "activation", "own_share", "--space", str(space)]) == 0
    printed = capsys.readouterr().out
    assert "own_relu (your own, version 1, digest " in printed
    assert "max(z, z / 10), by a function of the file." in printed
    assert "Share of activations above zero." in printed
    assert "Optimizers" not in printed


def test_the_list_narrows_to_kinds_and_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["components"]) == 0
    everything = capsys.readouterr().out
    for kind in ("activation", "init", "norm", "optimizer", "loss", "stream", "metric"):
        for name in components(kind):
            if not name.startswith("test_"):
                assert f"\n  {name}" in everything
    assert "Hyperparameters: lr = 0.6, weight_decay = 0.0." in everything
    assert "Source: X. Glorot and Y. Bengio" in " ".join(everything.split())
    assert main(["components", "sgd"]) == 0
    assert capsys.readouterr().out.startswith("Optimizers, chosen by optimizer\n\n  sgd (default)\n")
    assert main(["components", "sgdd"]) == 2
    assert "unknown component 'sgdd' (did you mean 'sgd'?); give a kind (activation," in capsys.readouterr().err
