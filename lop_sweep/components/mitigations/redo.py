"""ReDo: dormant units are reinitialised, after tasks or after a number of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lop_sweep.array_api import Array, array_namespace
from lop_sweep.components.mitigations.mitigation import (
    BaseMitigation,
    MitigationState,
    Networks,
    ReferenceDraws,
    ReferenceMitigation,
)
from lop_sweep.components.mitigations.replacement import (
    mean_over_points,
    per_unit,
    replace_in_layers,
    replace_reference_units,
    to_host,
)
from lop_sweep.config import CellConfig
from lop_sweep.registry import register

if TYPE_CHECKING:
    import torch

EPSILON = 1e-9
"""Added to a layer's mean activity, so that a layer without activity is dormant as a whole."""


@register("mitigation", "redo")
class ReDo(BaseMitigation):
    """Replace units with s_i <= redo_threshold after every redo_tasks-th task, on all points of the task.

    s_i = mean|h_i| / (mean_j mean|h_j| + 1e-9), with means over points and over the layer's units j. A unit with
    several features, as of `crelu`, counts by their sum.

    Touches the dormant units' incoming weights (freshly initialised), biases (0), parameters of a normalisation (as
    new) and outgoing weights (0), and what the optimizer remembers of all these (0).

    Source: G. Sokar et al., "The dormant neuron phenomenon in deep reinforcement learning", ICML 2023. S. Kumar,
    H. Marklund and B. Van Roy (2023) try thresholds of 0, 0.01 and 0.1 after every 1, 2 or 5 tasks. Their code returns
    incoming weights to their first values instead.
    """

    hyper = ("redo_threshold", "redo_tasks")

    def after_task(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any], number: int) -> None:
        """Replace dormant units if it is time."""
        due = number % hyper["redo_tasks"] == 0
        if to_host(due).any():
            _recycle(networks, hyper["redo_threshold"], due)

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the counterpart."""
        return _PerTaskReference(network, config.redo_threshold, config.redo_tasks)


@register("mitigation", "redo_per_step")
class ReDoPerStep(BaseMitigation):
    """Replace units with s_i <= redo_threshold after every redo_steps-th step, on the points of that step.

    As `redo` in everything else. Steps are counted through all tasks. The activations are those from before the update.

    Source: as of `redo`. The default of 780 steps is that of the code of Kumar et al. for random-label MNIST.
    """

    hyper = ("redo_threshold", "redo_steps")
    graphable = False

    def init(self, weights: Sequence[Array], biases: Sequence[Array]) -> MitigationState:
        """Return the number of steps since units were last looked at, (P, 1, 1)."""
        first = biases[0]
        return {"steps": [array_namespace(first).zeros_like(first[:, :, :1])]}

    def after_step(self, networks: Networks, state: MitigationState, hyper: Mapping[str, Any]) -> None:
        """Replace dormant units if it is time."""
        steps = state["steps"][0]
        steps += 1
        due = steps >= hyper["redo_steps"]
        if to_host(due).any():
            xp = array_namespace(steps)
            steps[...] = xp.where(due, xp.zeros_like(steps), steps)
            _recycle(networks, hyper["redo_threshold"], due)

    def torch(self, network: Any, config: CellConfig) -> ReferenceMitigation:
        """Return the counterpart."""
        return _PerStepReference(network, config.redo_threshold, config.redo_steps)


def _recycle(networks: Networks, threshold: Array, due: Array) -> None:
    """Replace the dormant units of those networks for which it is due, (P, 1, 1)."""
    dormant = []
    for features, biases in zip(networks.features, networks.biases, strict=False):
        xp = array_namespace(features)
        activity = per_unit(mean_over_points(xp.abs(features)), biases.shape[-1])
        score = activity / (xp.mean(activity, axis=-1, keepdims=True) + EPSILON)
        dormant.append(((score <= threshold) & due)[:, 0, :])
    replace_in_layers(networks, dormant)


class _ReDoReference(ReferenceMitigation):
    def __init__(self, network: Any, threshold: float, every: int) -> None:
        self._network, self._threshold, self._every = network, threshold, every
        self._steps = 0

    def _recycle(
        self, features: Sequence[torch.Tensor], optimizer: torch.optim.Optimizer, draws: ReferenceDraws
    ) -> None:
        dormant = []
        for layer, activations in zip(self._network.hidden, features, strict=True):
            activity = activations.abs().unflatten(1, (-1, layer.out_features)).sum(dim=1).mean(dim=0)
            score = activity / (activity.mean() + EPSILON)
            dormant.append((score <= self._threshold).nonzero().flatten().tolist())
        replace_reference_units(self._network, dormant, optimizer, draws)


class _PerTaskReference(_ReDoReference):
    def after_task(
        self, features: Sequence[torch.Tensor], optimizer: torch.optim.Optimizer, draws: ReferenceDraws, number: int
    ) -> None:
        if number % self._every == 0:
            self._recycle(features, optimizer, draws)


class _PerStepReference(_ReDoReference):
    def after_step(
        self, features: Sequence[torch.Tensor], optimizer: torch.optim.Optimizer, draws: ReferenceDraws
    ) -> None:
        self._steps += 1
        if self._steps % self._every == 0:
            self._recycle(features, optimizer, draws)
