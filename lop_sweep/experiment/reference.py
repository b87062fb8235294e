"""The protocol in plain PyTorch with autograd, for one cell: short, obvious and slow.

It is the oracle that the engine is tested against, and the place to read what an experiment does. It has no state that
could be saved. Use `lop_sweep.experiment.Experiment` for everything that must resume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from lop_sweep.components import Components, Purpose, Task, check, random_stream
from lop_sweep.components.mitigations import ReferenceDraws
from lop_sweep.config import CellConfig
from lop_sweep.experiment.minibatches import minibatch_order
from lop_sweep.experiment.network import MLP, TorchRng, build_network, control_rngs
from lop_sweep.experiment.reference_metrics import AT_START, PLAIN, slopes_of
from lop_sweep.metrics import (
    METRICS,
    Control,
    Observation,
    TaskRow,
    held_out_points,
    measured,
    undefined_metrics,
)


class ReferenceExperiment:
    """One cell's task sequence. Call `run_task` `config.tasks` times, then `run_fresh_baseline` once.

    Attributes:
        config: the cell.
        diverged: whether a loss, a weight or a metric was not finite.
        task_rng: the random stream of the tasks.
        network_rng: the random stream of the initial weights.
    """

    device = "cpu"

    def __init__(self, config: CellConfig) -> None:
        self.config = config
        self.diverged = False
        components = check(config)
        self._stream, self._init, self._gain = components.stream, components.init, components.activation.gain
        self._accuracy = components.loss.torch_accuracy
        self.task_rng = np.random.default_rng(config.seed)
        self.network_rng = TorchRng(config.seed)
        self._stream_state = self._stream.init(config, self.task_rng)
        self._trainer = ReferenceTrainer(config, self.network_rng)
        self._initial = [values.detach().clone() for values in self._trainer.network.parameters()]
        self._number = 0

    def run_task(self) -> TaskRow:
        """Train on the next task.

        Returns:
            Each metric, (1,) or (1, depth). All NaN once the cell has diverged.
        """
        task = self._draw_task()
        self._number += 1
        if not self.diverged:
            draws = self._draws(self._number)
            if self.config.reset_optimizer:
                self._trainer.reset_optimizer()
            order = self._order(task, self._number)
            before = self._before(task, order)
            losses, grad_norm = self._trainer.train(task, self.config.steps, order, draws)
            row = self._compute_metrics(task, losses, grad_norm, before, self._run_control(task, order))
            self._trainer.after_task(task, self._number, draws)
            if row is not None:
                return row
            self.diverged = True
        return undefined_metrics((1,), self.config)

    def run_fresh_baseline(self) -> np.ndarray:
        """Return the final losses of the fresh networks, each trained on a task of its own, (1, fresh_baseline)."""
        losses = []
        for number in range(1, self.config.fresh_baseline + 1):
            task = self._draw_task()
            fresh = ReferenceTrainer(self.config, self.network_rng)
            order = self._order(task, number, fresh=True)
            fresh.train(task, self.config.fresh_steps, order, self._draws(number, fresh=True))
            with torch.no_grad():
                loss = float(fresh.loss(task))
            losses.append(loss if np.isfinite(loss) else np.nan)
        return np.array([losses])

    def _draw_task(self) -> Task:
        return self._stream.draw(self.config, self._stream_state, self.task_rng)

    def _order(self, task: Task, number: int, fresh: bool = False) -> np.ndarray | None:
        steps = self.config.fresh_steps if fresh else self.config.steps
        points = len(task.points)
        return minibatch_order(self.config, points, steps, number, fresh) if self.config.batch_size else None

    def _draws(self, number: int, fresh: bool = False) -> ReferenceDraws:
        rng = random_stream(self.config.seed, Purpose.MITIGATION, number, fresh)
        return ReferenceDraws(rng, self._init, torch.from_numpy, self._gain)

    def _before(self, task: Task, order: np.ndarray | None) -> dict[str, float]:
        """Return the metrics of the network before a task's first update."""
        network, names = self._trainer.network, measured(self.config)
        self._start = [values.detach().clone() for values in network.parameters()]
        x, y = torch.from_numpy(task.points), torch.from_numpy(task.labels)
        first = slice(None) if order is None else order[0].tolist()
        of = [name for name in AT_START if name in names]
        return {name: AT_START[name](network, self._trainer.loss_of, x, y, first) for name in of}

    def _run_control(self, task: Task, order: np.ndarray | None) -> Control | None:
        """Train a fresh network on the task, or return None if it has no control."""
        if not self.config.control_every or self._number % self.config.control_every:
            return None
        network_rng, rng = control_rngs(self.config, self._number)
        control = ReferenceTrainer(self.config, network_rng)
        draws = ReferenceDraws(rng, self._init, torch.from_numpy)
        losses, _ = control.train(task, self.config.steps, order, draws)
        with torch.no_grad():
            return Control(torch.tensor(losses, dtype=torch.float64)[:, None], control.loss(task)[None])

    @torch.no_grad()
    def _compute_metrics(
        self,
        task: Task,
        losses: list[float],
        grad_norm: float,
        before: Mapping[str, float],
        control: Control | None,
    ) -> TaskRow | None:
        """Return the task's row, or None if a loss, a weight or a metric is not finite."""
        network = self._trainer.network
        logits, pre, post = network(torch.from_numpy(task.points))
        if not np.isfinite([*losses, grad_norm]).all() or not _finite(*network.parameters(), *pre):
            return None
        observation = Observation(
            losses=torch.tensor(losses, dtype=torch.float64)[:, None],
            end_loss=self._trainer.loss(task)[None],
            grad_norm=torch.tensor([grad_norm], dtype=torch.float64),
            pre=torch.stack(pre)[None],
            post=torch.stack(post)[None],
            logits=logits[None],
            corr_thresh=torch.tensor([[self.config.corr_thresh]], dtype=torch.float64),
            accuracies=torch.tensor(self._trainer.accuracies, dtype=torch.float64)[:, None],
            slopes=torch.stack([slopes_of(network.activation, z) for z in pre])[None],
            weights=[layer.weight for layer in network.hidden],
            parameters=list(network.parameters()),
            start=self._start,
            initial=self._initial,
            control=control,
        )
        names = measured(self.config)
        if held_out_points(self.config):
            more = self._stream.held_out(
                self.config, task, random_stream(self.config.seed, Purpose.HELD_OUT, self._number)
            )
            logits = network(torch.from_numpy(more.points))[0]
            accuracy = self._accuracy(logits, torch.from_numpy(more.labels))[None]
            observation = replace(observation, test_loss=self._trainer.loss(more)[None], test_accuracy=accuracy)
        row = {name: np.array([value]) for name, value in before.items()}
        for name in names:
            if name in PLAIN:
                row[name] = np.array([PLAIN[name](observation)])
            elif name not in before:
                row[name] = np.asarray(METRICS[name].compute(observation))
        row = {name: row[name] for name in names}
        every = [values for name, values in row.items() if not METRICS[name].optional]
        return row if all(np.isfinite(values).all() for values in every) else None


