"""Files that another version or another sweep has written are refused or reported, and never touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from four_cells import BASE, GRID, SPACE
from sweeping import assert_same_results, compute_here

import lop_sweep
from analysis import load_cells, load_tasks
from analysis.cli import main as analyse
from lop_sweep.cli import main
from lop_sweep.config import CellConfig
from lop_sweep.errors import LopSweepError, SchemaVersionError
from lop_sweep.pack import Pack
from lop_sweep.planning.space import SearchSpace
from lop_sweep.storage.maintenance.audit import audit, repair
from lop_sweep.storage.maintenance.compaction import compact
from lop_sweep.storage.manifest import describe_space, requested_cells
from lop_sweep.storage.pack_state import PackState
from lop_sweep.storage.parquet import file_info, packs_of, read_table, with_origin, write_table
from lop_sweep.storage.records import read_json, write_json
from lop_sweep.storage.schema import CELLS, TASKS, VERSION_KEY, WRITER_KEY
from lop_sweep.storage.store import Store
from lop_sweep.tune.driver import run_sweep
from lop_sweep.tune.trainable import LopTrainable
from lop_sweep.tune.worker import PackRun

NAMED = "version 2, this lop-sweep reads version 1; it was written by lop-sweep 9.9, this is .*: use lop-sweep 9.9"


def content_of(root: Path) -> dict[str, bytes]:
    """Return the content of every file but those of locks, which every writing command takes."""
    paths = (path for path in root.rglob("*") if path.is_file())
    found = {str(path.relative_to(root)): path.read_bytes() for path in paths}
    return {name: content for name, content in found.items() if not name.startswith(("driver/", "maintenance/"))}


def findings(store: Store) -> list[str]:
    return [str(finding) for finding in audit(store).findings]


def computed(cells: Sequence[CellConfig], out: Path, dtype: str = "float64") -> Store:
    """Compute a sweep of one pack, with a `sweep.json`, as a user's own Tuner leaves it."""
    store = Store(out)
    store.create()
    store.write_sweep({"dtype": dtype, "created": "today", **describe_space(SearchSpace(cells=cells, pack=("seed",)))})
    run = PackRun(Pack(tuple(cells)), dtype, store=store)
    run.run_tasks(cells[0].tasks)
    run.finish()
    return store


def add(store: Store, other: Store) -> str:
    """Copy the only segment of another sweep into this one; return its name."""
    (name,) = other.committed()
    for folder in ("tasks", "cells"):
        shutil.copy(other.file(folder, name), store.file(folder, name))
    return name


def change(store: Store, name: str, folder: str, origin: str | None, version: str | None = None) -> None:
    """Write a file anew, with another origin or none, as computed by another version of lop-sweep."""
    path = store.file(folder, name)
    table = read_table(path, TASKS if folder == "tasks" else CELLS)
    if version is not None and folder == "cells":
        index = table.schema.get_field_index("lop_sweep_version")
        column = pa.array([version] * len(table), pa.string())
        table = table.set_column(index, table.schema.field(index), column)
    write_table(path, with_origin(table, origin), packs_of(path))


# Another version of the schema


def to_schema_2(path: Path) -> bytes:
    """Give a Parquet file a later schema version; return its content."""
    table = pq.read_table(path)
    metadata = {**(table.schema.metadata or {}), VERSION_KEY: b"2", WRITER_KEY: b"9.9"}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path.read_bytes()


def to_format_2(path: Path) -> bytes:
    first, header, rest = path.read_bytes().split(b"\n", 2)
    changed = json.dumps({**json.loads(header), "lop_sweep_version": "9.9"}).encode()
    path.write_bytes(b"\n".join([first.replace(b"state 1", b"state 2"), changed, rest]))
    return path.read_bytes()


COMMANDS: list[Callable[[Store, Path], object]] = [
    lambda store, out: run_sweep(SPACE, store.root),
    lambda store, out: main(["status", str(store.root)]),
    lambda store, out: main(["audit", str(store.root)]),
    lambda store, out: main(["audit", str(store.root), "--repair"]),
    lambda store, out: main(["compact", str(store.root)]),
    lambda store, out: analyse(["scores", str(store.root), "--out", str(out / "scores.csv")]),
    lambda store, out: store.create(),
    lambda store, out: store.write_sweep(store.read_sweep() or {}),
    lambda store, out: LopTrainable({**BASE.model_dump(), "run": {"store": str(store.root)}}),
]


