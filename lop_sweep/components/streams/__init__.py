"""Task streams: what a network is trained on, task after task."""

from lop_sweep.components.streams.gaussian_mixture import GaussianMixture
from lop_sweep.components.streams.permuted_inputs import PermutedInputs
from lop_sweep.components.streams.random_labels import RandomLabels
from lop_sweep.components.streams.slowly_changing_regression import (
    SlowlyChangingRegression,
    SlowlyChangingRegressionFlip,
)
from lop_sweep.components.streams.task import StreamState, Task, TaskStream, draw_tasks, has_held_out

__all__ = [
    "GaussianMixture",
    "PermutedInputs",
    "RandomLabels",
    "SlowlyChangingRegression",
    "SlowlyChangingRegressionFlip",
    "StreamState",
    "Task",
    "TaskStream",
    "draw_tasks",
    "has_held_out",
]
