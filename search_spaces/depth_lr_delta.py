"""Depth against learning rate at three separations of the classes; 8 seeds, 1,320 cells: the maps of docs/gallery.

About forty minutes on two cores.
"""

import numpy as np
from ray import tune

param_space = {
    "depth": tune.grid_search([1, 2, 3, 5, 8]),
    "lr": tune.grid_search(np.geomspace(0.1, 3.2, 11).round(4).tolist()),
    "delta": tune.grid_search([0.0, 1.4, 2.8]),
    "seed": tune.grid_search(list(range(8))),
}
