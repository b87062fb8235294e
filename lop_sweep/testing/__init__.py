"""Test components of your own: the contract that lop-sweep's own suite checks of every component.

    from lop_sweep.testing import check_component

    check_component(MyActivation)

Needs no test runner: what does not hold is an `AssertionError` that says what was checked.
"""

from lop_sweep.registry import isolated
from lop_sweep.testing.check import check_component

__all__ = ["check_component", "isolated"]
