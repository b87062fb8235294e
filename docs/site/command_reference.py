"""What `--help` says of a command and its subcommands, as Markdown for the documentation."""

from __future__ import annotations

import argparse
from collections.abc import Iterator


def command_reference(parser: argparse.ArgumentParser) -> str:
    """Return a section per subcommand: its description, its usage, and a table of its arguments.

    Args:
        parser: the parser of a command that has subcommands.
    """
    (subcommands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return "\n".join("\n".join(_section(one)) for one in subcommands.choices.values()) + "\n"


def _section(parser: argparse.ArgumentParser) -> Iterator[str]:
    arguments = [action for action in parser._actions if action.help != argparse.SUPPRESS and action.dest != "help"]
    yield f"### {parser.prog}\n"
    yield " ".join((parser.description or "").split()) + "\n"
    yield f"```text\n{_usage(parser.prog, arguments)}\n```\n"
    if arguments:
        yield "| argument | meaning |\n| --- | --- |"
        yield from (f"| {_names(action)} | {_meaning(parser, action)} |" for action in arguments)
        yield ""


def _usage(prog: str, arguments: list[argparse.Action]) -> str:
    needed = [_placeholder(action) for action in arguments if not action.option_strings]
    needed += [f"{action.option_strings[0]} {action.metavar}" for action in arguments if _is_required_option(action)]
    has_options = any(action.option_strings and not action.required for action in arguments)
    return " ".join([prog, *needed, *["[OPTIONS]"] * has_options])


def _is_required_option(action: argparse.Action) -> bool:
    return bool(action.option_strings) and action.required


def _placeholder(action: argparse.Action) -> str:
    return f"[{action.metavar} ...]" if action.nargs == "*" else str(action.metavar)


def _names(action: argparse.Action) -> str:
    """Return an argument as it is written: `--flag VALUE`, with its other spellings."""
    spellings = [f"{flag}{_value(action)}" for flag in action.option_strings] or [_placeholder(action)]
    return ", ".join(f"`{one}`".replace("|", "\\|") for one in spellings)


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    name = action.metavar or "{" + ",".join(map(str, action.choices or ())) + "}"
    return f" [{name}]" if action.nargs == "?" else f" {name}"


def _meaning(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    required = "; required" if _is_required_option(action) else ""
    return " ".join(text.split()).replace("|", "\\|") + required
