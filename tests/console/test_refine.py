"""Bad options of `lop-sweep refine`: one clear line, exit status 2, and nothing on the disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sweeping import write_space

from lop_sweep.cli import main
from lop_sweep.cli_refine import RefineOptions, parse_budget
from lop_sweep.errors import SweepError

AXES = {"lr": "tune.grid_search([0.1, 0.2])", "seed": "tune.grid_search([0, 1])"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("40", (40, None)), ("007", (7, None)), ("90s", (None, 90.0)), ("30min", (None, 1800.0)), ("2m", (None, 120.0)),
        ("2h", (None, 7200.0)), ("1.5h", (None, 5400.0)), ("0.5d", (None, 43200.0)),
    ],
)  # fmt: skip
def test_a_budget_is_a_number_of_cells_or_core_time(text: str, expected: tuple[int | None, float | None]) -> None:
    assert parse_budget(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-3", "1.5", "2 h", "h", ".h", "1..5h", "0s", "2H", "2hours", "1e3"])
def test_other_budgets_are_refused(text: str) -> None:
    message = f"budget = {text!r}: must be a number of cells of at least 1, or core-time such as 2h or 30min"
    with pytest.raises(SweepError, match=f"^{re.escape(message)}$"):
        parse_budget(text)


def test_defaults_and_wrong_values() -> None:
    options = RefineOptions(budget="5")
    assert (options.until, options.target, options.level, options.resolution) == (None, "lost", 0.5, 65)
    with pytest.raises(SweepError, match="resolution = 1: must be an integer of at least 2"):
        RefineOptions(budget="5", resolution=1)
    with pytest.raises(SweepError, match="until = nan: must be a finite number"):
        RefineOptions(until=float("nan"))
    with pytest.raises(SweepError, match="refine needs --budget or --until"):
        RefineOptions()


Refused = Callable[[Path, str, str], None]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return a check that a command is refused, by its search space, options and a part of the line."""

    def check(space: Path, options: str, message: str) -> None:
        out = tmp_path / "out"
        try:
            status: object = main(["refine", str(space), "--out", str(out), "--no-progress", *options.split()])
        except SystemExit as error:
            status = error.code
        said = capsys.readouterr()
        assert (status, said.out, said.err.count("\n")) == (2, "", 1)
        assert said.err.startswith("lop-sweep")
        assert message in said.err
        assert not out.exists()

    return check


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "refine needs --budget or --until"),
        ("--budget none", "budget = 'none': must be a number of cells of at least 1, or core-time such as 2h or 30min"),
        ("--budget 0", "budget = '0': must be a number of cells"),
        ("--until 2", "width = 2.0: must be between 0 and 1"),
        ("--until wide", "argument --until: invalid float value: 'wide'"),
        ("--budget 3 --target loost", "target = 'loost': must be one of plastic, undecided, lost"),
        ("--budget 3 --level 2", "level = 2.0: must be between 0 and 1"),
        ("--budget 3 --resolution 1", "resolution = 1: must be an integer of at least 2"),
        ("--budget 3 --shard 1/2", "unrecognized arguments: --shard 1/2"),
        ("--budget 3 --retry-failed", "unrecognized arguments: --retry-failed"),
    ],
)
def test_bad_options_are_refused(options: str, message: str, tmp_path: Path, refused: Refused) -> None:
    refused(write_space(tmp_path / "space.py", [], **AXES), options, message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seed": "tune.grid_search([0, 1])"}, "1 to 4 fields that vary beside the seed, here 0; give one of them sev"),
        (
            dict.fromkeys(("lr", "delta", "spread", "sigma", "relabel"), "tune.grid_search([0.1, 0.2])"),
            "1 to 4 fields that vary beside the seed, here 5 do: lr, ",
        ),
        ({"lr": "tune.randn(1, 1)"}, "lr: its distribution"),
        ({"lr": "tune.uniform(-1.0, 1.0)"}, "lr = -1"),
    ],
)
def test_spaces_without_a_boundary_are_refused(
    fields: dict[str, str], message: str, tmp_path: Path, refused: Refused
) -> None:
    refused(write_space(tmp_path / "space.py", [], **fields), "--budget 3", message)
