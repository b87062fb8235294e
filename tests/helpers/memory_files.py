"""A file system in memory: shows that a sweep directory needs nothing but the interface."""

from __future__ import annotations

import io
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from lop_sweep.registry import register
from lop_sweep.storage.filesystem import DIRECTORY


@register("filesystem", "memory")
class MemoryFileSystem:
    """Files at paths such as `memory:/sweep/sweep.json`."""

    name: str
    beat_seconds = 5.0
    poll_seconds = 0.0

    def __init__(self) -> None:
        self._files: dict[Path, bytes] = {}
        self._folders: set[Path] = set()
        self._lock = Lock()

    def read(self, path: Path) -> bytes:
        try:
            return self._files[path]
        except KeyError:
            raise FileNotFoundError(2, "No such file", str(path)) from None

    def open_file(self, path: Path) -> BinaryIO:
        return io.BytesIO(self.read(path))

    def write(self, path: Path, content: bytes) -> None:
        self._files[path] = content

    def create(self, path: Path, content: bytes) -> bool:
        with self._lock:
            return self._files.setdefault(path, content) is content

    def delete(self, path: Path) -> None:
        self._files.pop(path, None)

    def move(self, path: Path, target: Path) -> None:
        self._files[target] = self.read(path)
        self.delete(path)

    def list_names(self, folder: Path) -> list[str]:
        return [path.name for path in {*self._files, *self._folders} if path.parent == folder]

    def exists(self, path: Path) -> bool:
        return path in self._files or path in self._folders

    def kind(self, path: Path) -> str:
        return DIRECTORY if path in self._folders else ""

    def sizes(self, folder: Path) -> dict[str, int]:
        return {path.name: len(content) for path, content in self._files.items() if path.parent == folder}

    def make_folder(self, folder: Path) -> None:
        self._folders |= {folder, *folder.parents}

    def check_writable(self, folder: Path) -> None:
        if folder not in self._folders:
            raise FileNotFoundError(2, "No such folder", str(folder))

    def identity(self, folder: Path) -> int:
        return 0

    def temporary(self, path: Path) -> Path:
        return path.with_name(f".{path.name}")

    def abandoned(self, folder: Path) -> list[Path]:
        return []
