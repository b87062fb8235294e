"""Folders of the user's project named like our packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lop_sweep.planning.space_file import shipped_spaces


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("analysis", "search_spaces"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    return tmp_path


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)


def test_shipped_spaces_are_found_beside_a_folder_named_search_spaces(project: Path) -> None:
    code = (
        "import search_spaces, lop_sweep.planning.space_file as p; print(search_spaces.__file__, *p.shipped_spaces())"
    )
    result = run("-c", code, folder=project)
    where, *names = result.stdout.split()
    assert Path(where).parent == project / "search_spaces"
    assert names == list(shipped_spaces())
    assert "demo" in names


def test_a_folder_named_analysis_is_named_where_trackers_need_ours(project: Path) -> None:
    arguments = ("lop_sweep", "log", "results", "--tensorboard")
    result = run("-m", *arguments, folder=project)
    assert result.returncode == 2
    assert f"{project / 'analysis'} hides lop-sweep's package of the same name" in result.stderr
    assert "python -P" in result.stderr
    result = run("-P", "-m", *arguments, folder=project)
    assert result.returncode == 2
    assert "results: is not a directory" in result.stderr
