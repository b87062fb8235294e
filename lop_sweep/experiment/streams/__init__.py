"""Task streams: what a network is trained on, task after task."""

from lop_sweep.experiment.streams.gaussian_mixture import Task, draw_task

__all__ = [
    "Task",
    "draw_task",
]