@pytest.mark.parametrize("checksummed", [True, False])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_newer_sweep_json_is_named_and_never_written_anew(
    copy: Store, capsys: pytest.CaptureFixture[str], checksummed: bool, command: Callable[[Store, Path], object]
) -> None:
    path = copy.root / "sweep.json"
    content = {**read_json(path), "schema_version": 3, "lop_sweep_version": "9.9", "new": [1]}
    write_json(path, content)
    if not checksummed:
        path.write_text(json.dumps({**content, "checksum": "computed otherwise"}))
    shutil.rmtree(copy.root / "driver")
    shutil.rmtree(copy.checkpoints.running)
    before = content_of(copy.root)
    try:
        assert command(copy, copy.root.parent) == 2
        said = capsys.readouterr().err
    except SchemaVersionError as error:
        said = f"{error}\n"
    assert said.count("\n") == 1
    assert "sweep.json: has schema version 3, this lop-sweep reads version 2" in said
    assert "written by lop-sweep 9.9" in said
    assert "use lop-sweep 9.9" in said
    assert content_of(copy.root) == before
    assert not (copy.root / "driver").exists()


def test_a_newer_file_without_its_writers_version_is_refused(copy: Store) -> None:
    path = copy.root / "sweep.json"
    for writer in (None, lop_sweep.__version__, "9\n9", ["9.9"], 9.9):
        write_json(path, {**read_json(path), "schema_version": 3, "lop_sweep_version": writer})
        with pytest.raises(SchemaVersionError, match="use the version that wrote it") as raised:
            copy.check()
        assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("folder", ["tasks", "cells"])
def test_a_newer_result_file_is_named_and_stays_where_it_is(copy: Store, folder: str) -> None:
    name = copy.committed()[0]
    content = to_schema_2(copy.file(folder, name))
    report = audit(copy)
    assert [(finding.where, finding.remove) for finding in report.findings] == [(f"{folder}/{name}.parquet", ())]
    assert report.notes == ["2 of 4 cells are not there, or are in the files of another version of lop-sweep"]
    before = content_of(copy.root)
    assert repair(copy)[1] == []
    with pytest.raises(SchemaVersionError, match=NAMED):
        compact(copy)
    with pytest.raises(SchemaVersionError, match=NAMED):
        (load_tasks if folder == "tasks" else load_cells)(copy.root)
    if folder == "cells":
        with pytest.raises(SchemaVersionError, match=NAMED) as raised:
            run_sweep(SPACE, copy.root)
        assert "--repair" not in str(raised.value)
        assert main(["status", str(copy.root)]) == 2
    assert content_of(copy.root) == before
    assert copy.file(folder, name).read_bytes() == content


def test_a_newer_file_beside_a_damaged_one_is_not_moved(copy: Store) -> None:
    name = copy.committed()[0]
    to_schema_2(copy.file("cells", name))
    copy.file("tasks", name).write_bytes(b"")
    repair(copy)
    assert copy.file("cells", name).exists()


def test_a_newer_tasks_file_without_its_cells_file_stays(copy: Store) -> None:
    name = copy.committed()[0]
    content = to_schema_2(copy.file("tasks", name))
    copy.file("cells", name).unlink()
    for use in (copy.collect_garbage, lambda: run_sweep(SPACE, copy.root), lambda: compact(copy), lambda: compute_here(
        [cell for cell in GRID if cell.id not in set(copy.read_cells(["cell"])["cell"].to_pylist())], copy.root
    )):  # fmt: skip
        with pytest.raises(SchemaVersionError, match=NAMED):
            use()
    assert repair(copy)[1] == []
    assert copy.file("tasks", name).read_bytes() == content


def test_a_newer_merged_file_is_refused(copy: Store) -> None:
    compact(copy)
    (merged,) = copy.cells.iterdir()
    to_schema_2(merged)
    for use in (copy.segments, copy.collect_garbage, lambda: run_sweep(SPACE, copy.root)):
        with pytest.raises(SchemaVersionError, match=NAMED):
            use()
    assert repair(copy)[1] == []


