"""The sweep directory: what a sweep asked for, what is finished, and who is at work on what.

    DIR/sweep.json               what was asked for, how and when
    DIR/tasks/<pack>.parquet     rows of a finished pack, see `lop_sweep.schema`
    DIR/cells/<pack>.parquet     its cells; written after its tasks, so it is the commit
    DIR/running/<pack>.json      a sign of life from the worker of an unfinished pack
    DIR/tune/                    Ray Tune's own state and logs; nothing here depends on it

Every file is written whole under a temporary name and renamed, so a reader never sees half of one. Nothing that is read
here can execute code: the formats are Parquet and JSON.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lop_sweep.errors import StoreError, named, one_line
from lop_sweep.schema import CELLS, SCHEMA_VERSION, PackResult, cells_table, check_version, tasks_table

_SILENCE_SECONDS = 600.0
"""After so long without a sign of life, a worker on another host is taken for dead."""

_SWEEP_KEYS = ("space", "dtype", "created", "common", "fields", "rows")
"""What `sweep.json` holds at least."""


@dataclass(frozen=True)
class SignOfLife:
    """What a worker last said about its pack."""

    pack: str
    cells: tuple[str, ...]
    tasks_done: int
    host: str
    pid: int
    time: float

    def alive(self) -> bool:
        """Whether the worker still runs, as far as can be told from here."""
        if self.host == platform.node():
            return _process_exists(self.pid)
        return time.time() - self.time < _SILENCE_SECONDS


class Store:
    """A sweep directory. Making one touches nothing; `create` makes the folders.

    Args:
        root: the directory.

    Raises:
        StoreError: `root` is empty or a URI.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = local_path(root)
        self.tasks, self.cells, self.running = self.root / "tasks", self.root / "cells", self.root / "running"

    def create(self) -> None:
        """Make the folders and see that they can be written to.

        Raises:
            StoreError: they cannot.
        """
        for folder in (self.root, self.tasks, self.cells, self.running):
            writable_folder(folder)

    def check(self) -> None:
        """Refuse a directory that is not a sweep directory.

        Raises:
            StoreError: there is no such directory, or no sweep has been started in it.
        """
        with reading(self.root):
            is_directory, is_sweep = self.root.is_dir(), (self.root / "sweep.json").is_file()
        if not is_directory:
            raise StoreError(f"{self.root}: is no directory; give the --out directory of a sweep")
        if not is_sweep:
            raise StoreError(f"{self.root}: holds no sweep.json; give the --out directory of a sweep")

    def write_sweep(self, description: dict[str, Any]) -> None:
        """Write `sweep.json`.

        Raises:
            StoreError: it cannot be written.
        """
        text = json.dumps({"schema_version": SCHEMA_VERSION, **description}, indent=1)
        with writing(self.root):
            _write(self.root / "sweep.json", text.encode() + b"\n")

    def read_sweep(self) -> dict[str, Any] | None:
        """The content of `sweep.json`, or None where there is none yet.

        Raises:
            StoreError: it is damaged or was written by another version of the schema.
        """
        path = self.root / "sweep.json"
        with reading(path):
            if not path.exists():
                return None
            content = json.loads(path.read_text())
        if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
            raise StoreError(f"{path}: is not a sweep of schema version {SCHEMA_VERSION}, which this lop-sweep reads")
        lacking = [key for key in _SWEEP_KEYS if key not in content]
        if lacking:
            raise StoreError(f"{path}: is damaged, it lacks {named(lacking)}; run the sweep again to write it anew")
        return content

    def commit(self, result: PackResult) -> None:
        """Write a finished pack's tasks, then its cells, then take back its sign of life.

        Raises:
            StoreError: a file cannot be written.
        """
        tasks, cells = tasks_table(result), cells_table(result)
        with writing(self.root):
            _write_parquet(self.tasks / f"{result.pack}.parquet", tasks)
            _write_parquet(self.cells / f"{result.pack}.parquet", cells)
            (self.running / f"{result.pack}.json").unlink(missing_ok=True)

    def committed(self) -> list[str]:
        """The ids of all finished packs, sorted: those whose cells file exists.

        Raises:
            StoreError: the folder cannot be read.
        """
        return _stems(self.cells, ".parquet")

    def remove_orphans(self) -> list[str]:
        """Remove the tasks files of workers that died before they could write the cells file; returns the packs' ids.

        The order of the three looks makes this safe beside workers that are just finishing: a tasks file that is there
        at the first look has either a living worker at the second, or its cells file at the third.

        Raises:
            StoreError: a folder cannot be read, or a file cannot be removed.
        """
        candidates = set(_stems(self.tasks, ".parquet"))
        at_work = {sign.pack for sign in self.signs_of_life() if sign.alive()}
        orphans = sorted(candidates - at_work - set(self.committed()))
        with writing(self.tasks):
            for pack in orphans:
                (self.tasks / f"{pack}.parquet").unlink(missing_ok=True)
        return orphans

    def read_cells(self, columns: list[str] | None = None) -> pa.Table:
        """The cells of all finished packs, in the schema `CELLS`.

        Raises:
            StoreError: a file is damaged or was written by another version of the schema.
        """
        return read_tables([self.cells / f"{pack}.parquet" for pack in self.committed()], CELLS, columns)

    def sign_of_life(self, pack: str, cells: list[str], tasks_done: int) -> None:
        """Say that this process works on a pack and how far it is.

        Raises:
            StoreError: it cannot be written.
        """
        content = {
            "pack": pack, "cells": cells, "tasks_done": tasks_done,
            "host": platform.node(), "pid": os.getpid(), "time": time.time(),
        }  # fmt: skip
        with writing(self.root):
            _write(self.running / f"{pack}.json", json.dumps(content).encode())

    def signs_of_life(self) -> list[SignOfLife]:
        """What the workers of all unfinished packs last said, whether they still live or not.

        Raises:
            StoreError: a file is damaged.
        """
        signs = []
        for pack in _stems(self.running, ".json"):
            path = self.running / f"{pack}.json"
            with reading(path):
                try:
                    content = json.loads(path.read_text())
                except FileNotFoundError:  # committed since the folder was listed
                    continue
                signs.append(
                    SignOfLife(
                        pack=pack,
                        cells=tuple(content["cells"]),
                        tasks_done=int(content["tasks_done"]),
                        host=str(content["host"]),
                        pid=int(content["pid"]),
                        time=float(content["time"]),
                    )
                )
        return signs


