"""Task streams: what a network is trained on, task after task."""

from lop_sweep.experiment.streams.gaussian_mixture import GaussianMixture
from lop_sweep.experiment.streams.task import StreamState, Task, TaskStream, held_out_rng

__all__ = [
    "GaussianMixture",
    "StreamState",
    "Task",
    "TaskStream",
    "held_out_rng",
]