def test_a_newer_saved_state_is_named_and_stays_where_it_is(copy: Store) -> None:
    kept = sorted(copy.checkpoints.states.iterdir())[0]
    pack = PackState.load(kept).pack
    running = copy.checkpoints.running / kept.name
    shutil.copy(kept, running)
    contents = {path: to_format_2(path) for path in (kept, running)}
    unfinished = copy.checkpoints
    state = PackState.load(sorted(unfinished.states.iterdir())[1])
    newer = PackState(pack, state.experiment, state.history, state.numerics)
    for use in (
        lambda: unfinished.find_start(pack),
        unfinished.start_points,
        unfinished.so_far,
        lambda: unfinished.discard_finished([]),
        lambda: PackRun(pack, store=copy),
        lambda: unfinished.save(newer),
        lambda: unfinished.keep(newer),
        lambda: run_sweep(SPACE, copy.root),
        lambda: load_cells(copy.root, unfinished=True),
    ):
        with pytest.raises(SchemaVersionError, match=f"state {NAMED}"):
            use()
    found = [(finding.where, finding.remove) for finding in audit(copy).findings]
    assert found == [(f"running/{kept.name}", ()), (f"states/{kept.name}", ())]
    assert repair(copy)[1] == []
    running.unlink()
    with pytest.raises(SchemaVersionError, match=f"state {NAMED}"):  # nothing runs over the kept one either
        PackRun(pack, store=copy)
    assert kept.read_bytes() == contents[kept]


def test_a_checkpoint_names_the_version_that_wrote_it(whole: Store) -> None:
    """So that a lop-sweep that cannot read it can name that version."""
    header = json.loads(next(whole.checkpoints.states.iterdir()).read_bytes().split(b"\n")[1])
    assert header["lop_sweep_version"] == lop_sweep.__version__


def test_all_files_name_the_version_and_the_origin(whole: Store) -> None:
    content = whole.read_sweep() or {}
    assert content["lop_sweep_version"] == lop_sweep.__version__
    for folder in ("tasks", "cells"):
        for name in whole.committed():
            metadata = pq.read_metadata(whole.file(folder, name)).metadata
            assert metadata[WRITER_KEY].decode() == lop_sweep.__version__
            assert metadata[b"lop_sweep_origin"].decode() == content["origin"]


def test_a_damaged_version_in_a_result_file_is_damage(copy: Store) -> None:
    """Such a file is set aside and computed again: a file of another version would name it twice."""
    path = copy.file("cells", copy.committed()[0])
    content = path.read_bytes()
    framed = VERSION_KEY + b"\x18\x01"
    assert content.count(framed + b"1") == 1
    path.write_bytes(content.replace(framed + b"1", framed + b"3"))
    found = [finding for finding in audit(copy).findings if finding.remove]
    assert "its checksum does not fit" in str(found[0])


@pytest.mark.parametrize("guilty", ["tasks", "cells"])
def test_only_the_damaged_file_of_a_pair_is_blamed(copy: Store, guilty: str) -> None:
    name = copy.committed()[0]
    path = copy.file(guilty, name)
    path.write_bytes(path.read_bytes()[:-20])
    found = [finding for finding in audit(copy).findings if finding.remove]
    assert [finding.where for finding in found] == [f"{guilty}/{name}.parquet"]
    assert set(found[0].remove) == {copy.file("tasks", name), copy.file("cells", name)}


# Another sweep


def test_results_in_another_dtype_than_asked_for_are_found(copy: Store, whole: Store, tmp_path: Path) -> None:
    """Even if they are those of all cells, in the same packs."""
    for number in (0, 1):
        add(copy, computed(GRID[2 * number : 2 * number + 2], tmp_path / str(number), "float32"))
    found = [finding for finding in audit(copy).findings if finding.remove]
    assert [finding.what for finding in found] == ["holds cells in float32, the sweep is in float64"] * 2
    assert len(repair(copy)[1]) == 4
    compute_here(GRID, copy.root)
    assert findings(copy) == []
    assert_same_results(copy.root, whole.root)


def test_valid_pairs_of_another_sweep_are_found(copy: Store, whole: Store, tmp_path: Path) -> None:
    other = computed([BASE.replace(seed=7), BASE.replace(seed=8)], tmp_path / "other")
    name = add(copy, other)
    (found,) = audit(copy).findings
    origin = (other.read_sweep() or {})["origin"]
    assert found.what.startswith(f"holds 2 cells that nothing asked for, computed by another sweep (origin {origin}")
    assert {path.stem for path in repair(copy)[1]} == {name}
    assert findings(copy) == []
    assert_same_results(copy.root, whole.root)


def test_what_an_earlier_and_larger_request_left_is_worth_a_note(copy: Store) -> None:
    compute_here(GRID[:2], copy.root)
    report = audit(copy)
    assert report.findings == []
    assert report.notes == ["2 cells were asked for by earlier requests, not by the last one"]


def test_cells_that_another_sweep_computed_are_noted(copy: Store, tmp_path: Path) -> None:
    add(copy, computed(GRID[:2], tmp_path / "other"))
    report = audit(copy)
    assert report.findings == []
    assert report.notes == ["2 cells that were asked for were computed by another sweep"]


