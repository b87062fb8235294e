"""What a cell computes: tasks, networks, training and metrics. Knows neither Ray nor disk."""

from lop_sweep.experiment.backends import DEVICES, make_device
from lop_sweep.experiment.experiment import DTYPES, Experiment
from lop_sweep.experiment.reference import ReferenceExperiment

__all__ = [
    "DEVICES",
    "DTYPES",
    "Experiment",
    "ReferenceExperiment",
    "make_device",
]
