"""The Gaussian-mixture task: two classes, each a mixture of Gaussian bumps around a random anchor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lop_sweep.components.streams.many_mixtures import EXTRA_DIM_STD, SHIFT_STD, draw_points_of_all
from lop_sweep.components.streams.task import StreamState, Task
from lop_sweep.config import CellConfig
from lop_sweep.registry import register


@register("stream", "gaussian_mixture")
class GaussianMixture:
    """Two classes, each a mixture of Gaussian bumps around a random anchor. Anchors, bumps and points are new per task.

    A task's place is what steps 1 to 4 of `draw` draw: the anchors' angle, and the normal numbers that the anchors and
    the bumps' offsets from them consist of.

    `drift` = r: the place moves only that far from the last task's, p, towards the new one, q. The angle moves by r
    times the arc to the new angle, the shorter way. The normal numbers become sqrt(1 - r^2) p + r q. So each task alone
    has the distribution of an independent one, and is as hard, whatever r is. Plain interpolation would draw the
    classes together. r = 1: independent tasks. r = 0: one task with new points each time.

    `cycle` = k: from task k + 1 on, a task has the place of k tasks before, and new points. So distributions recur, as
    in streams of recurring concepts. k = 0: none recurs.

    Neither changes what is drawn from the task stream: cells that differ in them alone have the same new places, and
    the same noise. The tasks of fresh networks continue the sequence, and drift and recur with it.

    Source: the protocol's section "One task, in draw order". The numbers in `draw` are those of its steps. Gradual
    change: T. Liu and L. Mou, "Do neural networks lose plasticity in a gradually changing world?", arXiv 2602.09234,
    2026, which interpolates inputs, labels or samples; how places move is our own definition.
    """

    name: str
    hyper = ("input_dim", "components", "delta", "spread", "sigma", "relabel", "drift", "cycle")
    loss = "binary"

    def dimensions(self, config: CellConfig) -> tuple[int, int]:
        """Return `input_dim` and 1."""
        return config.input_dim, 1

    def init(self, config: CellConfig, rng: np.random.Generator) -> StreamState:
        """Return the state: no earlier places. It is empty if tasks depend on none. Nothing is drawn."""
        return {"places": []} if config.drift < 1 or config.cycle else {}

    def draw(self, config: CellConfig, state: StreamState, rng: np.random.Generator) -> Task:
        """Draw the next task, with its points shuffled.

        Args:
            config: uses `samples` and the fields in `hyper`.
            state: the last places, as many as later tasks depend on.
            rng: the cell's task stream.
        """
        half, dim = config.samples // 2, config.input_dim

        place = {
            "angle": rng.uniform(0.0, 2.0 * np.pi),  # 1
            "shift": rng.normal(0.0, SHIFT_STD, size=dim)[:2],  # 2
            "extra": rng.normal(0.0, EXTRA_DIM_STD, size=(2, dim - 2)),  # 3
            "offsets": np.stack([rng.normal(0.0, config.spread, size=(config.components, dim)) for _ in range(2)]),  # 4
        }
        if state:
            place = _next_place(config, state["places"], place)
        centres = _centres(config, place)
        points, labels = _points(config, centres, half, rng)

        order = rng.permutation(config.samples)  # 7
        return Task(points=points[order], labels=labels[order], source={"centres": centres})

    def draw_many(
        self, configs: Sequence[CellConfig], states: Sequence[StreamState], rngs: Sequence[np.random.Generator]
    ) -> list[Task]:
        """Draw the next task of each cell, as `draw` does, with fewer calls. Arguments as for `draw_tasks`."""
        if any(states):  # then places depend on earlier ones
            return [self.draw(*cell) for cell in zip(configs, states, rngs, strict=True)]
        drawn = draw_points_of_all(configs, rngs)
        return [Task(points, labels, {"centres": centres}) for points, labels, centres in drawn]

    def held_out(self, config: CellConfig, task: Task, rng: np.random.Generator) -> Task:
        """Draw points around the task's own bumps, as its steps 5 and 6 do. Labels are flipped as often."""
        points, labels = _points(config, task.source["centres"], config.test_samples // 2, rng)
        return Task(points=points, labels=labels, source=task.source)


def _next_place(config: CellConfig, places: list[dict[str, Any]], new: dict[str, Any]) -> dict[str, Any]:
    """Return the next task's place, and remember it in `places`."""
    if config.cycle and len(places) == config.cycle:
        place = places[0]
    elif places and config.drift < 1:
        place = _moved(places[-1], new, config.drift)
    else:
        place = new
    places.append(place)
    del places[: -max(config.cycle, 1)]
    return place


def _moved(last: dict[str, Any], new: dict[str, Any], drift: float) -> dict[str, Any]:
    """Return the place on the way from the last one to a new one."""
    arc = (new["angle"] - last["angle"] + np.pi) % (2.0 * np.pi) - np.pi
    normal = {name: np.sqrt(1 - drift**2) * last[name] + drift * new[name] for name in ("shift", "extra", "offsets")}
    return {"angle": last["angle"] + drift * arc, **normal}


def _centres(config: CellConfig, place: dict[str, Any]) -> np.ndarray:
    """Return the bumps' centres, (2, components, input_dim)."""
    direction, shift = np.array([np.cos(place["angle"]), np.sin(place["angle"])]), place["shift"]
    anchors = np.stack([-config.delta * direction + shift, config.delta * direction + shift])
    anchors = np.hstack([anchors, place["extra"]])
    return anchors[:, None, :] + place["offsets"]


def _points(
    config: CellConfig, centres: np.ndarray, half: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `half` points of each class and all labels, from bumps around centres (2, components, input_dim)."""
    points = []
    for class_centres in centres:  # 5
        bump = rng.integers(0, config.components, size=half)
        points.append(class_centres[bump] + rng.normal(0.0, config.sigma, size=(half, config.input_dim)))

    labels = np.repeat([0.0, 1.0], half)[:, None]  # 6
    if config.relabel > 0:
        flip = rng.random((2 * half, 1)) < config.relabel
        labels = np.where(flip, 1.0 - labels, labels)
    return np.concatenate(points), labels
