"""Options declared once, as fields of a dataclass: parser, options object and keywords of the Python API follow.

    @dataclass(frozen=True)
    class Options:
        cpus: int | None = option(None, "CPUs of the local Ray (default: all)", at_least=1)
        dtype: str = option("float64", "floating-point type", choices=("float64", "float32"))
        progress: bool = option(True, "show a progress bar")

    add_options(parser, Options)  # --cpus N, --dtype NAME, --no-progress
    options = options_from(Options, parser.parse_args())

A field's type is `int`, `float`, `str` or `bool`, possibly `| None`. A boolean becomes a switch: `--name` where it is
off by default, `--no-name` where it is on, and both where it is None.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from numbers import Integral, Real
from typing import Any, TypeVar, get_args, get_type_hints

from lop_sweep.errors import LopSweepError, comma_list, safe_repr, suggestion

_KEY = "lop_sweep.option"
"""Where a field's metadata holds its declaration."""
_METAVARS: Mapping[type, str] = {int: "N", float: "X", str: "NAME"}
_KINDS: Mapping[type, str] = {
    int: "an integer", float: "a finite number", str: "a string", bool: "True or False",
}  # fmt: skip

Options = TypeVar("Options")
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class _Declaration:
    help: str
    metavar: str
    choices: tuple[str, ...]
    flag: str | None
    at_least: float | None
    bare: str | None


@dataclasses.dataclass(frozen=True)
class _Option:
    """One option: a dataclass field with the declaration in its metadata and its type resolved."""

    name: str
    default: Any
    type: type
    optional: bool
    declared: _Declaration

    @property
    def flag(self) -> str:
        """The flag, with its dashes."""
        off = "no-" if self.type is bool and self.default is True else ""
        return f"--{self.declared.flag or off + self.name.replace('_', '-')}"

    @property
    def description(self) -> str:
        """The help text with the choices and the default, unless the text names the default itself."""
        text, default = self.declared.help, self.default
        if self.declared.choices:
            text += f": {comma_list(self.declared.choices)}"
        if default is None or default is False or "(default" in text:
            return text
        return f"{text} (default {default:.3g})" if isinstance(default, float) else f"{text} (default {default})"

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value; empty if nothing is."""
        if value is None and self.optional:
            return ""
        choices, at_least = self.declared.choices, self.declared.at_least
        if choices and value not in choices:
            return f"must be one of {comma_list(choices)}"
        right = {
            int: isinstance(value, Integral) and not isinstance(value, bool),
            float: isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value),
            str: isinstance(value, str),
            bool: isinstance(value, bool),
        }[self.type]
        if right and (at_least is None or value >= at_least):
            return ""
        return f"must be {_KINDS[self.type]}" + (f" of at least {at_least:g}" if at_least is not None else "")


def option(
    default: Any,
    help: str,  # noqa: A002
    *,
    metavar: str = "",
    choices: Collection[str] | None = None,
    flag: str | None = None,
    at_least: float | None = None,
    bare: str | None = None,
) -> Any:
    """Declare an option as a field of a dataclass.

    Args:
        default: its default.
        help: one phrase. For a boolean it begins with a verb; if the default is True, `--help` says "do not" before it.
            Choices are added, and the default unless the text has "(default".
        metavar: what `--help` calls the value; by default N, X or NAME, by the field's type.
        choices: the values that a string may have.
        flag: the flag without its dashes; by default the field's name, with "no-" where the default is True.
        at_least: the smallest number allowed.
        bare: of a string, the value that the flag stands for if none follows it; by default one must follow.

    Returns:
        A `dataclasses.field`.
    """
    declaration = _Declaration(help, metavar, tuple(choices or ()), flag, at_least, bare)
    return dataclasses.field(default=default, metadata={_KEY: declaration})


def add_options(parser: argparse.ArgumentParser, cls: type, names: Collection[str] | None = None) -> None:
    """Add an argument to a parser for each option of a class.

    Args:
        parser: any parser or argument group.
        cls: a dataclass with fields made by `option`.
        names: the options to add; None for all.
    """
    for one in _options(cls):
        if names is not None and one.name not in names:
            continue
        settings: dict[str, Any] = {"dest": one.name, "default": one.default}
        if one.type is bool:
            switch = "store_false" if one.default else "store_true"
            settings["action"] = argparse.BooleanOptionalAction if one.default is None else switch
        else:
            settings |= {"type": one.type, "metavar": one.declared.metavar or _METAVARS[one.type]}
            settings |= {} if one.declared.bare is None else {"nargs": "?", "const": one.declared.bare}
        text = f"do not {one.declared.help}" if one.default is True else one.description
        parser.add_argument(one.flag, help=text.replace("%", "%%"), **settings)


def options_from(cls: type[Options], namespace: argparse.Namespace) -> Options:
    """Make the options object that parsed arguments describe; options the parser did not have take their defaults.

    Raises:
        LopSweepError: whatever the class raises for a value that is not allowed.
    """
    return cls(**{one.name: getattr(namespace, one.name) for one in _options(cls) if hasattr(namespace, one.name)})


def options_from_keywords(cls: type[Options], keywords: Mapping[str, Any], error: type[LopSweepError]) -> Options:
    """Make the options object that keyword arguments describe.

    Args:
        cls: a dataclass with fields made by `option`.
        keywords: names and values.
        error: raised for a keyword that is not an option.

    Raises:
        LopSweepError: `error`, or whatever the class raises for a value that is not allowed.
    """
    known = [one.name for one in _options(cls)]
    for name in keywords:
        if name not in known:
            raise error(f"unknown option {name!r}{suggestion(name, known)}; choose from: {comma_list(known)}")
    return cls(**keywords)


def check_options(options: object, error: type[LopSweepError]) -> None:
    """Check each option's value against its declaration; for a `__post_init__`.

    Raises:
        LopSweepError: `error`, for the first value that has a wrong type, is not one of the choices or is too small.
    """
    for one in _options(type(options)):
        value = getattr(options, one.name)
        problem = one.problem(value)
        if problem:
            raise error(f"{one.name} = {safe_repr(value)}: {problem}")


def document_options(cls: type[Options]) -> type[Options]:
    """Decorate a dataclass: add its options, with their help texts, to its docstring as attributes."""
    lines = "\n".join(f"    {one.name}: {one.description}." for one in _options(cls))
    cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\nAttributes:\n{lines}\n"
    return cls


def accepts_options(cls: type) -> Callable[[Function], Function]:
    """Decorate a function with a final `**options`: its signature lists the options of a class as keywords."""

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        own = list(signature.parameters.values())[:-1]
        function.__signature__ = signature.replace(parameters=[*own, *_parameters(cls)])  # type: ignore[attr-defined]
        return function

    return decorate


def _parameters(cls: type) -> list[inspect.Parameter]:
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(
            one.name, keyword_only, default=one.default, annotation=one.type | None if one.optional else one.type
        )
        for one in _options(cls)
    ]


def _options(cls: type) -> Iterator[_Option]:
    """Yield the options of a class in the order of its fields; fields not made by `option` are left out."""
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if _KEY not in field.metadata:
            continue
        kinds = [kind for kind in get_args(hints[field.name]) or (hints[field.name],) if kind is not type(None)]
        optional = type(None) in get_args(hints[field.name])
        yield _Option(field.name, field.default, kinds[0], optional, field.metadata[_KEY])
