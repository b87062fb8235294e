"""Tasks that differ in their labels alone: the same images, with labels that have to be memorised."""

from __future__ import annotations

import numpy as np

from lop_sweep.components.streams.images import check_images, image_set, images
from lop_sweep.components.streams.task import StreamState, Task
from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.registry import register


@register("stream", "random_labels")
class RandomLabels:
    """The same images in every task; their labels are a new random permutation of their true ones.

    A cell draws `samples` images from `data` before its first task, without replacement and not balanced by class.
    Pixels lie between -1 and 1. Labels tell nothing about images, so there are no held-out points.

    Source: S. Kumar, H. Marklund and B. Van Roy, "Maintaining plasticity in continual learning via regenerative
    regularization", arXiv 2308.11958, 2023, and their code: 1,200 images of MNIST, of 60,000.
    """

    name: str
    hyper = ("data",)
    loss = "softmax"
    has_held_out = False

    def check(self, config: CellConfig) -> None:
        """Refuse images that cannot be had."""
        check_images(config, config.samples)

    def dimensions(self, config: CellConfig) -> tuple[int, int]:
        """Return the numbers of pixels and of classes."""
        return image_set(config).pixels, image_set(config).classes

    def init(self, config: CellConfig, rng: np.random.Generator) -> StreamState:
        """Draw the images. The state is their numbers."""
        return {"images": rng.permutation(image_set(config).count)[: config.samples]}

    def draw(self, config: CellConfig, state: StreamState, rng: np.random.Generator) -> Task:
        """Draw the labels of the next task."""
        every, chosen = images(config.data), state["images"]
        return Task(points=every.points[chosen], labels=every.labels[rng.permutation(chosen)])

    def held_out(self, config: CellConfig, task: Task, rng: np.random.Generator) -> Task:
        """Refuse: `choice.check` does so before a cell is run."""
        raise ConfigError(f"stream = {self.name!r}: its tasks have no held-out points")
