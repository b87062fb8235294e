"""The definition of a class as text: its source, that of its bases in the same module, and its plain attributes.

The text identifies what a component of a user's own does, as far as its class says it. Functions that the class calls
are not part of it.
"""

from __future__ import annotations

import ast
import inspect
import json
import linecache
import os
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import Any


def definition_of(cls: type) -> str:
    """Return the definition of a class; empty if its source cannot be read.

    It is the source of the class with its decorators and of its base classes in the same module, without indentation
    and with "\\n" at the end of each line. A comment after each names the attributes that are numbers, texts, booleans
    or lists of them. So classes that a loop makes from the same lines differ.
    """
    parts = []
    for one in (base for base in cls.__mro__ if base.__module__ == cls.__module__):
        source = _source(one)
        if source is not None:
            parts.append("\n".join(textwrap.dedent(source).strip().splitlines()) + "\n")
        if attributes := _plain_attributes(one):
            parts.append(f"# {one.__qualname__}: {json.dumps(attributes, sort_keys=True)}\n")
    return "".join(parts) if any(not part.startswith("# ") for part in parts) else ""


def _source(cls: type) -> str | None:
    """Return the source of a class, also of one in a notebook; None if it cannot be read.

    It is found by the line of one of its functions: `inspect.getsource` takes another class of the same name if there
    is one, and cannot read notebooks.
    """
    function = next(_functions(cls), None)
    try:
        return inspect.getsource(cls) if function is None else _around(cls.__name__, function)
    except (OSError, TypeError, SyntaxError):
        return None


def _around(name: str, function: FunctionType) -> str:
    """Return the source of the class of this name that a function is in.

    Raises:
        OSError: it cannot be read.
        SyntaxError: the file has been changed since.
    """
    file, line = function.__code__.co_filename, function.__code__.co_firstlineno
    if os.path.exists(file):
        linecache.checkcache(file)
    lines = linecache.getlines(file)
    found = [
        (min([node.lineno, *(one.lineno for one in node.decorator_list)]), node.end_lineno or node.lineno)
        for node in ast.walk(ast.parse("".join(lines)))
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    around = [(start, end) for start, end in found if start <= line <= end]
    if not around:
        raise OSError(f"{file} has no class {name} around line {line}")
    start, end = max(around)
    return "".join(lines[start - 1 : end])


def _functions(cls: type) -> Iterator[FunctionType]:
    """Yield the functions that are defined in a class."""
    for name, value in vars(cls).items():
        function = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        function = inspect.unwrap(function) if callable(function) else function
        if isinstance(function, FunctionType) and function.__qualname__ == f"{cls.__qualname__}.{name}":
            yield function


def _plain_attributes(cls: type) -> dict[str, Any]:
    return {name: value for name, value in vars(cls).items() if not name.startswith("__") and _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)
