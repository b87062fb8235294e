"""Learning rate against optimizer, on the kind of tasks that are known to lose plasticity; 8 seeds, 288 cells.

Ten hidden layers of 100 units, two inputs and classes that overlap entirely: the configuration of the repository
ajoudaki/simple-lop, with a fifth of its updates per task and 60 of its 100 tasks. Its README says that SGD at 0.3 and
AdamW at 0.003 lose plasticity and Muon at 0.05 does not. About an hour on two cores, most of it for the two Muons, and
half of that in float32.
"""

from ray import tune

param_space = {
    "depth": 10,
    "input_dim": 2,
    "components": 5,
    "delta": 0.0,
    "spread": 1.0,
    "sigma": 0.2,
    "steps": 100,
    "tasks": 60,
    "fresh_baseline": 5,
    "optimizer": tune.grid_search(["sgd", "momentum", "adam", "adamw", "muon", "muon_simple_lop"]),
    "lr": tune.grid_search([0.001, 0.003, 0.01, 0.05, 0.3, 1.0]),
    "seed": tune.grid_search(list(range(8))),
}
