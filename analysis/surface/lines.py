"""Lines along which a function on a grid is 0, by marching squares.

A node is an edge of the grid at which the sign changes. Each square with two nodes has one segment, and one with four
has two, which keep the square's middle connected.

Source: Lorensen and Cline, "Marching cubes", SIGGRAPH (1987), in two dimensions.
"""

from __future__ import annotations

import numpy as np

Node = tuple[int, int, int]
"""An edge of the grid: its direction (0 along the first axis) and the indices of its first corner."""


def zero_lines(values: np.ndarray, drawn: np.ndarray) -> list[np.ndarray]:
    """Return the lines along which values are 0, interpolated linearly.

    Args:
        values: (I, J) without zeros.
        drawn: (I, J) booleans; squares with a corner that is not drawn have no line.

    Returns:
        Connected lines, each (points, 2), as fractional indices of the grid. A closed line ends where it starts.
    """
    links: dict[Node, list[Node]] = {}
    for square in _crossed(values, drawn):
        for a, b in _segments(values, *square):
            links.setdefault(a, []).append(b)
            links.setdefault(b, []).append(a)
    lines = []
    for start in sorted(links, key=lambda node: (len(links[node]) > 1, node)):  # open lines first, from their ends
        while links.get(start):
            lines.append(_follow(values, links, start))
    return lines


def zero_points(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return where values on a line, (I,), are 0, as fractional indices."""
    between = np.flatnonzero(((values[1:] > 0) != (values[:-1] > 0)) & drawn[1:] & drawn[:-1])
    return between + values[between] / (values[between] - values[between + 1])


def _crossed(values: np.ndarray, drawn: np.ndarray) -> list[tuple[int, int]]:
    corners = [np.s_[:-1, :-1], np.s_[1:, :-1], np.s_[:-1, 1:], np.s_[1:, 1:]]
    up = np.stack([values[corner] > 0 for corner in corners])
    visible = np.stack([drawn[corner] for corner in corners]).all(axis=0)
    return [(int(i), int(j)) for i, j in np.argwhere(visible & up.any(axis=0) & ~up.all(axis=0))]


def _segments(values: np.ndarray, i: int, j: int) -> list[tuple[Node, Node]]:
    up = [bool(values[i + a, j + b] > 0) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
    around: list[Node] = [(0, i, j), (1, i + 1, j), (0, i, j + 1), (1, i, j)]
    nodes = [node for number, node in enumerate(around) if up[number] != up[(number + 1) % 4]]
    if len(nodes) == 2:
        return [(nodes[0], nodes[1])]
    middle = bool(values[i : i + 2, j : j + 2].mean() > 0)
    if middle == up[0]:  # the first and third corner are connected
        return [(nodes[0], nodes[1]), (nodes[2], nodes[3])]
    return [(nodes[3], nodes[0]), (nodes[1], nodes[2])]


def _follow(values: np.ndarray, links: dict[Node, list[Node]], start: Node) -> np.ndarray:
    nodes = [start]
    while links.get(nodes[-1]):
        following = links[nodes[-1]].pop()
        links[following].remove(nodes[-1])
        nodes.append(following)
    return np.array([_position(values, node) for node in nodes])


def _position(values: np.ndarray, node: Node) -> tuple[float, float]:
    direction, i, j = node
    here = values[i, j]
    there = values[i + 1, j] if direction == 0 else values[i, j + 1]
    part = float(here / (here - there))
    return (i + part, float(j)) if direction == 0 else (float(i), j + part)
