"""What the commands print, and the streams and folders with which they are started."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweeping import COMMAND, assert_same_results, compute_here, write_space

from analysis.cli import main as analysis
from lop_sweep.cli import main
from lop_sweep.config import CellConfig
from lop_sweep.console.terminal import PrintableFormatter
from lop_sweep.errors import CommandError, LopSweepError, SpaceError, StoreError, printable, safe_repr, single_line
from lop_sweep.pack import Pack
from lop_sweep.planning.space_file import load_space
from lop_sweep.storage.filesystem import local_path
from lop_sweep.storage.lock import hold_lock
from lop_sweep.storage.records import read_json, write_json
from lop_sweep.storage.store import Store

ANALYSIS = [sys.executable, "-m", "analysis"]
NOISE = "\x1b[2J\x1b]0;title\x07\x9b31m\x7f\u202e\u2028\r\n"
"""Clear the screen, set the title, colour (C1), delete, reverse text, and end the line in three ways."""
NOT_TEXT = os.fsdecode(b"not-text\xff")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a sweep directory with two finished cells."""
    cells = [CellConfig(seed=s, width=4, depth=1, samples=8, steps=2, tasks=2, fresh_baseline=1) for s in (1, 2)]
    return compute_here(cells, tmp_path_factory.mktemp("swept") / "out")


