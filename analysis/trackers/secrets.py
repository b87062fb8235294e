"""Keep credentials out of messages: addresses may hold user names, passwords and tokens."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_USER_INFO = re.compile(r"://[^/\s'\"@]*(?:@[^/\s'\"@]*)*@")
"""What stands between the scheme and the host of an address, wherever it occurs in a text."""


def public_address(address: str) -> str:
    """Return an address without its user name, password, query and fragment."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")) or address


def without_secrets(text: str, address: str = "") -> str:
    """Return a text without user names and passwords of addresses.

    Args:
        text: a message of any library.
        address: the address in use. Its own user name, password and query are removed wherever they occur.
    """
    text = _USER_INFO.sub("://", text)
    parts = urlsplit(address)
    for secret in (parts.netloc.rpartition("@")[0], parts.password, parts.username, parts.query):
        if secret:
            text = text.replace(secret, "...")
    return text
