"""The array API namespace of an array: one source for NumPy, PyTorch and whatever else follows the standard.

`array_api_compat` brings NumPy's and PyTorch's functions in line with the standard. Its look-up takes longer than many
an operation on small arrays; here it is made once for each type.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import array_api_compat

Array = Any
"""An array of any library that follows the array API standard."""

_namespaces: dict[type, ModuleType] = {}


def array_namespace(array: Array) -> Any:
    """The functions that go with `array`, as the array API standard names them."""
    kind = type(array)
    if kind not in _namespaces:
        _namespaces[kind] = array_api_compat.array_namespace(array)
    return _namespaces[kind]


def is_numpy(array: Array) -> bool:
    """Whether `array` is one of NumPy's."""
    return array_api_compat.is_numpy_array(array)
