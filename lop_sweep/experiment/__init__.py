"""What a cell computes: networks, training and metrics. Knows neither Ray nor files."""

from lop_sweep.experiment.backends import make_device
from lop_sweep.experiment.experiment import Experiment
from lop_sweep.experiment.reference import ReferenceExperiment, ReferenceTrainer

__all__ = [
    "Experiment",
    "ReferenceExperiment",
    "ReferenceTrainer",
    "make_device",
]
