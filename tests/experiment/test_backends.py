"""The engine on torch tensors, all cells of a pack as one batch, against NumPy, one cell after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import stateful_components  # noqa: F401
import torch

from lop_sweep.cli import main
from lop_sweep.components import Components
from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.experiment import Experiment
from lop_sweep.experiment.backends import TorchDevice, check_device, make_device
from lop_sweep.experiment.cuda_graph import GraphedTraining
from lop_sweep.experiment.engine import Engine, Parameters, TaskArrays, TrainingState, TrainingTrace
from lop_sweep.experiment.network import TorchRng, initial_weights
from lop_sweep.metrics import measured_with, stack_metrics


@pytest.fixture
def stable(small: CellConfig) -> list[CellConfig]:
    """Cells that differ in several packable fields, in a regime where rounding errors do not grow."""
    calm = small.replace(lr=0.02, width=14, samples=12)
    return [
        calm.replace(seed=1),
        calm.replace(seed=2, lr=0.05, corr_thresh=0.3),
        calm.replace(seed=3, delta=0.0, sigma=0.5, components=2, relabel=0.2),
        calm.replace(seed=1, spread=0.1),
    ]


def run(configs: list[CellConfig], device: str, dtype: str = "float64") -> tuple[dict[str, np.ndarray], np.ndarray]:
    experiment = Experiment(configs, dtype, device)
    rows = [experiment.run_task() for _ in range(experiment.tasks)]
    return stack_metrics(rows), experiment.run_fresh_baseline()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 2e-3)])
def test_a_batch_on_torch_equals_cells_on_numpy(stable: list[CellConfig], dtype: str, tolerance: float) -> None:
    ours, fresh = run(stable, "torch", dtype)
    expected, expected_fresh = run(stable, "cpu", dtype)
    for name in measured_with():
        if dtype == "float64" or name != "duplicate_fraction":  # a correlation near the threshold may go either way
            np.testing.assert_allclose(ours[name], expected[name], rtol=tolerance, err_msg=name)
    np.testing.assert_allclose(fresh, expected_fresh, rtol=tolerance)


def test_divergence_stays_in_its_cell_of_a_batch(small: CellConfig) -> None:
    calm = small.replace(lr=0.02)
    wild = calm.replace(lr=1.7e308)
    experiment = Experiment([calm, wild, calm.replace(seed=5)], device="torch")
    rows = stack_metrics([experiment.run_task() for _ in range(experiment.tasks)])
    expected, expected_fresh = run([calm, calm.replace(seed=5)], "torch")
    alone, alone_fresh = run([wild], "cpu")
    for name in measured_with():
        np.testing.assert_allclose(rows[name][:, [0, 2]], expected[name], rtol=1e-9)
        np.testing.assert_array_equal(np.isnan(rows[name][:, 1]), np.isnan(alone[name][:, 0]))
    assert experiment.diverged_at.tolist()[::2] == [0, 0]
    assert experiment.diverged_at[1] > 0
    fresh = experiment.run_fresh_baseline()
    np.testing.assert_allclose(fresh[[0, 2]], expected_fresh, rtol=1e-9)
    np.testing.assert_array_equal(np.isnan(fresh[1]), np.isnan(alone_fresh[0]))


@pytest.mark.parametrize(("first", "second"), [("cpu", "torch"), ("torch", "cpu"), ("torch", "torch")])
def test_a_state_resumes_on_another_device(stable: list[CellConfig], first: str, second: str) -> None:
    expected, expected_fresh = run(stable, "cpu")
    before = Experiment(stable, device=first)
    rows = [before.run_task(), before.run_task()]
    after = Experiment(stable, device=second)
    after.run_task()  # loading must undo everything
    after.load_state_dict(before.state_dict())
    rows += [after.run_task() for _ in range(after.tasks - 2)]
    for name, values in stack_metrics(rows).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-9)
    np.testing.assert_allclose(after.run_fresh_baseline(), expected_fresh, rtol=1e-9)


def test_a_state_taken_from_a_batch_is_a_copy(stable: list[CellConfig]) -> None:
    experiment = Experiment(stable, device="torch")
    state = experiment.state_dict()
    kept = state["weights"][0].copy()
    experiment.run_task()
    np.testing.assert_array_equal(state["weights"][0], kept)


class FakeGraph:
    """A CUDA graph reduced to copying in and out: replaying trains its own tensors again, into the same trace."""

    replays = 0
    recorded_graphs = 0

    def __init__(self) -> None:
        self.recorded: tuple[Any, ...] = ()

    def replay(self) -> None:
        *arguments, recorded = self.recorded
        again = engine_train(*arguments)
        recorded.losses.copy_(again.losses)
        recorded.grad_norm.copy_(again.grad_norm)
        FakeGraph.replays += 1


engine_train = Engine.train


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def wait_stream(self, other: object) -> None:
            pass

    recording: list[FakeGraph] = []

    @contextlib.contextmanager
    def stream(_: object) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def graph(one: FakeGraph) -> Iterator[None]:
        recording.append(one)
        FakeGraph.recorded_graphs += 1
        yield
        recording.clear()

    def train(*arguments: Any) -> TrainingTrace:
        trace = engine_train(*arguments)
        for one in recording:
            one.recorded = (*arguments, trace)
        return trace

    monkeypatch.setattr(FakeGraph, "replays", 0)
    monkeypatch.setattr(FakeGraph, "recorded_graphs", 0)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(Engine, "train", train)


def engine_of(config: CellConfig) -> Engine:
    return Engine.of(Components.of(config), config)


def tensors(config: CellConfig, seed: int) -> tuple[TrainingState, TaskArrays]:
    layers = initial_weights(config, TorchRng(seed))
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(1, config.samples, config.input_dim, generator=rng, dtype=torch.float64)
    y = (x[..., :1] > 0).double()
    parameters = Parameters(
        [torch.from_numpy(weight[None].copy()) for weight, _ in layers],
        [torch.from_numpy(bias[None].copy()) for _, bias in layers],
    )
    lr = torch.full((1, 1, 1), 0.05, dtype=torch.float64)
    return engine_of(config).init(parameters), TaskArrays(x, y, {"lr": lr})


def assert_equal_states(ours: TrainingState, expected: TrainingState) -> None:
    assert all(torch.equal(a, b) for a, b in zip(ours.arrays(), expected.arrays(), strict=True))


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("optimizer", ["sgd", "test_momentum"])
def test_a_graph_trains_the_state_that_it_is_given(optimizer: str, small: CellConfig) -> None:
    """Recording trains nothing; a replay trains the given state, the optimizer's memory included."""
    small = small.replace(optimizer=optimizer)
    engine = engine_of(small)
    (first, task), (untouched, _) = tensors(small, 1), tensors(small, 1)
    graph = GraphedTraining(engine, first, task, steps=4)
    assert_equal_states(first, untouched)
    assert FakeGraph.replays == 0
    for seed in (1, 2, 3):
        (ours, task), (expected, _) = tensors(small, seed), tensors(small, seed)
        for _ in range(2):
            trace, wanted = graph(ours, task), engine_train(engine, expected, task, 4)
            assert torch.equal(trace.losses, wanted.losses)
            assert torch.equal(trace.grad_norm, wanted.grad_norm)
            assert_equal_states(ours, expected)
    assert FakeGraph.replays == 6


