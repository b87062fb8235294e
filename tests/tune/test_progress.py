"""Progress: the cells done over all rounds of a sweep, at the same cost however many cells there are."""

from __future__ import annotations

import pytest

from lop_sweep.config import CellConfig
from lop_sweep.pack import Pack
from lop_sweep.tune.progress import Progress

CELLS = tuple(CellConfig(seed=seed, tasks=10) for seed in range(6))


def test_cells_count_by_their_share_of_tasks() -> None:
    progress = Progress(False)
    first, second = Pack(CELLS[:4]), Pack(CELLS[4:])
    progress.expect([first, second])
    assert (progress.cells, progress.done) == (6, 0)
    progress.update(first, 5)
    assert progress.done == pytest.approx(2)
    progress.update(second, 10)
    progress.update(first, 3)  # it was resumed from a checkpoint
    assert progress.done == pytest.approx(4 * 0.3 + 2)


def test_cells_of_another_round_are_counted_once() -> None:
    progress = Progress(False)
    progress.expect([Pack(CELLS)])
    progress.update(Pack(CELLS), 5)
    for piece in (Pack(CELLS[:1]), Pack(CELLS[1:])):
        progress.update(piece, 10)
    assert progress.done == pytest.approx(6)


def test_rounding_does_not_take_the_bar_beyond_its_end(recwarn: pytest.WarningsRecorder) -> None:
    progress = Progress(True)
    progress.expect([Pack(CELLS)])
    progress.update(Pack(CELLS), 10)
    progress.done *= 1 + 1e-12  # what a sum of many shares may be
    progress.refresh()
    progress.close()
    assert not [warning for warning in recwarn if "clamping" in str(warning.message)]
