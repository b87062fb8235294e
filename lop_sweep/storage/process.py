"""Identify a process uniquely, and find out whether it still runs."""

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
    """A unique identification of a process, even if its PID is reused.

    Attributes:
        host: name of its machine, for messages.
        machine: the boot of that machine and its PID namespace. Processes with the same value can see each other.
        pid: its PID in that namespace.
        started: start time, in the machine's clock ticks; empty where that cannot be read.
    """

    host: str
    machine: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> ProcessMark:
        """Return the mark of this process."""
        return cls(host_name(), _machine(), os.getpid(), _state_and_start(os.getpid())[1])

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ProcessMark:
        """Return the mark that `to_json` described.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: `content` does not describe a process.
        """
        pid = int(content["pid"])
        if not 0 < pid < 2**31:
            raise ValueError(f"pid must be between 1 and {2**31 - 1}")
        return cls(str(content["host"]), str(content["machine"]), pid, str(content["started"]))

    @staticmethod
    def exists(pid: int) -> bool:
        """Return whether this machine runs a process with this PID."""
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return _state_and_start(pid)[0] not in ("Z", "X")

    def to_json(self) -> dict[str, Any]:
        """Return the mark as JSON values."""
        return asdict(self)

    def alive(self) -> bool | None:
        """Return whether the process still runs; None if its machine's processes cannot be seen from here."""
        if self.machine != _machine():
            return None
        started = _state_and_start(self.pid)[1]
        return self.exists(self.pid) and (not started or not self.started or started == self.started)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@cache
def host_name() -> str:
    """Return this machine's name, without characters that file names cannot hold."""
    return platform.node().replace("/", "_").replace("~", "_") or "unknown"


@cache
def machine_name() -> str:
    """Return a name, fit for a file's name, that is unique per host, boot and PID namespace."""
    return f"{host_name()}-{digest(_machine())[:8]}"


@cache
def _machine() -> str:
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if not boot.exists() or not namespace.is_symlink():
        return host_name()
    return f"{boot.read_text().strip()} {namespace.readlink()}"


def _state_and_start(pid: int) -> tuple[str, str]:
    """Return a process's state as a letter and its start time in ticks; both empty where they cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], fields[19]
