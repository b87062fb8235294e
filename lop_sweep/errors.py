"""The errors that lop-sweep raises deliberately, and text for their messages. All derive from `LopSweepError`.

A message is one line: the rule, the value received and the way out. The commands print it and exit with status 2. Any
other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from lop_sweep.version import __version__


class LopSweepError(Exception):
    """Root of all errors that lop-sweep and its analysis raise deliberately."""


class ConfigError(LopSweepError):
    """A cell's configuration breaks a rule."""


class SpaceError(LopSweepError):
    """A search space cannot be expanded into cells."""


class StoreError(LopSweepError):
    """A sweep directory cannot be read or written."""


class MissingFileError(StoreError):
    """A file of a sweep directory does not exist, or no longer exists."""


class InaccessibleFileError(StoreError):
    """The system refuses to read a file or folder of a sweep directory, which may be sound."""


class SchemaVersionError(StoreError):
    """A file was written by another version of lop-sweep; it is neither read nor touched."""


class SpecialFileError(StoreError):
    """A directory, FIFO, device, socket or dangling link stands where a regular file should be."""


class StateError(LopSweepError):
    """A saved state is damaged, or belongs to another experiment."""


class MissingStateError(StateError):
    """A saved state does not exist, or has just been removed."""


class InaccessibleStateError(StateError):
    """A saved state cannot be read now, or is not a regular file; it may be sound."""


class SweepError(LopSweepError):
    """A sweep cannot be started with these options."""


class CommandError(LopSweepError):
    """A command cannot run with its working directory or standard streams."""


class AnalysisError(LopSweepError):
    """The results lack what a score, map or curve needs."""


class TrackerError(LopSweepError):
    """A tracker cannot be reached, refuses something, or lacks its package. The message holds no credentials."""


def printable(text: str) -> str:
    """Return `text` with control characters escaped as in Python code: one line, and safe for a terminal.

    This escapes C0, C1, DEL, line and paragraph separators, formatting characters such as bidirectional overrides, and
    invalid Unicode. Spaces of any width are kept.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or unicodedata.category(character) == "Zs" else _escaped(character)
        for character in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def single_line(error: BaseException) -> str:
    """Return an error's message on one line, or its type's name if it has no message."""
    try:
        message = " ".join(str(error).split())
    except Exception:
        message = ""
    return printable(message) or type(error).__name__


def safe_repr(value: object) -> str:
    """Return a value as in code, on one line, or its type if it has no repr: an integer of over 4300 digits."""
    try:
        text = repr(value)
    except Exception:
        return f"<a {type(value).__name__} that cannot be printed>"
    return text if text.isprintable() else printable(" ".join(text.split()))


def another_version(
    where: object, found: object, readable: int, writer: object, what: str = "schema"
) -> SchemaVersionError:
    """Return the error for a file that another version of lop-sweep wrote.

    Args:
        where: the file.
        found: the version of its format.
        readable: the version of the format that this lop-sweep reads.
        writer: the version of lop-sweep that the file names as its writer; ignored unless it is a version.
        what: which format.
    """
    own = __version__
    known = isinstance(writer, str) and writer != own and re.fullmatch(r"[\w.+!-]{1,40}", writer, re.ASCII)
    by = f"it was written by lop-sweep {writer}, this is {own}" if known else f"this is lop-sweep {own}"
    way_out = f"lop-sweep {writer}" if known else "the version that wrote it"
    number = str(found) if type(found) is int and abs(found) < 10**9 else safe_repr(found)[:40]
    return SchemaVersionError(
        f"{where}: has {what} version {number}, this lop-sweep reads version {readable}; "
        f"{by}: use {way_out}, or move the file out of the directory"
    )


_NEAR = 0.75
"""Similarity, by `difflib`, of further names that are suggested."""


def suggestion(name: object, known: Iterable[str], most: int = 1) -> str:
    """Return " (did you mean 'x'?)" for a misspelt name; empty if no known name is near.

    Args:
        name: the misspelt name.
        known: the valid names.
        most: maximum number of names to suggest, the nearest first.
    """
    import difflib  # only errors need it, and every command imports this module first

    if not isinstance(name, str):
        return ""
    valid = list(known)
    near = difflib.get_close_matches(name, valid, most, _NEAR) or difflib.get_close_matches(name, valid, 1)
    return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""


def comma_list(values: Iterable[object]) -> str:
    """Return values as a comma-separated list for a message."""
    return ", ".join(str(value) for value in values)
