"""The batch script on a real Slurm with two nodes: complete runs, time limits, requeues, lost nodes, bad input.

The results equal those of an undisturbed sweep to the last bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm import Slurm
from sweeping import assert_same_results, at_work, start_sweep, sweep, wait_until, write_space

from lop_sweep.storage.maintenance.audit import audit
from lop_sweep.storage.store import Store

pytestmark = pytest.mark.long

SCRIPTS = Path(__file__).parents[2] / "deploy" / "slurm"
TIME = "--time=20"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with Slurm(tmp_path_factory.mktemp("slurm") / "here", nodes=2) as slurm:
        yield slurm


def undisturbed_sweep(folder: Path, tasks: int) -> tuple[Path, Path]:
    """Return the space and directory of an undisturbed sweep: 16 cells in 8 packs, two of which diverge."""
    space = write_space(
        folder / "space.py", ["seed"],
        width=12, depth=2, samples=16, steps=40, tasks=tasks, fresh_baseline=8,
        lr="tune.grid_search([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.7e308])", seed="tune.grid_search([1, 5])",
    )  # fmt: skip
    process = start_sweep(space, folder / "out", "--no-progress")
    _, stderr = process.communicate(timeout=1000)
    assert process.returncode == 0, stderr
    return space, folder / "out"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return undisturbed_sweep(tmp_path_factory.mktemp("undisturbed"), tasks=300)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a sweep that takes longer than two runs of a job that reaches its time limit."""
    return undisturbed_sweep(tmp_path_factory.mktemp("slow"), tasks=5000)


class Job:
    """A script of `deploy/slurm` with its one line changed, submitted."""

    def __init__(self, slurm: Slurm, folder: Path, space: Path, options: tuple[str, ...], name: str = "sweep") -> None:
        folder.mkdir(exist_ok=True)
        self.slurm, self.out, self._folder = slurm, folder / "out", folder
        line = f"sweep=(lop-sweep sweep {space} --out {self.out} --no-progress --checkpoint-every 1)"
        text, changed = re.subn(r"^sweep=\(.*\)$", line, (SCRIPTS / f"{name}.sbatch").read_text(), flags=re.MULTILINE)
        assert changed == 1
        (folder / "job.sbatch").write_text(text)
        self.id = slurm.submit(
            folder / "job.sbatch", "--cpus-per-task=1", *options, env={"HOME": str(folder), "OMP_NUM_THREADS": "1"}
        )

    def log(self) -> str:
        return (self._folder / f"lop-sweep-{self.id}.log").read_text()

    def wait_for(self, state: str) -> None:
        wait_until(lambda: self.slurm.state(self.id) in (state, "FAILED", "TIMEOUT"), seconds=1200)
        assert self.slurm.state(self.id) == state, self.log()

    def wait_until_at_work(self, workers: int = 2) -> None:
        wait_until(lambda: self.out.exists() and len(at_work(self.out)) >= workers, seconds=120)

    def assert_undisturbed(self, expected: Path) -> None:
        assert_same_results(self.out, expected)
        assert [str(finding) for finding in audit(Store(self.out)).findings] == []
        assert not list(self._folder.glob(".lop-sweep-token-*"))


def test_a_job_runs_to_its_end_on_both_nodes(slurm: Slurm, undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("ray.*"))
    job = Job(slurm, tmp_path / "job", undisturbed[0], (TIME,))
    job.wait_until_at_work()
    (token,) = (tmp_path / "job").glob(".lop-sweep-token-*")
    assert token.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch("[0-9a-f]{64}", token.read_text())
    job.wait_for("COMPLETED")
    assert slurm.restarts(job.id) == 0
    assert "on 2 CPUs" in job.log()
    job.assert_undisturbed(undisturbed[1])
    wait_until(lambda: set(Path("/tmp").glob("ray.*")) <= before, seconds=60)


