"""The protocol in plain PyTorch with autograd, for one cell: short, obvious and slow.

It is the oracle that the engine is tested against, and the place to read what an experiment does. It has no state that
could be saved. Use `lop_sweep.experiment.Experiment` for everything that must resume.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from lop_sweep.config import CellConfig
from lop_sweep.experiment.components import Components
from lop_sweep.experiment.network import MLP, TorchRng, build_network
from lop_sweep.experiment.streams import Task, held_out_rng
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
        measured(config)  # refuses metrics that do not exist
        self._stream = Components.of(config).stream
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
            losses, grad_norm = self._trainer.train(task, self.config.steps)
            row = self._compute_metrics(task, losses, grad_norm)
            if row is not None:
                return row
            self.diverged = True
        return undefined_metrics((1,), self.config)

    def run_fresh_baseline(self) -> np.ndarray:
        """Return the final losses of the fresh networks, each trained on a task of its own, (1, fresh_baseline)."""
        losses = []
        for _ in range(self.config.fresh_baseline):
            task = self._draw_task()
            fresh = ReferenceTrainer(self.config, self.network_rng)
            fresh.train(task, self.config.fresh_steps)
            with torch.no_grad():
                loss = float(fresh.loss(task))
            losses.append(loss if np.isfinite(loss) else np.nan)
        return np.array([losses])

    def _draw_task(self) -> Task:
        return self._stream.draw(self.config, self._stream_state, self.task_rng)

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
            more = self._stream.held_out(self.config, task, held_out_rng(self.config.seed, self._number))
            right = (network(torch.from_numpy(more.points))[0] > 0).numpy() == (more.labels == 1)
            observation = replace(
                observation,
                test_loss=self._trainer.loss(more)[None],
                test_accuracy=torch.tensor([right.mean()]),
            )
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
        components = Components.of(config)
        self.network: MLP = build_network(config, rng)
        self._optimizer = components.optimizer.torch(self.network.parameters(), config)
        self._loss = components.loss.torch()

    def loss(self, task: Task) -> torch.Tensor:
        """Return the network's loss on all points of a task, a scalar."""
        logits, _, _ = self.network(torch.from_numpy(task.points))
        return self._loss(logits, torch.from_numpy(task.labels))

    def train(self, task: Task, steps: int) -> tuple[list[float], float]:
        """Update the network `steps` times on all points of a task.

        Returns:
            The loss before each update, and the 2-norm of the hidden layers' gradient at the first step.
        """
        losses = []
        for step in range(steps):
            self._optimizer.zero_grad()
            loss = self.loss(task)
            loss.backward()
            if step == 0:
                hidden = [p.grad.flatten() for p in self.network.hidden.parameters() if p.grad is not None]
                grad_norm = float(torch.linalg.vector_norm(torch.cat(hidden)))
            self._optimizer.step()
            losses.append(loss.item())
        return losses, grad_norm


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
