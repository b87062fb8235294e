"""What is released is consistent: versions, citation, extras, and the files of the wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import release

ROOT = Path(__file__).parents[1]
RELEASED = ("pyproject.toml", "CITATION.cff", "CHANGELOG.md", "lop_sweep/version.py")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the files that name the version."""
    for name in RELEASED:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist."""
    return release.build(tmp_path_factory.mktemp("build"), isolated=False)[1]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_versions_agree() -> None:
    from lop_sweep import __version__

    assert release.check_versions() == __version__


@pytest.mark.parametrize("name", ["CITATION.cff", "CHANGELOG.md", "lop_sweep/version.py"])
def test_another_version_anywhere_is_refused(root: Path, name: str) -> None:
    edit(root / name, release.source_version(), "9.8.7")
    with pytest.raises(release.ReleaseError, match=r"9\.8\.7"):
        release.check_versions(root)


def test_the_citation_is_valid() -> None:
    release.check_citation()


def test_an_invalid_citation_is_refused(root: Path) -> None:
    edit(root / "CITATION.cff", "message:", "massage:")
    with pytest.raises(release.ReleaseError, match="CITATION"):
        release.check_citation(root)


def test_release_notes_are_the_newest_section(root: Path) -> None:
    (root / "CHANGELOG.md").write_text("# Changelog\n\n## 0.2.0 (2027-01-01)\n\n- New.\n\n## 0.1.0\n\n- Old.\n")
    assert release.newest_section(root) == ("0.2.0 (2027-01-01)", "- New.")


def test_the_wheel_has_the_packages_and_nothing_else(wheel: Path) -> None:
    release.check_contents(wheel, release.source_version())
    names = zipfile.ZipFile(wheel).namelist()
    assert {"analysis/py.typed", "lop_sweep/py.typed", "search_spaces/py.typed", "search_spaces/demo.py"} <= {*names}
    assert any(name.startswith("analysis/report/page/") and not name.endswith(".py") for name in names)


def test_a_wheel_with_a_file_too_many_or_too_few_is_refused(wheel: Path, tmp_path: Path) -> None:
    more, less = tmp_path / "more.whl", tmp_path / "less.whl"
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(more, "w") as larger, zipfile.ZipFile(less, "w") as smaller:
        for name in archive.namelist():
            larger.writestr(name, archive.read(name))
            if name != "lop_sweep/py.typed":
                smaller.writestr(name, archive.read(name))
        larger.writestr("tests/conftest.py", "")
    for path, match in ((more, "tests/conftest.py"), (less, r"lacks \['lop_sweep/py.typed'\]")):
        with pytest.raises(release.ReleaseError, match=match):
            release.check_contents(path, release.source_version())


def test_extras_are_documented_with_their_packages() -> None:
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    rows = [line.split("|")[1:3] for line in (ROOT / "docs" / "install.md").read_text().splitlines() if "|" in line]
    documented = {name.strip().strip("`"): packages.strip() for name, packages in rows}
    assert documented.keys() >= extras.keys()
    for name in extras.keys() - {"all", "dev"}:
        assert documented[name].split(", ") == re.findall(r"^[\w-]+", "\n".join(extras[name]), re.MULTILINE)
    (everything,) = extras["all"]
    assert everything == f"lop-sweep[{','.join(sorted(extras.keys() - {'all', 'dev', 'docs', 'release'}))}]"


def test_supported_pythons_are_those_of_the_metadata() -> None:
    assert release.supported_versions() == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == f">={release.supported_versions()[0]}"


def test_a_python_that_does_not_run_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as status:
        release.main(["--python", str(tmp_path / "python")])
    assert status.value.code == 2
    assert "is not a Python 3.11 or 3.12 or 3.13" in capsys.readouterr().err


@pytest.mark.long
def test_the_wheel_works_in_a_clean_environment(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "tools" / "release.py", "--python", sys.executable, "--out", tmp_path / "dist"]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"## {release.newest_section()[0]}\n")
    assert "All checks passed. Nothing was uploaded." in result.stderr
    assert len(list((tmp_path / "dist").iterdir())) == 2


def installed_by(target: str, folder: Path) -> set[str]:
    """Return what a target of the Makefile has pip install in a new environment."""
    command = ["make", "--dry-run", target, f"VENV={folder / 'venv'}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(re.findall(r"pip install .* (\S+)$", result.stdout, flags=re.MULTILINE))


def test_the_demo_installs_no_more_than_the_package(tmp_path: Path) -> None:
    assert installed_by("demo", tmp_path) == {"torch", "."}


@pytest.mark.parametrize("target", ["test", "test-long", "lint", "docs", "bench", "release-check"])
def test_development_installs_its_tools_too(target: str, tmp_path: Path) -> None:
    assert installed_by(target, tmp_path) == {"torch", ".", "'.[dev,docs]'"}