@pytest.fixture
def graphed(fake_cuda: None, monkeypatch: pytest.MonkeyPatch) -> TorchDevice:
    """A torch device on the CPU that acts as a GPU while it trains."""
    device = TorchDevice(torch.device("cpu"))

    def train(*arguments: Any) -> TrainingTrace:
        monkeypatch.setattr(device, "_device", torch.device("cuda"))
        try:
            return TorchDevice.train(device, *arguments)
        finally:
            monkeypatch.setattr(device, "_device", torch.device("cpu"))

    monkeypatch.setattr(device, "train", train)
    return device


def test_graphs_are_shared_by_shape_and_split_by_length(
    small: CellConfig, graphed: TorchDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lop_sweep.experiment.backends.MAX_STEPS_PER_GRAPH", 4)
    engine = engine_of(small)
    for steps, seed in ((4, 1), (4, 2), (11, 3), (3, 4), (11, 5)):
        (ours, task), (expected, _) = tensors(small, seed), tensors(small, seed)
        trace, wanted = graphed.train(engine, ours, task, steps), engine_train(engine, expected, task, steps)
        torch.testing.assert_close(trace.losses, wanted.losses, rtol=1e-12, atol=0)
        assert torch.equal(trace.grad_norm, wanted.grad_norm)
        assert_equal_states(ours, expected)
    assert FakeGraph.replays == 2 + 3 + 1 + 3
    assert FakeGraph.recorded_graphs == 2


def test_the_oldest_graph_is_dropped_beyond_four(small: CellConfig, graphed: TorchDevice) -> None:
    engine = engine_of(small)

    def train(steps: int) -> int:
        state, task = tensors(small, steps)
        graphed.train(engine, state, task, steps)
        return FakeGraph.recorded_graphs

    assert [train(steps) for steps in range(1, 8)] == list(range(1, 8))
    assert [train(steps) for steps in range(4, 8)] == [7] * 4
    assert train(3) == 8


def test_a_whole_experiment_on_graphs(small: CellConfig, graphed: TorchDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh networks of another length, and a cell that diverges."""
    calm = small.replace(lr=0.02, fresh_steps=7)
    pack = [calm, calm.replace(lr=1.7e308), calm.replace(seed=5)]
    expected, expected_fresh = run(pack, "torch")
    monkeypatch.setattr("lop_sweep.experiment.experiment.make_device", lambda name: graphed)
    ours, fresh = run(pack, "torch")
    for name in measured_with():
        np.testing.assert_allclose(ours[name], expected[name], rtol=1e-9)
    np.testing.assert_allclose(fresh, expected_fresh, rtol=1e-9)
    assert FakeGraph.replays == calm.tasks + calm.fresh_baseline


def test_missing_devices_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="device = 'tpu': must be one of cpu, cuda, torch"):
        check_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"device = 'cuda': PyTorch .* finds no GPU on this machine; use cpu"):
        make_device("cuda")
    assert main(["run", "--device", "cuda", "--tasks", "1"]) == 2
    assert main(["run", "--device", "torch", "--engine", "reference"]) == 2
    assert main(["sweep", "demo", "--out", "never", "--device", "tpu"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 3
    assert "the reference computes on the CPU only" in errors


def test_results_name_their_device(small: CellConfig) -> None:
    assert Experiment([small]).device == "cpu"
    assert Experiment([small], device="torch").device == "torch on cpu"


@pytest.mark.gpu
def test_a_gpu_equals_the_cpu(stable: list[CellConfig]) -> None:
    ours, fresh = run(stable, "cuda")
    expected, expected_fresh = run(stable, "cpu")
    for name in measured_with():
        np.testing.assert_allclose(ours[name], expected[name], rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(fresh, expected_fresh, rtol=1e-9)