class ReferenceTrainer:
    """A network of a cell with its optimizer.

    Args:
        config: the cell.
        rng: the cell's network stream, from which the network is drawn.

    Attributes:
        network: the network.
        loss_of: from logits and targets to the loss.
        accuracies: of the last task, before each update on its points.
    """

    def __init__(self, config: CellConfig, rng: TorchRng) -> None:
        self._set_up(config, build_network(config, rng))

    @classmethod
    def around(cls, config: CellConfig, network: MLP) -> ReferenceTrainer:
        """Return the trainer of a network that exists."""
        trainer = cls.__new__(cls)
        trainer._set_up(config, network)
        return trainer

    def _set_up(self, config: CellConfig, network: MLP) -> None:
        components = Components.of(config)
        self.network = network
        self.accuracies: list[float] = []
        self._config, self._make_optimizer = config, components.optimizer.torch
        self._mitigations = [mitigation.torch(self.network, config) for mitigation in components.mitigations]
        self.loss_of, self._accuracy = components.loss.torch(), components.loss.torch_accuracy
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Make the optimizer anew, without memory."""
        self._optimizer = self._make_optimizer(self.network, self._config)

    def loss(self, task: Task) -> torch.Tensor:
        """Return the network's loss on all points of a task, a scalar."""
        logits, _, _ = self.network(torch.from_numpy(task.points))
        return self.loss_of(logits, torch.from_numpy(task.labels))

    def train(
        self, task: Task, steps: int, order: np.ndarray | None = None, draws: ReferenceDraws | None = None
    ) -> tuple[list[float], float]:
        """Update the network `steps` times on points of a task.

        Args:
            task: the task.
            steps: number of updates.
            order: (steps, batch size) the points of each update; None for all of them.
            draws: what mitigations draw from; None if there are no mitigations.

        Returns:
            The loss before each update, and the 2-norm of the hidden layers' gradient at the first step.
        """
        losses, self.accuracies = [], []
        x, y = torch.from_numpy(task.points), torch.from_numpy(task.labels)
        for step in range(steps):
            points = slice(None) if order is None else order[step]
            logits, _, features = self.network(x[points])
            loss = self.loss_of(logits, y[points])
            if step == 0:
                hidden = torch.autograd.grad(loss, list(self.network.hidden.parameters()), retain_graph=True)
                grad_norm = float(torch.linalg.vector_norm(torch.cat([part.flatten() for part in hidden])))
            penalties = [mitigation.penalty() for mitigation in self._mitigations]
            self._optimizer.zero_grad()
            sum((penalty for penalty in penalties if penalty is not None), loss).backward()
            for mitigation in self._mitigations:
                assert draws is not None
                mitigation.before_step(draws)
            self._optimizer.step()
            with torch.no_grad():
                for mitigation in self._mitigations:
                    assert draws is not None
                    mitigation.after_step([one.detach() for one in features], self._optimizer, draws)
            losses.append(loss.item())
            self.accuracies.append(float(self._accuracy(logits, y[points])))
        return losses, grad_norm

    @torch.no_grad()
    def after_task(self, task: Task, number: int, draws: ReferenceDraws) -> None:
        """Let mitigations act after the sequence's `number`th task."""
        _, _, features = self.network(torch.from_numpy(task.points))
        for mitigation in self._mitigations:
            mitigation.after_task(features, self._optimizer, draws, number)


def _finite(*tensors: torch.Tensor) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
