"""Task streams: what a network is trained on, task after task."""

from lop_sweep.components.streams.gaussian_mixture import GaussianMixture
from lop_sweep.components.streams.task import StreamState, Task, TaskStream, draw_tasks

__all__ = [
    "GaussianMixture",
    "StreamState",
    "Task",
    "TaskStream",
    "draw_tasks",
]
