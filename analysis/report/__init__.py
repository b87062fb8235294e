"""One HTML page to explore a sweep, offline."""

from analysis.report.write import write_report

__all__ = [
    "write_report",
]
