"""Depth against learning rate, where the classes are far apart and where they overlap; 5 seeds, 650 cells.

About a quarter of an hour on two cores, by the cost model.
"""

import numpy as np
from ray import tune

param_space = {
    "depth": tune.grid_search([1, 2, 3, 5, 8]),
    "lr": tune.grid_search(np.geomspace(0.05, 3.2, 13).round(4).tolist()),
    "delta": tune.grid_search([0.0, 2.8]),
    "seed": tune.grid_search(list(range(5))),
}
