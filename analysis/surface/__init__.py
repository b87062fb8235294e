"""Surfaces of rates fitted to the cells of a sweep, and their boundaries with simultaneous bands."""

from analysis.surface.band import Boundary, boundary_band, boundary_bands
from analysis.surface.model import Prediction, Surface, fit_surface
from analysis.surface.scaling import MAX_AXES, SCALES

__all__ = [
    "MAX_AXES",
    "SCALES",
    "Boundary",
    "Prediction",
    "Surface",
    "boundary_band",
    "boundary_bands",
    "fit_surface",
]
