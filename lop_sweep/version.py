"""The version of lop-sweep."""

__version__ = "0.1.0"
