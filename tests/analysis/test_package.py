"""What `import analysis` offers: its names, its help, and the example in it."""

from __future__ import annotations

import pydoc
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

import analysis


def test_dir_and_help_show_every_name() -> None:
    assert set(analysis.__all__) <= set(dir(analysis))
    text = pydoc.render_doc(analysis, renderer=pydoc.plaintext)
    listed = str(analysis.__doc__)
    for name in analysis.__all__:
        assert getattr(analysis, name).__doc__, name
        assert name in listed, name
        assert f"{name}(" in text or f"class {name}" in text, name


def test_a_map_needs_no_scipy_stats(store_dir: Path, tmp_path: Path) -> None:
    """It takes longer to import than a map needs for its tests and intervals."""
    arguments = ["map", str(store_dir), "--x", "lr", "--y", "depth", "--out", str(tmp_path / "map.svg")]
    program = (
        f"import sys; from analysis.cli import main; status = main({arguments!r}); "
        "print(status, 'scipy.stats' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "0 False\n"


def test_the_example_runs(store_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The indented block of the package's docstring, in a folder where `results` is a sweep directory."""
    (tmp_path / "results").symlink_to(store_dir)
    monkeypatch.chdir(tmp_path)
    lines = str(analysis.__doc__).splitlines()
    start = lines.index("    import analysis")
    end = next(number for number in range(start, len(lines)) if lines[number] and not lines[number].startswith(" "))
    example = textwrap.dedent("\n".join(lines[start:end]))
    assert 14 <= sum(bool(line) for line in example.splitlines()) <= 16
    names: dict[str, object] = {}
    exec(compile(example, "analysis.__doc__", "exec"), names)
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"results", "map.pdf", "curves.png", "layers.png", "report.html"}
    table = names["table"]
    assert isinstance(table, pd.DataFrame)
    assert {"n", "lost", "share", "low", "high"} <= set(table.columns)
