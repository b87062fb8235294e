"""One function that checks all that the contract says of a component."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import threadpoolctl
import torch

from lop_sweep.components import check
from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError, comma_list, single_line
from lop_sweep.registry import KINDS, OwnComponent, adopt, components, isolated
from lop_sweep.registry.source import definition_of
from lop_sweep.testing import contract
from lop_sweep.testing.networks import SMALL_CELL, with_component

Check = partial[None]


def check_component(component: object, *, kind: str = "", **fields: Any) -> None:
    """Check that a component does what its interface says, on small networks; takes a few seconds.

    Gradients are compared with autograd and with finite differences, training with the reference, a resumed run with an
    uninterrupted one, cells alone with cells in a pack, NumPy with other array libraries, depending on the kind.

        check_component(MyActivation)
        check_component("my_optimizer", lr=0.01)

    Args:
        component: a class, an instance or a name. If several names are registered for a class, all are checked.
        kind: of the component, where it is not registered, or where several kinds have its name.
        fields: configuration fields of the small cell, for example hyperparameters.

    Raises:
        AssertionError: something does not hold; the message says what was checked.
        ConfigError: no such component is registered and `kind` is not given, or a field is not valid.
    """
    with isolated(), _one_thread():
        for one, name in _registered(component, kind):
            cell = with_component(one, name, SMALL_CELL).replace(**fields)
            check(cell)
            for run in _checks(one, name, cell):
                _run(one, name, run)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, as sweeps do: several are slower on networks as small as these."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpoolctl.threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(threads)


def _registered(component: object, kind: str) -> list[tuple[str, str]]:
    """Return kind and name of each registration of a component. One that is not registered is, under its class's name.

    Raises:
        ConfigError: it is not registered, and `kind` is not given or unknown.
    """
    kinds = [kind] if kind else KINDS
    if isinstance(component, str):
        found = [(one, component) for one in kinds if component in components(one)]
    else:
        cls = component if isinstance(component, type) else type(component)
        own = getattr(component, "name", "") if not isinstance(component, type) else ""
        found = [
            (one, name) for one in kinds for name, part in components(one).items()
            if type(part) is cls and own in ("", name)
        ]  # fmt: skip
    if len({one for one, _ in found}) > 1:
        raise ConfigError(
            f"{component}: is a name of several kinds; give kind, one of {comma_list(k for k, _ in found)}"
        )
    if not found and (isinstance(component, str) or kind not in KINDS):
        raise ConfigError(
            f"{component}: is not registered; register it, or give its class and its kind: {comma_list(KINDS)}"
        )
    return found or [(kind, _register(cls, kind))]


def _register(cls: type, kind: str) -> str:
    name = cls.__name__
    adopt(OwnComponent(kind, name, "unregistered", definition_of(cls), cls))
    return name


def _checks(kind: str, name: str, cell: CellConfig) -> Iterator[Check]:
    """Yield the checks of a component of a kind."""
    if kind == "metric":
        yield partial(contract.metric_stays_within_its_bounds, name)
        yield partial(contract.metric_is_the_same_on_tensors, name)
        yield from (partial(contract.metric_keeps_to_the_array_api_standard, name, library) for library in _libraries())
        for width, samples in ((6, 10), (1, 2)):
            yield partial(contract.metric_does_not_depend_on_the_batch, name, width, samples)
    if kind == "loss":
        yield partial(contract.loss_is_a_mean_over_points, name)
    if kind == "activation":
        yield partial(contract.activation_leaves_what_it_reads_unchanged, cell)
    if kind == "init":
        yield partial(contract.initializer_draws_from_the_rng_alone, cell)
        yield partial(contract.both_draws_of_an_initializer_have_one_distribution, cell)
    if kind == "stream":
        yield partial(contract.stream_draws_from_the_rng_alone, cell)
    if kind == "optimizer":
        yield from (partial(contract.optimizer_works_in_place_per_network, cell, role) for role in contract.ROLES)
        yield partial(contract.optimizer_equals_that_of_the_reference, cell)
    if kind != "metric":
        yield partial(contract.gradients_equal_autograd, cell)
        yield partial(contract.gradients_equal_central_differences, cell)
        yield partial(contract.float32_stays_float32, cell)
        yield from (partial(contract.keeps_to_the_array_api_standard, cell, library) for library in _libraries())
    yield partial(contract.engine_equals_reference, cell)
    yield partial(contract.resumed_run_equals_uninterrupted, cell)
    yield partial(contract.cell_does_not_depend_on_its_pack, cell)


def _libraries() -> Iterator[Any]:
    """Yield array libraries: PyTorch, and the one that refuses all beyond the standard, where it is installed."""
    yield torch
    if importlib.util.find_spec("array_api_strict"):
        yield importlib.import_module("array_api_strict")


def _run(kind: str, name: str, run: Check) -> None:
    what = (run.func.__doc__ or "").strip().splitlines()[0]
    try:
        run()
    except AssertionError as error:
        raise AssertionError(f"{kind} {name!r}: {what}\n{error}") from error
    except Exception as error:
        raise AssertionError(
            f"{kind} {name!r}: {what}\nIt failed with {type(error).__name__}: {single_line(error)}"
        ) from error
