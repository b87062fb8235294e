"""The result of an audit: findings, each with the files to remove, and notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lop_sweep.errors import InaccessibleFileError, InaccessibleStateError, LopSweepError, SchemaVersionError, printable


@dataclass(frozen=True)
class Finding:
    """A rule of the sweep directory that a file breaks.

    Attributes:
        where: the file, or the directory, within the sweep directory.
        what: what is wrong with it.
        remove: the files that must be moved away so that the next sweep can repair it; never one that another version
            of lop-sweep wrote.
    """

    where: str
    what: str
    remove: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return printable(f"{self.where}: {self.what}")


@dataclass
class Report:
    """What an audit has found.

    Attributes:
        root: the sweep directory.
        findings: the broken rules.
        notes: what is worth knowing but breaks no rule.
        files, cells, rows: how many were checked.
    """

    root: Path
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: int = 0
    cells: int = 0
    rows: int = 0

    def find(self, path: Path, what: str, remove: Iterable[Path] = ()) -> None:
        """Add a finding.

        Args:
            path: the file, or `root`.
            what: what is wrong with it.
            remove: as in `Finding`.
        """
        where = str(path.relative_to(self.root))
        self.findings.append(Finding(where, what.removeprefix(f"{path}: "), tuple(remove)))

    def add(self, other: Report) -> None:
        """Add everything that another report of the same directory has."""
        self.findings += other.findings
        self.notes += other.notes
        self.files, self.cells, self.rows = self.files + other.files, self.cells + other.cells, self.rows + other.rows

    def find_error(self, path: Path, error: LopSweepError, remove: Sequence[Path]) -> None:
        """Add a finding for a file that cannot be read. Nothing is removed if the file may be sound."""
        may_be_sound = isinstance(error, (SchemaVersionError, InaccessibleFileError, InaccessibleStateError))
        self.find(path, str(error), () if may_be_sound else remove)
