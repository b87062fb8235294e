"""Task separation against noise, for a deep network at a large learning rate; 6 seeds, 324 cells."""

import numpy as np
from ray import tune

param_space = {
    "depth": 8,
    "lr": 0.6,
    "delta": tune.grid_search(np.linspace(0.0, 4.0, 9).tolist()),
    "sigma": tune.grid_search([0.1, 0.2, 0.4, 0.8, 1.6, 3.2]),
    "seed": tune.grid_search(list(range(6))),
}
