"""Separation in units of the classes' own width against noise, for a deep network; 6 seeds, 288 cells."""

from ray import tune

SPREAD = 0.7
SEPARATIONS = [0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.8, 4.0]
"""d' = delta / sqrt(spread^2 + sigma^2)."""


def delta_of(separation):
    """Return a sample that is delta at a separation, for the sigma of its cell."""
    return tune.sample_from(lambda spec: separation * (SPREAD**2 + spec.config.sigma**2) ** 0.5)


param_space = {
    "depth": 8,
    "lr": 0.6,
    "sigma": tune.grid_search([0.1, 0.2, 0.4, 0.8, 1.6, 3.2]),
    "delta": tune.grid_search([delta_of(separation) for separation in SEPARATIONS]),
    "seed": tune.grid_search(list(range(6))),
}
