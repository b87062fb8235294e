"""Places for texts on the points of a map: within a point's area, and clear of lines and marks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MARGIN_INCHES = 0.02
"""Between a text and the border of its point's area."""

CLEARANCE_INCHES = 0.035
"""Between a text and the middle of a line or a mark, whose own half width is at most 0.02 inches."""

_SAMPLE_INCHES = 0.01
_PLACES = 9
"""Places that are tried along each side of an area; odd, so that its centre is one."""


@dataclass(frozen=True)
class Obstacles:
    """What texts must not touch, as points on it in inches, (n, 2); neighbours are at most 0.01 inches apart."""

    points: np.ndarray

    @classmethod
    def along(cls, lines: list[np.ndarray]) -> Obstacles:
        """Return the obstacles that lines are, each (points, 2) in inches."""
        sampled = [_sampled(line) for line in lines if len(line)]
        return cls(np.concatenate([*sampled, np.empty((0, 2))]))

    def place(self, size: tuple[float, float], low: np.ndarray, high: np.ndarray) -> np.ndarray | None:
        """Return where the centre of a text can be, the nearest to that of its area; None where there is no room.

        Args:
            size: the text's width and height, inches.
            low: the lower left corner of the area, (2,) inches.
            high: its upper right corner.
        """
        half = np.array(size) / 2
        slack = (high - low) / 2 - half - MARGIN_INCHES
        if (slack < 0).any():
            return None
        near = self.points[((self.points >= low) & (self.points <= high)).all(axis=1)]
        steps = np.linspace(-1, 1, _PLACES)
        shifts = np.stack(np.meshgrid(steps * slack[0], steps * slack[1]), axis=-1).reshape(-1, 2)
        order = np.argsort(np.hypot(*shifts.T), kind="stable")
        for centre in (low + high) / 2 + shifts[order]:
            if not (np.abs(near - centre) <= half + CLEARANCE_INCHES).all(axis=1).any():
                return centre
        return None


def _sampled(line: np.ndarray) -> np.ndarray:
    """Return points along a line, with its corners."""
    lengths = np.hypot(*np.diff(line, axis=0).T)
    parts = [
        np.linspace(start, end, max(2, int(np.ceil(length / _SAMPLE_INCHES)) + 1))
        for start, end, length in zip(line[:-1], line[1:], lengths, strict=True)
    ]
    return np.concatenate([line[:1], *parts])
