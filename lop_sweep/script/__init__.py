"""One cell in the form of the single-file script: its flags, CSV, summary and plots."""

from lop_sweep.script.results import results_frame, script_frame, summarise

__all__ = [
    "results_frame",
    "script_frame",
    "summarise",
]
