"""Tasks that differ in the order of their inputs: the same images, with shuffled pixels."""

from __future__ import annotations

import numpy as np

from lop_sweep.components.streams.images import check_images, image_set, images
from lop_sweep.components.streams.task import StreamState, Task
from lop_sweep.config import CellConfig
from lop_sweep.metrics import held_out_points
from lop_sweep.registry import register


@register("stream", "permuted_inputs")
class PermutedInputs:
    """The same images with their true labels in every task; a new random permutation of the pixels in each.

    A cell draws `samples` images from `data` before its first task, without replacement and not balanced by class.
    Pixels lie between -1 and 1. Held-out points are other images of the same data under the task's permutation.

    Source: I. J. Goodfellow et al., "An empirical investigation of catastrophic forgetting in gradient-based neural
    networks", arXiv 1312.6211, 2013; for loss of plasticity S. Dohare et al., "Loss of plasticity in deep continual
    learning", Nature 632, 2024. Both take all of MNIST, and the second presents each image once.
    """

    name: str
    hyper = ("data",)
    loss = "softmax"

    def check(self, config: CellConfig) -> None:
        """Refuse images that cannot be had."""
        check_images(config, config.samples + held_out_points(config))

    def dimensions(self, config: CellConfig) -> tuple[int, int]:
        """Return the numbers of pixels and of classes."""
        return image_set(config).pixels, image_set(config).classes

    def init(self, config: CellConfig, rng: np.random.Generator) -> StreamState:
        """Draw the images. The state is their numbers."""
        return {"images": rng.permutation(image_set(config).count)[: config.samples]}

    def draw(self, config: CellConfig, state: StreamState, rng: np.random.Generator) -> Task:
        """Draw the permutation of the next task."""
        return _task(config, state["images"], rng.permutation(image_set(config).pixels))

    def held_out(self, config: CellConfig, task: Task, rng: np.random.Generator) -> Task:
        """Draw images that are not among the task's own."""
        others = np.setdiff1d(np.arange(image_set(config).count), task.source["images"])
        return _task(config, rng.permutation(others)[: config.test_samples], task.source["permutation"])


def _task(config: CellConfig, chosen: np.ndarray, permutation: np.ndarray) -> Task:
    every = images(config.data)
    points = np.take(every.points[chosen], permutation, axis=1)
    return Task(points, every.labels[chosen], {"images": chosen, "permutation": permutation})
