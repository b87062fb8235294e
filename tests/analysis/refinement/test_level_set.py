"""Choosing cells on made-up truths: boundaries are found with few of them, whatever the axes, and choices repeat."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from analysis.refinement import Candidates, LevelSet, level_set
from analysis.surface import fit_surface
from lop_sweep.errors import AnalysisError

Truth = Callable[[np.ndarray], np.ndarray]
"""The latent at points, (N, d) to (N,), in probits."""

SEEDS = 8
SHIFT = 0.4
"""Standard deviation of the seeds' shifts, in probits."""


def grid(
    *axes: Sequence[float], scales: tuple[str, ...] | None = None, seeds: int = SEEDS, shape: int | None = None
) -> Candidates:
    """Return the cells of a grid, seeds fastest; the values of axis `shape` are shapes of their own."""
    points = np.repeat(np.array(list(itertools.product(*axes)), float), seeds, axis=0)
    count = len(points)
    shapes = np.zeros(count, int) if shape is None else np.unique(points[:, shape], return_inverse=True)[1]
    chosen = scales or ("linear",) * len(axes)
    return Candidates(points, chosen, np.tile(np.arange(seeds), count // seeds), np.ones(count), shapes)


PLANE = grid(np.linspace(0, 1, 16), np.linspace(0, 1, 8))


def smooth(points: np.ndarray) -> np.ndarray:
    return 6 * (points[:, 0] - 0.3 - 0.4 * points[:, 1])


def steep(points: np.ndarray) -> np.ndarray:
    return 25 * (points[:, 0] - 0.3 - 0.4 * points[:, 1] ** 2)


def island(points: np.ndarray) -> np.ndarray:
    return 4 - 60 * ((points[:, 0] - 0.75) ** 2 + (points[:, 1] - 0.7) ** 2)


class World:
    """Outcomes of all cells, drawn once; `ask` and `tell` go on with them."""

    def __init__(
        self, candidates: Candidates, truth: Truth, seed: int = 0, level: float = 0.5, trials: int = 1
    ) -> None:
        rng = np.random.default_rng(seed)
        shift = rng.normal(0, SHIFT, candidates.seeds.max() + 1)
        rate = ndtr(truth(candidates.points) + shift[candidates.seeds])
        self.successes, self.trials = rng.binomial(trials, rate).astype(float), np.full(len(rate), float(trials))
        self.chooser, self.level = LevelSet(candidates, level), level
        first = np.unique(candidates.place, return_index=True)[1]
        self.above = ndtr(truth(candidates.points[first]) / np.hypot(1, SHIFT)) > level
        sums = [np.bincount(candidates.place, values) for values in (self.successes, self.trials)]
        self.by_counts = float((((sums[0] / sums[1]) > level) != self.above).mean())
        self.asked: list[int] = []

    def tell(self, cell: int) -> None:
        self.chooser.tell(cell, self.successes[cell], self.trials[cell])

    def compute(self, cells: int) -> World:
        """Ask for one cell after the other."""
        for _ in range(cells):
            (cell,) = self.chooser.ask()
            self.asked.append(cell)
            self.tell(cell)
        return self

    @property
    def error(self) -> float:
        """The share of points on the wrong side."""
        return float(((self.chooser.rates() > self.level) != self.above).mean())


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    """Return three worlds with 60 of 1,024 cells chosen and told."""
    return [World(PLANE, smooth, seed).compute(60) for seed in range(3)]


def test_the_error_of_raw_counts_with_few_cells(worlds: list[World]) -> None:
    """60 cells against all 1,024: 8 seeds at each point."""
    assert np.mean([world.error for world in worlds]) < np.mean([world.by_counts for world in worlds])
    assert np.mean([world.error for world in worlds]) < 0.05


def test_chosen_cells_are_near_the_boundary(worlds: list[World]) -> None:
    for world in worlds:
        chosen = np.array(world.asked[world.chooser.design :])
        assert np.abs(smooth(PLANE.points[chosen])).mean() < 0.8 * np.abs(smooth(PLANE.points)).mean()
        assert len(set(world.asked)) == 60
        assert len(np.unique(PLANE.place[chosen])) < len(chosen)  # seeds and points alike


def test_it_is_better_than_cells_drawn_at_random(worlds: list[World]) -> None:
    drawn = []
    for seed in range(3):
        other = World(PLANE, smooth, seed)
        for cell in np.random.default_rng(seed).permutation(len(PLANE.seeds))[:60]:
            other.tell(int(cell))
        drawn.append(other.error)
    assert np.mean([world.error for world in worlds]) < np.mean(drawn)


@pytest.mark.parametrize("seed", range(2))
def test_an_island_is_found(seed: int) -> None:
    """It covers a fifth of the plane."""
    world = World(PLANE, island, seed).compute(60)
    found = world.chooser.rates() > 0.5
    assert (found & world.above).sum() > 0.8 * (found | world.above).sum()


def test_a_small_island_that_the_design_misses_is_found() -> None:
    """It covers 7% of the plane, between the points of the design, and nothing else is lost."""

    def truth(points: np.ndarray) -> np.ndarray:
        return 60 * (0.17 - np.hypot(points[:, 0] - 0.4, points[:, 1] - 0.73))

    world = World(PLANE, truth)
    assert 0.05 < world.above.mean() < 0.09
    world.compute(world.chooser.design)
    assert not world.successes[world.asked].any()
    assert (world.chooser.rates() < 0.5).all()
    world.compute(90)
    assert (world.chooser.rates() > 0.5)[world.above].mean() > 0.7
    assert world.error < 0.04


def farthest(candidates: Candidates, asked: Sequence[int], number: int, among: np.ndarray) -> bool:
    """Whether the cell with this number is as far from all cells before it as any of those given."""
    at = candidates.coordinates
    distance = np.sqrt(candidates.scaling.squares(at, at[asked[:number]]).sum(axis=0)).min(axis=1)
    return bool(np.isclose(distance[asked[number]], distance[among].max()))


@pytest.mark.parametrize("most", [1, 8])
def test_some_cells_are_the_farthest_from_all_others(most: int) -> None:
    """After the design, those at which sqrt(n) passes a whole number, also within packs."""
    world = World(PLANE, smooth)
    while len(world.asked) < 90:
        pack = world.chooser.ask(most=most if len(world.asked) >= world.chooser.design else 1, seconds=1e9)
        world.asked += pack
        for cell in pack:
            world.tell(cell)
    everywhere = np.arange(len(PLANE.seeds))
    due = [n for n in range(world.chooser.design, 90) if int(np.sqrt(n + 1)) > int(np.sqrt(n))]
    assert len(due) >= 6
    assert all(farthest(PLANE, world.asked, n, everywhere) for n in due)


def test_nothing_is_explored_where_outcomes_are_undefined() -> None:
    """Half of the plane has none. Beside the other half it takes some cells to know that."""
    world = World(PLANE, smooth)
    world.trials[PLANE.points[:, 0] > 0.5] = 0
    world.successes[PLANE.points[:, 0] > 0.5] = 0
    world.compute(100)
    assert (PLANE.points[world.asked[40:], 0] > 0.6).mean() < 0.05


@pytest.mark.parametrize("value", [4.0, -4.0])
def test_a_plane_without_a_boundary_is_soon_known(value: float) -> None:
    world = World(PLANE, lambda points: np.full(len(points), value)).compute(40)
    assert world.error == 0
    assert world.chooser.unsure() == 0


def test_the_band_narrows() -> None:
    made = [World(PLANE, smooth, seed) for seed in range(3)]
    assert made[0].chooser.unsure() == 1.0
    widths = [np.mean([world.compute(step).chooser.unsure() for world in made]) for step in (15, 25, 60)]
    assert 0 < widths[2] < widths[1] < widths[0] <= 1


def test_the_band_is_that_of_the_exact_posterior() -> None:
    """As the mean over 20 fits to the same cells has it."""
    world = World(PLANE, smooth).compute(40)
    cells = np.array(world.asked)
    places = np.unique(PLANE.points, axis=0)
    above = []
    for seed in range(20):
        surface = fit_surface(
            PLANE.points[cells], world.successes[cells], np.ones(40), clusters=PLANE.seeds[cells],
            rng=np.random.default_rng(seed),
        )  # fmt: skip
        above.append(ndtr(surface.predict(places).score(surface.threshold(0.5))))
    p = np.mean(above, axis=0)
    assert world.chooser.unsure() == pytest.approx((np.minimum(p, 1 - p) > 0.025).mean(), abs=3 / 128)


@pytest.mark.parametrize("level", [0.1, 0.85])
def test_another_level(level: float) -> None:
    """Its boundary is found where it is, and not where that of a half is."""
    half = World(PLANE, smooth).above
    world = World(PLANE, smooth, 1, level=level).compute(60)
    assert (world.above != half).mean() > 0.1
    assert world.error < 0.09
    assert ((world.chooser.rates() > level) != half).mean() > world.error


def test_rates_of_several_trials() -> None:
    """A cell tells more if it has 12 trials; their surface passes the level in the same place."""
    truth = ndtr(smooth(np.unique(PLANE.points, axis=0)) / np.hypot(1, SHIFT))
    errors, widths = [], []
    for trials in (1, 12):
        worlds = [World(PLANE, smooth, seed, level=0.3, trials=trials).compute(25) for seed in range(4)]
        errors.append(np.mean([np.abs(world.chooser.rates() - truth).mean() for world in worlds]))
        widths.append(np.mean([world.chooser.unsure() for world in worlds]))
    assert np.mean([world.error for world in worlds]) < 0.06
    assert widths[1] < widths[0]
    assert errors[1] < errors[0]


def test_one_axis() -> None:
    line = grid(np.geomspace(0.01, 10, 41), scales=("log",))
    worlds = [World(line, lambda points: 8 * np.log10(points[:, 0]), seed).compute(20) for seed in range(3)]
    assert np.mean([world.error for world in worlds]) <= 2 / 41
    chosen = line.points[np.concatenate([world.asked[world.chooser.design :] for world in worlds]), 0]
    assert np.median(np.abs(np.log(chosen))) < 0.4 * np.median(np.abs(np.log(line.points)))


def test_three_axes_one_of_them_with_categories() -> None:
    cube = grid(np.linspace(0, 1, 8), np.geomspace(1, 16, 5), [0, 1, 2], scales=("linear", "log", "category"), seeds=3)
    edge = np.array([0.2, 0.5, 0.9])
    world = World(cube, lambda points: 12 * (points[:, 0] - edge[points[:, 2].astype(int)])).compute(50)
    assert world.error < 0.08
    assert {*cube.points[world.asked[: world.chooser.design], 2]} == {0, 1, 2}


def test_the_design_is_spread_evenly() -> None:
    """The first cells are at points of their own, one near each corner, and seeds take turns."""
    world = World(PLANE, smooth)
    world.compute(world.chooser.design)
    at = PLANE.points[np.array(world.asked)]
    assert len(np.unique(at, axis=0)) == len(at) == 10
    assert all(np.abs(at - corner).max(axis=1).min() == 0 for corner in itertools.product([0, 1], repeat=2))
    assert [*PLANE.seeds[world.asked]] == [number % SEEDS for number in range(10)]


def test_undefined_outcomes_are_left_out() -> None:
    """Where networks diverge no more is asked than it takes to see it, and neither rate nor band counts it."""
    gone, where = PLANE.points[:, 1] > 0.6, np.unique(PLANE.points, axis=0)
    widths = []
    for seed in range(3):
        world = World(PLANE, smooth, seed)
        world.trials[gone] = world.successes[gone] = 0
        world.compute(70)
        asked = gone[np.array(world.asked)]
        assert asked[world.chooser.design :].mean() < 0.25 < gone.mean()
        rates = world.chooser.rates()
        assert np.isnan(rates)[where[:, 1] > 0.8].all()
        assert not np.isnan(rates)[where[:, 1] < 0.5].any()
        widths.append((world.chooser.unsure(), World(PLANE, smooth, seed).compute(70).chooser.unsure()))
    half, whole = np.mean(widths, axis=0)
    assert half < whole + 0.1


def test_cells_are_asked_while_nothing_is_defined() -> None:
    few = grid(np.linspace(0, 1, 4), seeds=2)
    chooser = LevelSet(few)
    for told in range(8):
        (cell,) = chooser.ask()
        chooser.tell(cell, 0, 0)
        assert chooser.told == told + 1
    assert chooser.ask() == []
    assert chooser.unsure() == 1.0
    with pytest.raises(AnalysisError, match="no outcome is defined yet; tell more cells"):
        chooser.rates()


def test_pending_cells_are_not_asked_again() -> None:
    world = World(PLANE, smooth).compute(30)
    pending: list[int] = []
    for _ in range(12):
        (cell,) = world.chooser.ask(pending)
        assert cell not in pending
        pending.append(cell)
    assert not {*pending} & {*world.asked}
    assert len(np.unique(PLANE.place[pending])) >= 6  # they do not crowd in one place


def test_cells_of_a_pack_share_a_shape() -> None:
    world = World(replace(PLANE, shapes=np.unique(PLANE.points[:, 1], return_inverse=True)[1]), smooth).compute(30)
    pack = world.chooser.ask(seconds=100.0, most=20)
    assert 2 <= len(pack) == len({*pack}) <= 20
    assert len({PLANE.points[cell, 1] for cell in pack}) == 1
    assert pack[:1] == world.chooser.ask()


def test_a_pack_is_not_filled_up_with_what_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell of another shape may be worth more than the next one of the same, although it begins a new pack."""
    rows = replace(PLANE, shapes=np.unique(PLANE.points[:, 1], return_inverse=True)[1])
    packs = []
    for filling in (level_set.FILLING, 0.0):
        monkeypatch.setattr(level_set, "FILLING", filling)
        packs.append(World(rows, steep).compute(40).chooser.ask(seconds=100.0, most=20))
    assert len(packs[0]) < len(packs[1]) == 20
    assert packs[1][: len(packs[0])] == packs[0]


@pytest.mark.parametrize(("seconds", "most", "expected"), [(0, 50, 1), (1, 50, 1), (4.5, 50, 5), (9, 3, 3), (9, 0, 0)])
def test_a_pack_is_as_long_as_wanted(seconds: float, most: int, expected: int) -> None:
    world = World(PLANE, smooth).compute(15)
    assert len(world.chooser.ask(seconds=seconds, most=most)) == expected


def test_cheap_cells_are_preferred() -> None:
    """Two halves of a plane mirror each other; cells of one of them cost ten times as much."""
    x = np.linspace(-1, 1, 16)
    plane = grid(x, np.linspace(0, 1, 6))
    dear = replace(plane, seconds=np.where(plane.points[:, 0] > 0, 10.0, 1.0))

    def mirrored(points: np.ndarray) -> np.ndarray:
        return 8 * (np.abs(points[:, 0]) - 0.5)

    shares = []
    for candidates in (plane, dear):
        worlds = [World(candidates, mirrored, seed).compute(60) for seed in range(4)]
        chosen = np.concatenate([world.asked[world.chooser.design :] for world in worlds])
        shares.append((plane.points[chosen, 0] > 0).mean())
    assert shares[1] < 0.8 * shares[0]
    assert shares[1] > 0  # the other half is not known from this one


def test_dropped_cells_are_never_asked() -> None:
    world = World(PLANE, smooth)
    for cell in np.flatnonzero(PLANE.points[:, 0] > 0.5):
        world.chooser.drop(int(cell))
    world.compute(40)
    assert (PLANE.points[np.array(world.asked), 0] <= 0.5).all()


def test_nothing_is_left_in_the_end() -> None:
    few = grid(np.linspace(0, 1, 5), seeds=2)
    world = World(few, lambda points: 6 * points[:, 0] - 3)
    world.chooser.drop(3)
    world.compute(8)
    assert world.chooser.ask(pending=[next(iter({*range(10)} - {*world.asked, 3}))]) == []
    world.compute(1)
    assert world.chooser.ask() == []
    assert sorted([*world.asked, 3]) == list(range(10))


def believed(chooser: LevelSet) -> dict[int, tuple[float, float]]:
    """Return the outcomes that the last choice went by."""
    assert chooser._standing is not None
    return chooser._standing.taken


def test_a_changed_outcome_replaces_the_earlier_one() -> None:
    """In rates, and in what the next choice goes by, be the cell of the last fit or since."""
    world = World(PLANE, smooth).compute(60)
    for cell in (world.asked[3], world.asked[-1]):
        before = world.chooser.rates()[PLANE.place[cell]]
        other = 1 - world.successes[cell]
        world.chooser.tell(cell, other, 1)
        assert world.chooser.told == 60
        assert (world.chooser.rates()[PLANE.place[cell]] - before) * (other - 0.5) > 0.002
        world.chooser.ask()
        assert believed(world.chooser)[cell] == (other, 1)
        assert len(believed(world.chooser)) == 60


def test_looking_leaves_choices_alone() -> None:
    """Rates, widths, and questions whose cells are not computed, also where beliefs outlast several outcomes."""
    first, second = World(PLANE, smooth), World(PLANE, smooth)
    for count in (15, 45, *[1] * 15):
        first.compute(count)
        second.chooser.unsure()
        second.chooser.ask(most=5, seconds=1e9)
        second.compute(count)
        second.chooser.rates()
    assert first.asked == second.asked


def test_what_is_believed_is_what_is_known() -> None:
    """Pending cells and those that turn out undefined or are dropped add nothing."""
    world = World(PLANE, smooth).compute(30)
    pending: list[int] = []
    for _ in range(6):
        pending += world.chooser.ask(pending)
    world.chooser.ask(pending)
    assert {*believed(world.chooser)} == {*world.asked}
    undefined, dropped, finished, *left = pending
    world.chooser.tell(undefined, 0, 0)
    world.chooser.drop(dropped)
    world.tell(finished)
    assert not {*world.chooser.ask(left, most=20, seconds=1e9)} & {*pending}
    assert {*believed(world.chooser)} == {*world.asked, finished}
    assert believed(world.chooser)[finished] == (world.successes[finished], 1)


def told_at_random(cells: int) -> World:
    world = World(PLANE, smooth)
    world.asked = [int(cell) for cell in np.random.default_rng(1).permutation(len(PLANE.seeds))[:cells]]
    for cell in world.asked:
        world.tell(cell)
    return world


def begun_beside(world: World, cells: int) -> list[int]:
    """Return cells at random that are not told."""
    order = np.random.default_rng(0).permutation(len(PLANE.seeds))
    return [int(cell) for cell in order if cell not in world.asked][:cells]


@pytest.mark.parametrize(("pending", "known", "waits"), [(50, 60, 0), (51, 60, 1), (199, 160, 3), (199, 40, 0)])
def test_few_new_outcomes_wait_while_many_cells_are_computed(pending: int, known: int, waits: int) -> None:
    """Until they are 2% of these and of those that are known."""
    world = told_at_random(known)
    begun = begun_beside(world, pending + waits + 1)
    world.chooser.ask(begun)
    for number in range(1, waits + 2):
        world.tell(begun.pop())
        world.chooser.ask(begun)
        assert len(believed(world.chooser)) == known + (number if number > waits else 0)


def test_at_first_no_outcome_waits() -> None:
    """Each one matters, however many cells are being computed."""
    world = World(PLANE, smooth)
    begun = world.chooser.ask()
    while len(begun) < 300:
        begun += world.chooser.ask(begun)
    for number in range(1, 8):
        world.tell(begun.pop(0))
        world.chooser.ask(begun)
        assert len(believed(world.chooser)) == number


def test_a_cell_whose_outcome_waits_counts_as_a_pending_one() -> None:
    """An outcome that was taken in and only changes is not missing."""
    world = told_at_random(160)
    begun = begun_beside(world, 190)
    world.chooser.ask(begun)
    world.tell(new := begun.pop())
    world.chooser.tell(world.asked[0], 1 - world.successes[world.asked[0]], 1)
    _, missing = world.chooser._stand(world.chooser.open_cells(begun), begun)
    assert missing == [*begun, new]


def test_an_explored_cell_needs_no_new_fit() -> None:
    """Its outcome does, where what is believed has no such cell."""
    unknown = 0
    for known in (80, 99, 120, 143, 168):
        world = told_at_random(known)
        (cell,) = world.chooser.ask()
        assert level_set._explores(known)
        before = world.chooser._standing
        assert before is not None
        assert world.chooser.ask() == [cell]
        assert world.chooser._standing is before
        world.tell(cell)
        world.chooser.ask()
        assert (world.chooser._standing is before) == before.has([cell])
        assert cell in believed(world.chooser)
        unknown += not before.has([cell])
    assert 0 < unknown < 5


def test_a_restart_with_many_pending_cells() -> None:
    """Cells that were begun before a kill are not asked again."""
    world = World(PLANE, smooth).compute(40)
    begun = begun_beside(world, 150)
    chooser = LevelSet(PLANE)
    for cell in world.asked:
        chooser.tell(cell, world.successes[cell], 1)
    pack = chooser.ask(begun, most=8, seconds=1e9)
    assert len({*pack} - {*begun, *world.asked}) == 8
    assert {*believed(chooser)} == {*world.asked}


def test_more_points_than_are_weighed() -> None:
    """900 points: the boundary is sought among 400, and candidates are those near it and some others."""
    wide = grid(np.linspace(0, 1, 45), np.linspace(0, 1, 20), seeds=2)
    world = World(wide, smooth).compute(70)
    chosen = np.array(world.asked[world.chooser.design :])
    assert np.abs(smooth(wide.points[chosen])).mean() < 0.7 * np.abs(smooth(wide.points)).mean()
    assert world.error < 0.06
    standing = world.chooser._standing
    assert standing is not None
    assert 400 <= len(standing.cells) <= 802


def test_the_same_outcomes_give_the_same_choices() -> None:
    first, second = (World(PLANE, smooth).compute(35) for _ in range(2))
    assert first.asked == second.asked
    assert first.chooser.ask([5, 9], seconds=5, most=5) == second.chooser.ask([5, 9], seconds=5, most=5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: LevelSet(PLANE, 0.0), "level = 0.0: must be between 0 and 1"),
        (lambda: LevelSet(PLANE, 1.5), "level = 1.5: must be between 0 and 1"),
        (lambda: LevelSet(PLANE).tell(7, 2, 1), "cell 7: 2 successes of 1 trials; they cannot be more"),
        (lambda: LevelSet(PLANE).tell(7, -1, 1), "cell 7: -1 successes of 1 trials"),
        (lambda: LevelSet(PLANE).tell(1024, 1, 1), "cell 1024: must be a number from 0 to 1023"),
        (lambda: LevelSet(PLANE).drop(-1), "cell -1: must be a number from 0 to 1023"),
        (lambda: LevelSet(PLANE).rates(), "no outcome is defined yet"),
        (lambda: grid([1.0, np.nan]), "must be finite"),
        (lambda: grid([0.0, 1.0], scales=("log",)), "must be positive on a logarithmic axis"),
        (lambda: grid([0.0, 1.0], scales=("cubic",)), "must name one scale per axis"),
        (lambda: grid(*[[0.0, 1.0]] * 5), "with N > 0 and d from 1 to 4"),
        (lambda: replace(PLANE, points=np.empty((0, 2))), "with N > 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(AnalysisError, match=message) as caught:
        wrong()
    assert "\n" not in str(caught.value)


@pytest.mark.long
@pytest.mark.parametrize("truth", [smooth, island, steep])
def test_the_error_over_many_repeats(truth: Truth) -> None:
    """120 of 1,024 cells, 12 repeats: the mean error is that of raw counts, or two points of the plane more."""
    worlds = [World(PLANE, truth, seed).compute(120) for seed in range(12)]
    counts = np.mean([world.by_counts for world in worlds])
    assert np.mean([world.error for world in worlds]) < counts + 2 / len(PLANE.places)
