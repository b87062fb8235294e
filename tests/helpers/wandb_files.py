"""Read a W&B run file: records of wandb's own protocol buffers in LevelDB's log format."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_HEADER, _BLOCK = 7, 32768
_FULL, _LAST = 1, 4


@dataclass
class WandbRun:
    """What a run file holds."""

    id: str = ""
    name: str = ""
    group: str = ""
    project: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, float]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


def read_run(path: Path) -> WandbRun:
    run = WandbRun()
    for content in _contents(path.read_bytes()):
        record = Record.FromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.name = record.run.run_id, record.run.display_name
            run.group, run.project = record.run.run_group, record.run.project
            run.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            row = run.history.setdefault(int(values["_step"]), {})
            row |= {name: value for name, value in values.items() if not name.startswith("_")}
        elif kind == "summary":
            run.summary |= {".".join(item.nested_key) or item.key: json.loads(item.value_json)
                            for item in record.summary.update}  # fmt: skip
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _contents(data: bytes) -> Iterator[bytes]:
    """Yield the records of a file: each in fragments of length, kind and content, none across the end of a block."""
    assert data[:4] == b":W&B"
    place, parts = _HEADER, b""
    while place < len(data):
        if _BLOCK - place % _BLOCK < _HEADER:
            place += _BLOCK - place % _BLOCK
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + _HEADER])
        parts += data[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (_FULL, _LAST):
            yield parts
            parts = b""
