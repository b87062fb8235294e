"""New labels for the same 1,200 MNIST images, task after task: Adam with and without L2-init; 5 seeds, 10 cells.

Needs the extra `lop-sweep[data]`. Source: S. Kumar et al., "Maintaining plasticity in continual learning via
regenerative regularization", CoLLAs 2024, with their network, optimizer, strength and 400 epochs per task, but 20 tasks
instead of 50. About half an hour on two cores, half of that in float32.
"""

from ray import tune

param_space = {
    "stream": "random_labels",
    "data": "mnist_5k",
    "samples": 1200,
    "batch_size": 16,
    "steps": 30_000,
    "tasks": 20,
    "width": 100,
    "depth": 2,
    "activation": "relu",
    "init": "pytorch",
    "optimizer": "adam",
    "lr": 1e-4,
    "mitigation": tune.grid_search(["none", "l2_init"]),
    "l2_init_strength": 1e-2,
    "metrics": ["online_accuracy"],
    "fresh_baseline": 1,
    "seed": tune.grid_search(list(range(5))),
}