def test_two_jobs_share_a_machine(slurm: Slurm, undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    """The nodes are one machine with one address, so these jobs would collide if their ports did."""
    options = (TIME, "--nodes=1")
    jobs = [Job(slurm, tmp_path / name, undisturbed[0], options) for name in ("one", "two")]
    wait_until(lambda: all(job.out.exists() and at_work(job.out) for job in jobs), seconds=120)  # at the same time
    for job in jobs:
        job.wait_for("COMPLETED")
        job.assert_undisturbed(undisturbed[1])


def reach_time_limit(slurm: Slurm, job: str, restarts: int) -> None:
    """Let a running job come so close to its limit that Slurm sends the signal, and wait until it has requeued itself.

    Slurm looks every 30 seconds which jobs have less than 150 seconds left, 120 of which the script asks for.
    """
    slurm.run("scontrol", "update", f"JobId={job}", f"TimeLimit={slurm.minutes(job) + 2}")
    wait_until(lambda: slurm.restarts(job) == restarts, seconds=150)
    slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=20")
    slurm.start_at_once(job)


def test_a_time_limit_that_is_reached_twice(slurm: Slurm, slow: tuple[Path, Path], tmp_path: Path) -> None:
    job = Job(slurm, tmp_path / "job", slow[0], (TIME,))
    for restarts in (1, 2):
        job.wait_until_at_work()
        reach_time_limit(slurm, job.id, restarts)
    job.wait_for("COMPLETED")
    assert slurm.restarts(job.id) == 2
    assert job.log().count("stopping: trials save their state") == 2
    assert job.log().count("cells finished") == 3
    job.assert_undisturbed(slow[1])


def test_a_job_that_is_requeued_in_mid_run(slurm: Slurm, undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    """As at preemption: SIGTERM reaches all processes at once."""
    job = Job(slurm, tmp_path / "job", undisturbed[0], (TIME,))
    job.wait_until_at_work()
    slurm.run("scontrol", "requeue", job.id)
    slurm.start_at_once(job.id)
    job.wait_for("COMPLETED")
    assert slurm.restarts(job.id) == 1
    job.assert_undisturbed(undisturbed[1])


@pytest.mark.parametrize("name", ["n1", "n2"], ids=["head", "worker"])
def test_a_node_that_is_lost(slurm: Slurm, undisturbed: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    """Slurm notices after `SlurmdTimeout`, requeues the job, and starts it when there are enough nodes again."""
    job = Job(slurm, tmp_path / "job", undisturbed[0], (TIME,))
    job.wait_until_at_work()
    slurm.kill_node(name)
    wait_until(lambda: slurm.restarts(job.id) == 1 or slurm.state(job.id) == "COMPLETED", seconds=150)
    slurm.start_node(name)
    if slurm.state(job.id) != "COMPLETED":  # the node that is left may have finished before
        slurm.start_at_once(job.id)
    job.wait_for("COMPLETED")
    job.assert_undisturbed(undisturbed[1])


def test_bad_input_is_not_requeued(slurm: Slurm, tmp_path: Path) -> None:
    job = Job(slurm, tmp_path / "job", tmp_path / "nowhere.py", (TIME,))
    wait_until(lambda: slurm.state(job.id) in ("FAILED", "COMPLETED"), seconds=120)
    described = slurm.describe(job.id)
    assert (described["JobState"], described["ExitCode"], described["Restarts"]) == ("FAILED", "2:0", "0")
    assert "nowhere.py" in job.log()


def test_a_job_that_is_cancelled_stays_cancelled(slurm: Slurm, undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    job = Job(slurm, tmp_path / "job", undisturbed[0], (TIME,))
    job.wait_until_at_work()
    slurm.run("scancel", job.id)
    wait_until(lambda: not slurm.run("squeue", "-h", "-j", job.id), seconds=60)
    assert slurm.state(job.id) == "CANCELLED"
    assert slurm.restarts(job.id) == 0


def test_an_array_of_shards_completes_the_sweep(slurm: Slurm, slow: tuple[Path, Path], tmp_path: Path) -> None:
    """One task reaches its time limit, and goes on by itself; the other one does not."""
    job = Job(slurm, tmp_path / "job", slow[0], ("--array=0-1", TIME), name="array")
    tasks = [f"{job.id}_{number}" for number in range(2)]
    job.wait_until_at_work()
    reach_time_limit(slurm, tasks[0], restarts=1)
    for task in tasks:
        wait_until(lambda task=task: slurm.state(task) in ("COMPLETED", "FAILED", "TIMEOUT"), seconds=1200)
        assert slurm.state(task) == "COMPLETED"
    assert_same_results(job.out, slow[1], same_packs=False)
    assert [str(finding) for finding in audit(Store(job.out)).findings] == []
    again = sweep(slow[0], job.out, "--no-progress")
    assert again.returncode == 0, again.stderr
    assert "0 to compute" in again.stderr
