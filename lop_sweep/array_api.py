"""The array API namespace of an array: one source for NumPy, PyTorch and other libraries that follow the standard.

`array_api_compat` brings NumPy's and PyTorch's functions in line with the standard. Its look-up takes longer than many
operations on small arrays, so it is made once per type.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

Array = Any
"""An array of any library that follows the array API standard."""

_namespaces: dict[type, ModuleType] = {}


def array_namespace(array: Array) -> Any:
    """Return the module with the functions for `array`, under the names of the array API standard."""
    kind = type(array)
    if kind not in _namespaces:
        _namespaces[kind] = array_api_compat.array_namespace(array)
    return _namespaces[kind]


def is_numpy(array: Array) -> bool:
    """Return whether `array` is a NumPy array."""
    return array_api_compat.is_numpy_array(array)


def erf(array: Array) -> Array:
    """Return the error function of each value, to the last digits of its dtype.

    The standard has no such function. A library's own is used if it has one, as PyTorch has; otherwise SciPy's, on a
    copy that NumPy can read. NumPy's arrays need no copy.
    """
    xp = array_namespace(array)
    own = getattr(xp, "erf", None)
    if own is not None:
        return own(array)
    from scipy import special

    if is_numpy(array):
        return special.erf(array)
    return xp.asarray(special.erf(np.asarray(array)), device=array.device)