def run(
    command: list[str], redirect: str = "", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell does, with a redirection."""
    shell = ["sh", "-c", f'exec "$@" {redirect}', "sh", *command]
    return subprocess.run(
        shell, capture_output=True, text=True, errors="surrogateescape", cwd=cwd, env={**os.environ, **environment},
        timeout=120,
    )  # fmt: skip


def status_of(command: list[str], tool: str = "lop-sweep") -> int | str | None:
    """Run a command in this process and return its exit status."""
    try:
        return {"lop-sweep": main, "lop-analysis": analysis}[tool](command)
    except SystemExit as exit_:
        return exit_.code


def assert_one_line(text: str, saying: str) -> None:
    assert saying in text
    assert text.endswith("\n")
    assert_clean(text)
    assert len(text.splitlines()) == 1


def assert_clean(text: str) -> None:
    """Assert that a text has no control, formatting or unassigned character except line ends."""
    assert {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} <= {"\n"}


# Streams


@pytest.mark.parametrize(
    ("command", "redirect", "reason"),
    [
        ([*COMMAND, "status", "{out}"], ">/dev/full", "[Errno 28] No space left on device"),
        ([*COMMAND, "status", "{out}", "--json"], ">&-", "[Errno 9] Bad file descriptor"),
        ([*COMMAND, "sweep", "demo", "--out", "new"], ">&-", "[Errno 9] Bad file descriptor"),
        ([*COMMAND, "run", "--out", "new"], ">&-", "[Errno 9] Bad file descriptor"),
        ([*ANALYSIS, "map", "--help"], ">/dev/full", "[Errno 28] No space left on device"),
    ],
)
def test_unwritable_output_gives_one_line(
    swept: Store, tmp_path: Path, command: list[str], redirect: str, reason: str
) -> None:
    result = run([word.format(out=swept.root) for word in command], redirect, tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert_one_line(result.stderr, f"standard output cannot be written: {reason}; send it to a file or to /dev/null")
    assert list(tmp_path.iterdir()) == [], "what takes long is not begun"


def test_unwritable_unbuffered_output_gives_one_line(swept: Store) -> None:
    result = run([*COMMAND, "status", str(swept.root)], ">/dev/full", PYTHONUNBUFFERED="1")
    assert result.returncode == 2
    assert_one_line(result.stderr, "standard output cannot be written")


def test_a_closed_pipe_is_not_an_error(swept: Store) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*COMMAND, "status", str(swept.root)]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", "<&- >&- 2>&-"])
def test_unwritable_errors_change_no_exit_status(tmp_path: Path, redirect: str) -> None:
    result = run([*COMMAND, "status", "nowhere"], redirect, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", "")


WRITER = """
import os, sys
from lop_sweep.console.stdio import ensure_standard_streams
ensure_standard_streams()
import logging, warnings
from tqdm import tqdm
from lop_sweep.console.terminal import log_to_stderr
file = open("results", "wb")
assert file.fileno() > 2, file.fileno()
log_to_stderr(logging.INFO)
for _ in tqdm(range(3), mininterval=0):
    logging.getLogger("lop_sweep").warning("a message")
warnings.warn("a warning" + chr(27) + "[2J")
print("a complaint", file=sys.stderr)
try:
    os.write(2, b"a library's message")
except OSError as error:
    assert error.errno == 28
assert sys.stdin is not None
child = "import os; [os.fstat(descriptor) for descriptor in (0, 1, 2)]"
import subprocess
subprocess.run([sys.executable, "-c", child], check=True)
file.write(b"a result")
"""


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", "<&- >&- 2>&-", "2>noise"])
def test_nothing_but_results_is_in_a_results_file(tmp_path: Path, redirect: str) -> None:
    result = run([sys.executable, "-c", WRITER], redirect, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "results").read_bytes() == b"a result"
    if redirect == "2>noise":
        noise = (tmp_path / "noise").read_text()
        assert noise.count("a message\n") == 3
        assert "a warning\\x1b[2J" in noise
        assert "a complaint\na library's message" in noise


@pytest.mark.long
@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_a_sweep_needs_no_standard_error(tmp_path: Path, redirect: str) -> None:
    fields = {"width": 6, "depth": 1, "samples": 8, "steps": 4, "tasks": 5, "fresh_baseline": 1}
    space = write_space(tmp_path / "space.py", ["seed"], seed="tune.grid_search([1, 2])", **fields)
    result = run([*COMMAND, "sweep", str(space), "--out", "out"], redirect, tmp_path)
    assert result.returncode == 0
    assert "2 of 2 cells finished" in result.stdout
    compute_here([CellConfig(seed=seed, **fields) for seed in (1, 2)], tmp_path / "expected")
    assert_same_results(tmp_path / "out", tmp_path / "expected")


# Folders and names


@pytest.mark.parametrize(
    "command",
    [
        [*COMMAND, "status", "{out}"],
        [*COMMAND, "sweep", "demo", "--out", "{out}"],
        [*ANALYSIS, "scores", "{out}", "--out", "{out}/scores.csv"],
    ],
)
def test_a_missing_working_directory_is_reported(swept: Store, tmp_path: Path, command: list[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = ["sh", "-c", 'rmdir ../gone && exec "$@"', "sh", *(word.format(out=swept.root) for word in command)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(shell, capture_output=True, text=True, cwd=gone, env=environment, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert_one_line(result.stderr, "the working directory no longer exists")


def test_relative_paths_need_a_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(StoreError, match="out': the working directory does not exist"):
        local_path("out")
    assert local_path(tmp_path) == tmp_path


@pytest.mark.parametrize(
    ("tool", "command"),
    [
        ("lop-sweep", ["status", NOT_TEXT]),
        ("lop-sweep", ["audit", NOT_TEXT]),
        ("lop-sweep", ["compact", NOT_TEXT]),
        ("lop-sweep", ["run", "--out", NOT_TEXT, "--tasks", "1", "--steps", "1", "--fresh-baseline", "0"]),
        ("lop-sweep", ["sweep", "demo", "--out", NOT_TEXT]),
        ("lop-sweep", ["sweep", f"{NOT_TEXT}.py", "--out", "new"]),
        ("lop-analysis", ["scores", NOT_TEXT, "--out", "scores.csv"]),
        ("lop-analysis", ["scores", "{out}", "--out", f"{NOT_TEXT}.csv"]),
        ("lop-analysis", ["map", "{out}", "--x", "lr", "--y", "depth", "--out", f"{NOT_TEXT}.png"]),
        ("lop-analysis", ["report", "{out}", "--out", f"{NOT_TEXT}.html"]),
        ("lop-analysis", ["plots", "{out}", "--cell", "", "--out", NOT_TEXT]),
    ],
)
def test_names_that_are_not_text_are_refused(
    swept: Store, tool: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{NOT_TEXT}.py").write_text("param_space = {'lr': 0.1}")
    before = set(os.listdir(tmp_path))
    assert status_of([word.format(out=swept.root) for word in command], tool) == 2
    assert_one_line(capsys.readouterr().err, "not-text\\udcff")
    assert set(os.listdir(tmp_path)) == before


def test_a_sweep_from_a_folder_whose_name_is_not_text_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / NOT_TEXT
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert status_of(["sweep", "demo", "--out", str(tmp_path / "out")]) == 2
    assert_one_line(capsys.readouterr().err, "is not valid UTF-8")


@pytest.mark.parametrize("name", [NOT_TEXT, "nul\0l"])
def test_names_that_are_not_text_are_refused_in_python(name: str) -> None:
    with pytest.raises(StoreError, match="is not valid UTF-8"):
        Store(name)
    with pytest.raises(SpaceError, match="is not valid UTF-8"):
        load_space(name)


# Escapes


@pytest.mark.parametrize("tool", ["lop-sweep", "lop-analysis"])
@pytest.mark.parametrize("command", [["--what" + NOISE], ["dance" + NOISE], []])
def test_arguments_are_shown_on_one_line(tool: str, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    wanted = {"lop-sweep": ["status", "."], "lop-analysis": ["scores", ".", "--out", "x.csv"]}[tool]
    assert status_of([*wanted, f"a\nb{NOISE}", *command], tool) == 2
    said = capsys.readouterr()
    assert_one_line(
        said.err, "unrecognized arguments: a\\nb\\x1b[2J\\x1b]0;title\\x07\\x9b31m\\x7f\\u202e\\u2028\\r\\n"
    )
    assert said.out == ""


@pytest.mark.parametrize(
    ("tool", "command"),
    [
        ("lop-sweep", ["dance" + NOISE]),
        ("lop-sweep", ["status", "no" + NOISE]),
        ("lop-sweep", ["run", "--lr", "x" + NOISE]),
        ("lop-sweep", ["sweep", "no" + NOISE, "--out", "new"]),
        ("lop-sweep", ["sweep", "demo", "--out", "new", "--dtype", NOISE]),
        ("lop-analysis", ["map", "{out}", "--x", "lr" + NOISE, "--y", "depth"]),
        ("lop-analysis", ["map", "{out}", "--x", "lr", "--y", "depth", "--where", NOISE]),
        ("lop-analysis", ["scores", "{out}", "--out", f"no{NOISE}/x.csv"]),
    ],
)
def test_error_messages_hold_no_escapes(
    swept: Store, tool: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert status_of([word.format(out=swept.root) for word in command], tool) == 2
    assert_one_line(capsys.readouterr().err, "x1b[2J")


def test_records_are_shown_without_escapes(swept: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure, the driver's host and activity, and a damaged record with escapes in its name."""
    monkeypatch.setattr("lop_sweep.storage.lock.BEAT_SECONDS", 600)  # a heartbeat would replace the made-up host
    store = Store(tmp_path / "out")
    store.create()
    store.write_sweep(read_json(swept.root / "sweep.json"))
    missing = CellConfig(seed=9)
    store.failures.record(Pack((missing,)), f"Error: {NOISE}", NOISE, 4)
    (record,) = store.failures.folder.iterdir()
    content = {**read_json(record), "cells": [NOISE, missing.id], "pack": NOISE}
    write_json(store.failures.folder / f"pack{NOISE}.json", content)
    (store.failures.folder / f"bad{NOISE}.json").write_text("{")
    with hold_lock(store.driver, lambda: {"cells": 2, "done": 1.0}):
        (lock,) = store.driver.glob("*.json")
        content = read_json(lock)
        content["process"]["host"] = f"host{NOISE}"
        write_json(lock, {**content, "activity": {"cells": NOISE, NOISE: NOISE}})
        result = run([*COMMAND, "status", str(store.root)])
    assert result.returncode == 0
    assert "Error: \\x1b[2J\\x1b]0;title\\x07" in result.stdout
    assert "pack pack\\x1b[2J" in result.stdout
    assert "host\\x1b[2J" in result.stdout
    assert_clean(result.stdout)
    assert_one_line(result.stderr, "bad\\x1b[2J")


def test_findings_are_shown_without_escapes(swept: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path / "out")
    store.create()
    store.write_sweep(read_json(swept.root / "sweep.json"))
    for folder in ("cells", "tasks"):
        (store.root / folder / f"no{NOISE}.parquet").write_bytes(b"PAR1 not really")
    for command in ("audit", "status"):
        assert status_of([command, str(store.root)]) != 0
        said = capsys.readouterr()
        assert "no\\x1b[2J" in said.out + said.err
        assert_clean(said.out + said.err)


def test_json_holds_no_escapes(swept: Store, capsys: pytest.CaptureFixture[str]) -> None:
    swept.failures.record(Pack((CellConfig(seed=9),)), NOISE, NOISE, 4)
    try:
        assert main(["status", str(swept.root), "--json"]) == 0
    finally:
        swept.failures.discard_finished([CellConfig(seed=9).id])
    text = capsys.readouterr().out
    assert json.loads(text)["failures"][0]["reason"] == NOISE
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text


def test_a_title_with_escapes_is_escaped(swept: Store, tmp_path: Path) -> None:
    sweep = tmp_path / "out"
    store = Store(sweep)
    store.create()
    for folder in ("cells", "tasks"):
        for file in (swept.root / folder).iterdir():
            (sweep / folder / file.name).write_bytes(file.read_bytes())
    store.write_sweep({**read_json(swept.root / "sweep.json"), "space": f"space{NOISE}\udcff"})
    out = ["--out", str(tmp_path / "map.png")]
    result = run([*ANALYSIS, "map", str(sweep), "--x", "lr", "--y", "depth", *out])
    assert result.returncode == 0, result.stderr
    assert_clean(result.stderr)
    assert status_of(["report", str(sweep), "--out", str(tmp_path / "report.html")], "lop-analysis") == 0
    assert "<title>Loss of plasticity: space\\x1b[2J" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_messages_in_the_log_are_printable() -> None:
    formatter = PrintableFormatter("%(message)s")

    def logged(name: str, error: BaseException | None = None) -> str:
        information = (type(error), error, None) if error else None
        return formatter.format(logging.LogRecord(name, 30, "", 0, "a\nb%s", (NOISE,), information))

    ours, theirs, failed = logged("lop_sweep.storage.store"), logged("other"), logged("lop_sweep", ValueError(NOISE))
    for text in (ours, theirs, failed):
        assert_clean(text)
    assert ours == "a\\nb\\x1b[2J\\x1b]0;title\\x07\\x9b31m\\x7f\\u202e\\u2028\\r\\n"
    assert theirs.startswith("a\nb\\x1b[2J"), "other libraries' messages may have several lines"
    assert "\nValueError: \\x1b[2J" in failed


@given(st.text())
def test_printable_is_clean_and_idempotent(text: str) -> None:
    assert_clean(printable(text))
    assert "\n" not in printable(text)
    assert printable(printable(text)) == printable(text)
    assert_clean(single_line(LopSweepError(text)))


@pytest.mark.parametrize(
    "text", ["", "naïve", "東京\u3000x", "a\u00a0b", "10 \u00d7 2 \u2013 3", "back\\slash", "e\u0301", "\U0001f600"]
)
def test_printable_text_is_unchanged(text: str) -> None:
    assert printable(text) == text


def test_values_are_shown_without_escapes() -> None:
    class Odd:
        def __repr__(self) -> str:
            return f"odd{NOISE}\nvalue"

    assert_clean(safe_repr(Odd()))
    assert "\n" not in safe_repr(Odd())
    assert single_line(CommandError("a\n b")) == "a b"
