"""The protocol in plain PyTorch with autograd, for one cell: short, obvious and slow.

It is the oracle that the engine is tested against, and the place to read what an experiment does. It has no state that
could be saved. Use `lop_sweep.experiment.Experiment` for everything that must resume.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from lop_sweep.components import Components, Purpose, Task, check, random_stream
from lop_sweep.components.mitigations import ReferenceDraws
from lop_sweep.config import CellConfig
from lop_sweep.experiment.minibatches import minibatch_order
from lop_sweep.experiment.network import MLP, TorchRng, build_network
from lop_sweep.metrics import (
    METRICS,
    SATURATION_THRESHOLD,
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
            losses, grad_norm = self._trainer.train(task, self.config.steps, self._order(task, self._number), draws)
            row = self._compute_metrics(task, losses, grad_norm)
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

    @torch.no_grad()
    def _compute_metrics(self, task: Task, losses: list[float], grad_norm: float) -> TaskRow | None:
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
        )
        names = measured(self.config)
        if held_out_points(self.config):
            more = self._stream.held_out(
                self.config, task, random_stream(self.config.seed, Purpose.HELD_OUT, self._number)
            )
            logits = network(torch.from_numpy(more.points))[0]
            accuracy = self._accuracy(logits, torch.from_numpy(more.labels))[None]
            observation = replace(observation, test_loss=self._trainer.loss(more)[None], test_accuracy=accuracy)
        row = {}
        for name in names:
            plain = _PLAIN.get(name)
            row[name] = np.array([plain(observation)]) if plain else np.array(METRICS[name].compute(observation))
        every = [values for name, values in row.items() if not METRICS[name].optional]
        return row if all(np.isfinite(values).all() for values in every) else None


class ReferenceTrainer:
    """A network of a cell with its optimizer.

    Args:
        config: the cell.
        rng: the cell's network stream, from which the network is drawn.
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
        self._config, self._make_optimizer = config, components.optimizer.torch
        self._mitigations = [mitigation.torch(self.network, config) for mitigation in components.mitigations]
        self._loss = components.loss.torch()
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Make the optimizer anew, without memory."""
        self._optimizer = self._make_optimizer(self.network, self._config)

    def loss(self, task: Task) -> torch.Tensor:
        """Return the network's loss on all points of a task, a scalar."""
        logits, _, _ = self.network(torch.from_numpy(task.points))
        return self._loss(logits, torch.from_numpy(task.labels))

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
        losses = []
        x, y = torch.from_numpy(task.points), torch.from_numpy(task.labels)
        for step in range(steps):
            points = slice(None) if order is None else order[step]
            logits, _, features = self.network(x[points])
            loss = self._loss(logits, y[points])
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
        return losses, grad_norm

    @torch.no_grad()
    def after_task(self, task: Task, number: int, draws: ReferenceDraws) -> None:
        """Let mitigations act after the sequence's `number`th task."""
        _, _, features = self.network(torch.from_numpy(task.points))
        for mitigation in self._mitigations:
            mitigation.after_task(features, self._optimizer, draws, number)


def _finite(*tensors: torch.Tensor) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def _saturation(z: torch.Tensor) -> float:
    return float((z.abs() > SATURATION_THRESHOLD).double().mean())


def _effective_rank(z: torch.Tensor) -> float:
    z = z / z.abs().max().clamp(min=1e-300)  # the rank does not depend on the scale, but squares could overflow
    centred = z - z.mean(dim=0)
    eigenvalues = torch.linalg.eigvalsh(centred.T @ centred / (len(z) - 1)).clamp(min=0)
    if eigenvalues.sum() == 0:
        return 1.0
    p = eigenvalues / eigenvalues.sum()
    p = p[p > 0]
    return float(torch.exp(-(p * p.log()).sum()))


def _duplicate_fraction(a: torch.Tensor, threshold: float) -> float:
    return float((_correlation(a) > threshold).triu(diagonal=1).any(dim=0).double().mean())


def _duplicate_fraction_any(a: torch.Tensor, threshold: float) -> float:
    return float((_correlation(a).fill_diagonal_(0.0) > threshold).any(dim=0).double().mean())


def _correlation(a: torch.Tensor) -> torch.Tensor:
    return torch.corrcoef(a.T).reshape(a.shape[1], a.shape[1]).nan_to_num(nan=0.0).abs()


def _activation_effective_rank(a: torch.Tensor) -> float:
    p = torch.linalg.svdvals(a)
    p = p[p > 0] / p.sum()
    return float(torch.exp(-(p * p.log()).sum()))


def _srank(a: torch.Tensor) -> float:
    values = torch.linalg.svdvals(a)
    if values.sum() == 0:
        return 1.0
    return 1.0 + float((values.cumsum(0) / values.sum() < 0.99 - 1e-12).sum())


_PLAIN: dict[str, Callable[[Observation], float | list[float]]] = {
    "min_ce": lambda task: float(task.losses.min()),
    "final_ce": lambda task: float(task.losses[-1]),
    "start_ce": lambda task: float(task.losses[0]),
    "end_ce": lambda task: float(task.end_loss),
    "online_ce": lambda task: float(np.mean(np.asarray(task.losses))),
    "saturation": lambda task: float(np.mean([_saturation(z) for z in task.pre[0]])),
    "grad_norm": lambda task: float(task.grad_norm),
    "effective_rank": lambda task: [_effective_rank(z) for z in task.pre[0]],
    "duplicate_fraction": lambda task: [_duplicate_fraction(a, float(task.corr_thresh)) for a in task.post[0]],
    "duplicate_fraction_any": lambda task: [_duplicate_fraction_any(a, float(task.corr_thresh)) for a in task.post[0]],
    "activation_effective_rank": lambda task: [_activation_effective_rank(a) for a in task.post[0]],
    "srank": lambda task: [_srank(a) for a in task.post[0]],
    "logit_scale": lambda task: float(task.logits.square().mean().sqrt()),
}
"""Metrics that have an implementation of their own here. The others are computed by `Metric.compute` on tensors."""
