"""Hypothesis strategies and helpers that several property tests share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st

from lop_sweep.errors import (
    LopSweepError,
)

T = TypeVar("T")


def examples(count: int) -> settings:
    """As many examples, however long each takes: this may run beside other work."""
    return settings(max_examples=count, deadline=None)


def outcome(call: Callable[[], T], *refusals: type[LopSweepError]) -> T | None:
    """What `call` gives, or None if it refuses; a refusal is one line, and any other exception is a failure."""
    try:
        return call()
    except refusals as error:
        message = str(error)
        assert message
        assert message.splitlines() == [message]
        return None


texts = st.text(max_size=8) | st.text(st.characters(), max_size=3) | st.sampled_from(["\n", "a\nb", "\ud800", "\u2028"])


def spoilt(valid: st.SearchStrategy[Any], keys: st.SearchStrategy[Any], values: st.SearchStrategy[Any]) -> Any:
    """Dictionaries from `valid` in which up to two entries are replaced, or added."""
    return st.builds(lambda good, odd: {**good, **odd}, valid, st.dictionaries(keys, values, max_size=2))


keys = texts.filter(lambda key: key not in ("$array", "checksum"))  # with these, the two kinds of file mark their own

exact_json = st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False) | texts

finite_json = st.recursive(
    exact_json.filter(lambda value: value not in (math.inf, -math.inf)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=4,
)
