"""Surfaces of rates fitted to the cells of a sweep, and their boundaries with simultaneous bands."""

from analysis.surface.band import Boundary, boundary_band, boundary_bands
from analysis.surface.latent import NO_SHIFT, Latent, fit_latent
from analysis.surface.model import Prediction, Surface, fit_surface
from analysis.surface.scaling import MAX_AXES, SCALES, Scaling, scaling_of

__all__ = [
    "MAX_AXES",
    "NO_SHIFT",
    "SCALES",
    "Boundary",
    "Latent",
    "Prediction",
    "Scaling",
    "Surface",
    "boundary_band",
    "boundary_bands",
    "fit_latent",
    "fit_surface",
    "scaling_of",
]