def read_tables(paths: list[Path], schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Parquet files of one schema as one table; an empty one where there are no files.

    Args:
        paths: the files.
        schema: the schema that each must have.
        columns: which columns; None for all.

    Raises:
        StoreError: a file is damaged, or of another schema version.
    """
    empty = schema.empty_table().select(columns) if columns is not None else schema.empty_table()
    tables = [empty]
    for path in paths:
        with reading(path):
            file = pq.ParquetFile(path)
            check_version(file.schema_arrow, path)
            tables.append(file.read(columns=columns).cast(empty.schema))
    return pa.concat_tables(tables)


def _stems(folder: Path, ending: str) -> list[str]:
    """The names, without `ending`, of a folder's visible files that have it, sorted; none if there is no folder."""
    with reading(folder):
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return []
    return sorted(name.removesuffix(ending) for name in names if name.endswith(ending) and not name.startswith("."))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong when `path` is read, damage included, into a one-line `StoreError`."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as error:
        raise StoreError(f"{path}: cannot be read: {one_line(error)}") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong when `path` is written into a one-line `StoreError`."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path}: cannot be written: {one_line(error)}") from error


def local_path(path: str | Path) -> Path:
    """`path` as an absolute path.

    Raises:
        StoreError: it is empty or a URI.
    """
    if not str(path) or "://" in str(path):
        raise StoreError(f"{str(path)!r} is no directory on this machine's file systems; give a path")
    return Path(path).absolute()


def writable_folder(path: str | Path) -> Path:
    """Make a folder, if need be, and see that it can be written to.

    Raises:
        StoreError: it cannot.
    """
    folder = local_path(path)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable.{platform.node()}.{os.getpid()}"
        probe.touch()
        probe.unlink()
    return folder


def _write(path: Path, content: bytes) -> None:
    with _replacing(path) as temporary:
        temporary.write_bytes(content)


def _write_parquet(path: Path, table: pa.Table) -> None:
    with _replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, hidden from Parquet readers, that takes its place when all went well."""
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