def test_of_two_files_with_the_same_cells_the_foreign_one_goes(copy: Store, tmp_path: Path) -> None:
    name = add(copy, computed(GRID[:3], tmp_path / "other"))
    (found,) = audit(copy).findings
    assert "2 of its cells are in another file" in found.what or "3 of its cells are in another file" in found.what
    assert {path.stem for path in found.remove} == {name}


@pytest.mark.parametrize("known", [True, False])
def test_without_an_origin_the_version_tells_sweeps_apart(copy: Store, tmp_path: Path, known: bool) -> None:
    """As for files of earlier builds. `sweep.json` lists the versions that have worked on the directory."""
    name = add(copy, computed([BASE.replace(seed=7)], tmp_path / "other"))
    for folder in ("tasks", "cells"):
        change(copy, name, folder, None, "0.0.9")
    if known:
        content = {key: value for key, value in read_json(copy.root / "sweep.json").items() if key != "origin"}
        write_json(copy.root / "sweep.json", {**content, "lop_sweep_version": "0.0.9"})
        copy.write_sweep({key: value for key, value in content.items() if not key.startswith("lop_sweep_version")})
        assert findings(copy) == []
        assert audit(copy).notes == ["1 cells were asked for by earlier requests, not by the last one"]
    else:
        (found,) = audit(copy).findings
        assert found.what == ("holds 1 cells that nothing asked for, computed by lop-sweep 0.0.9, which never ran here")
        assert {path.stem for path in found.remove} == {name}


def test_files_without_an_origin_are_sound(copy: Store) -> None:
    for name in copy.committed():
        for folder in ("tasks", "cells"):
            change(copy, name, folder, None)
    report = audit(copy)
    assert (report.findings, report.notes) == ([], [])


def test_an_origin_is_kept_and_adopted_from_the_results(copy: Store, caplog: pytest.LogCaptureFixture) -> None:
    content = copy.read_sweep() or {}
    path, damaged = copy.root / "sweep.json", b'{"schema_version": 1, "ro'
    assert run_sweep(SPACE, copy.root).status.complete
    assert (copy.read_sweep() or {})["origin"] == content["origin"]
    path.write_bytes(damaged)
    assert run_sweep(SPACE, copy.root).status.complete
    assert (copy.read_sweep() or {})["origin"] == content["origin"]
    assert (copy.root / "aside" / "sweep.json").read_bytes() == damaged
    assert "set aside as" in caplog.text
    path.unlink()
    change(copy, copy.committed()[0], "cells", "0" * 16)  # now they disagree
    assert run_sweep(SPACE, copy.root).status.complete
    assert (copy.read_sweep() or {})["origin"] not in (content["origin"], "0" * 16)


def test_files_of_different_origins_are_not_merged(tmp_path: Path) -> None:
    store = compute_here([BASE.replace(seed=seed) for seed in range(6)], tmp_path / "out", pack=())
    names = store.committed()
    for origin, name in zip(("a" * 16, "a" * 16, None, None, "b" * 16), names, strict=False):
        for folder in ("tasks", "cells"):
            change(store, name, folder, origin)
    change(store, names[5], "tasks", "c" * 16)
    change(store, names[5], "cells", "a" * 16)
    compact(store)
    merged = [segment for segment in store.segments() if segment.name.startswith("merged-")]
    assert {tuple(one.packs): file_info(store.file("cells", one.name)).origin for one in merged} == {
        tuple(sorted(names[:2])): "a" * 16, tuple(sorted(names[2:4])): None,
    }  # fmt: skip
    assert len(store.segments()) == 4


def test_a_pack_is_written_whatever_state_sweep_json_is_in(tmp_path: Path) -> None:
    for number, damage in enumerate((None, b"", b"[]", b'{"schema_version": 1}')):
        store = Store(tmp_path / str(number))
        store.create()
        if damage is not None:
            (store.root / "sweep.json").write_bytes(damage)
        run = PackRun(Pack((BASE,)), store=store)
        run.run_tasks(BASE.tasks)
        assert run.finish()
        (name,) = store.committed()
        assert file_info(store.file("cells", name)).origin is None


def test_another_dtype_after_an_origin_was_lost_is_still_refused(copy: Store) -> None:
    (copy.root / "sweep.json").unlink()
    with pytest.raises(LopSweepError, match=r"holds no sweep\.json"):
        audit(copy)
    copy.write_sweep({"dtype": "float32", "created": "today", **describe_space(SPACE)})
    assert len([finding for finding in audit(copy).findings if "holds cells in float64" in finding.what]) == 2
    assert len(requested_cells(copy.read_sweep() or {})) == 4
