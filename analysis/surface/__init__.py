"""Surfaces of rates fitted to the cells of a sweep, and their boundaries with simultaneous bands."""

from analysis.surface.band import Boundary, boundary_band, boundary_bands
from analysis.surface.laplace import Counts
from analysis.surface.model import Prediction, Surface, fit_outcomes, fit_surface
from analysis.surface.outcomes import Outcomes, add_up
from analysis.surface.sampling import DEFAULT, FINE, Schedule
from analysis.surface.scaling import MAX_AXES, SCALES, Scaling, scaling_of
from analysis.surface.tuning import Tuned

__all__ = [
    "DEFAULT",
    "FINE",
    "MAX_AXES",
    "SCALES",
    "Boundary",
    "Counts",
    "Outcomes",
    "Prediction",
    "Scaling",
    "Schedule",
    "Surface",
    "Tuned",
    "add_up",
    "boundary_band",
    "boundary_bands",
    "fit_outcomes",
    "fit_surface",
    "scaling_of",
]
