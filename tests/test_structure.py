"""The house rules on imports: one direction, light entry points, and no pickle where results are read."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh process after `statement`."""
    code = f"{statement}\nimport sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(result.stdout.split())


def modules_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_imports_follow_the_contracts() -> None:
    """The contracts are in pyproject.toml; `make lint` prints which import breaks one."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--config", "pyproject.toml", "--no-cache"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout


def test_no_folder_has_more_than_fifteen_modules() -> None:
    for package in ("lop_sweep", "analysis"):
        folders = Counter(path.parent for path in modules_of(package) if path.name != "__init__.py")
        assert max(folders.values()) <= 15, folders


def test_analysis_loads_neither_ray_nor_torch() -> None:
    loaded = loaded_by("import analysis, analysis.cli, analysis; analysis.score")
    assert "pandas" in loaded
    assert not loaded & {"ray", "torch"}


def test_the_package_itself_loads_no_numpy() -> None:
    """Otherwise OpenBLAS would choose its kernels before `prepare_process` can."""
    assert not loaded_by("import lop_sweep, lop_sweep.runtime") & {"numpy", "torch", "ray", "pyarrow"}


def test_entry_points_load_nothing_large() -> None:
    loaded = loaded_by("import analysis.__main__, lop_sweep.__main__, lop_sweep.console.entry")
    assert not loaded & {"numpy", "pandas", "pyarrow", "matplotlib", "plotly", "cmcrameri", "ray", "torch"}


def test_public_names_of_the_analysis_are_importable() -> None:
    import analysis

    for name in analysis.__all__:
        assert getattr(analysis, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = analysis.nothing


def test_streams_are_made_safe_with_the_standard_library_alone() -> None:
    packages = {name.partition(".")[0] for name in imports_of(ROOT / "lop_sweep" / "console" / "stdio.py")}
    assert packages <= sys.stdlib_module_names


@pytest.mark.parametrize("package", ["lop_sweep", "analysis"])
def test_everything_is_printed_by_way_of_the_terminal_module(package: str) -> None:
    """It makes control characters visible; `print` does not."""
    for path in modules_of(package):
        called = {node.func.id for node in ast.walk(ast.parse(path.read_text()))
                  if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
        assert "print" not in called, path.name


def test_status_needs_neither_ray_nor_torch() -> None:
    loaded = loaded_by("import lop_sweep.planning.plan, lop_sweep.storage.store")
    assert not loaded & {"ray", "torch"}


def test_public_names_are_importable() -> None:
    import lop_sweep

    for name in lop_sweep.__all__:
        assert getattr(lop_sweep, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = lop_sweep.nothing


def test_nothing_can_unpickle() -> None:
    for package in ("lop_sweep", "analysis"):
        for path in modules_of(package):
            assert not {name.partition(".")[0] for name in imports_of(path)} & {
                "pickle",
                "cloudpickle",
                "dill",
                "joblib",
            }
            assert "allow_pickle=True" not in path.read_text()
