"""The protocol in plain PyTorch with autograd, for one cell: short, obvious and slow.

It is the oracle that the engine is tested against, and the place to read what an experiment does. It keeps no state
that could be saved; use `lop_sweep.experiment.experiment.Experiment` for anything that must resume.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lop_sweep.config import CellConfig
from lop_sweep.experiment.network import MLP, TorchRng, build_network
from lop_sweep.experiment.streams import Task, draw_task
from lop_sweep.metrics import METRICS, SATURATION_THRESHOLD, TaskMetrics


class ReferenceExperiment:
    """One cell's task sequence. `run_task` `config.tasks` times, then `run_fresh_baseline` once."""

    device = "cpu"

    def __init__(self, config: CellConfig) -> None:
        self.config = config
        self.diverged = False
        self._tasks = np.random.default_rng(config.seed)
        self._networks = TorchRng(config.seed)
        self._network = build_network(config, self._networks)

    def run_task(self) -> TaskMetrics:
        """Train on the next task and measure; every array has a leading axis of length 1. All NaN once diverged."""
        task = draw_task(self.config, self._tasks)
        if not self.diverged:
            losses, grad_norm = _train(self._network, task, self.config.lr, self.config.steps)
            row = _measure(self._network, task, losses, grad_norm, self.config.corr_thresh)
            if row is not None:
                return row
            self.diverged = True
        return TaskMetrics.undefined(1, self.config.depth)

    def run_fresh_baseline(self) -> np.ndarray:
        """Final losses of the fresh networks, each on a task of its own; shape (1, fresh_baseline)."""
        losses = []
        for _ in range(self.config.fresh_baseline):
            task = draw_task(self.config, self._tasks)
            network = build_network(self.config, self._networks)
            _train(network, task, self.config.lr, self.config.fresh_steps)
            with torch.no_grad():
                loss = float(_loss(network, task))
            losses.append(loss if np.isfinite(loss) else np.nan)
        return np.array([losses])


def _loss(network: MLP, task: Task) -> torch.Tensor:
    logits, _, _ = network(torch.from_numpy(task.points))
    return binary_cross_entropy_with_logits(logits, torch.from_numpy(task.labels))


def _train(network: MLP, task: Task, lr: float, steps: int) -> tuple[list[float], float]:
    """Full-batch gradient descent: the loss before each update, and the hidden gradient's norm at the first step."""
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = _loss(network, task)
        loss.backward()
        if step == 0:
            hidden = [p.grad.flatten() for p in network.hidden.parameters() if p.grad is not None]
            grad_norm = float(torch.linalg.vector_norm(torch.cat(hidden)))
        optimizer.step()
        losses.append(loss.item())
    return losses, grad_norm


def _finite(*tensors: torch.Tensor) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


@torch.no_grad()
def _measure(network: MLP, task: Task, losses: list[float], grad_norm: float, corr_thresh: float) -> TaskMetrics | None:
    """The task's row, or None where a loss, a weight or a measure is not finite."""
    _, pre, post = network(torch.from_numpy(task.points))
    if not np.isfinite([*losses, grad_norm]).all() or not _finite(*network.parameters(), *pre):
        return None
    row = TaskMetrics(
        min_ce=np.array([min(losses)]),
        final_ce=np.array([losses[-1]]),
        saturation=np.array([np.mean([float((z.abs() > SATURATION_THRESHOLD).double().mean()) for z in pre])]),
        grad_norm=np.array([grad_norm]),
        effective_rank=np.array([[_effective_rank(z) for z in pre]]),
        duplicate_fraction=np.array([[_duplicate_fraction(a, corr_thresh) for a in post]]),
    )
    return row if all(np.isfinite(getattr(row, name)).all() for name in METRICS) else None


def _effective_rank(z: torch.Tensor) -> float:
    z = z / z.abs().max().clamp(min=1e-300)  # the rank does not depend on the scale, but squares could overflow
    centred = z - z.mean(dim=0)
    eigenvalues = torch.linalg.eigvalsh(centred.T @ centred / (len(z) - 1)).clamp(min=0)
    if eigenvalues.sum() == 0:
        return 1.0
    p = eigenvalues / eigenvalues.sum()
    p = p[p > 0]
    return float(torch.exp(-(p * p.log()).sum()))


def _duplicate_fraction(a: torch.Tensor, corr_thresh: float) -> float:
    correlation = torch.corrcoef(a.T).reshape(a.shape[1], a.shape[1]).nan_to_num(nan=0.0).abs()
    return float((correlation > corr_thresh).triu(diagonal=1).any(dim=0).double().mean())
