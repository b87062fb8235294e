"""Let a search-space file import the modules that lie beside it, while it is executed.

Afterwards neither `sys.path` nor `sys.modules` knows them. So the next search space may have another `helper.py`, and
what the file's components use of its own is sent to the workers like the file's own definitions, by value.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType


class _Neighbours:
    """Finds modules and packages in one folder, except those that would replace one of the standard library."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.found: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module is; None for one that is not a neighbour."""
        if path is not None or name in sys.stdlib_module_names:
            return None
        spec = PathFinder.find_spec(name, [self._folder])
        if spec is None or spec.origin is None:  # any folder without `__init__.py`, such as that of results
            return None
        self.found.add(name)
        return spec


@contextlib.contextmanager
def neighbours(folder: Path) -> Iterator[None]:
    """Make the modules of a folder importable during a `with` block, before installed ones of the same name."""
    finder, before = _Neighbours(folder), set(sys.modules)
    importlib.invalidate_caches()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in finder.found:
                del sys.modules[name]
