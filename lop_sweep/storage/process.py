"""Which process something was written by, and whether that process still lives."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lop_sweep.config import digest


@dataclass(frozen=True)
class ProcessMark:
    """A process, told apart from all others, later ones with the same number included.

    Attributes:
        host: name of its machine, for people.
        machine: the boot of that machine and the process-number namespace in it; equal for those that can see each
            other's processes.
        pid: its number there.
        started: when it was started, in the machine's own ticks; empty where that cannot be read.
    """

    host: str
    machine: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> ProcessMark:
        """This process."""
        return cls(host_name(), _machine(), os.getpid(), _state_and_start(os.getpid())[1])

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ProcessMark:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: `content` does not describe a process.
        """
        pid = int(content["pid"])
        if not 0 < pid < 2**31:
            raise ValueError("pid: no process has such a number")
        return cls(str(content["host"]), str(content["machine"]), pid, str(content["started"]))

    @staticmethod
    def exists(pid: int) -> bool:
        """Whether this machine has a process of this number that has not ended."""
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return _state_and_start(pid)[0] not in ("Z", "X")

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def alive(self) -> bool | None:
        """Whether the process still runs; None if it is on a machine whose processes cannot be seen from here."""
        if self.machine != _machine():
            return None
        started = _state_and_start(self.pid)[1]
        return self.exists(self.pid) and (not started or not self.started or started == self.started)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@cache
def host_name() -> str:
    """This machine's name, with nothing in it that a file's name could not hold."""
    return platform.node().replace("/", "_").replace("~", "_") or "unknown"


@cache
def machine_name() -> str:
    """The host's name and what tells its boots and process-number namespaces apart, fit for a file's name."""
    return f"{host_name()}-{digest(_machine())[:8]}"


@cache
def _machine() -> str:
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if not boot.exists() or not namespace.is_symlink():
        return host_name()
    return f"{boot.read_text().strip()} {namespace.readlink()}"


def _state_and_start(pid: int) -> tuple[str, str]:
    """A process's state as a letter, and when it was started, in ticks; both empty where they cannot be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], fields[19]
