"""A Slurm on this machine for tests: its controller and its nodes are processes, without system services or munge.

    with Slurm(folder, nodes=2) as slurm:
        job = slurm.submit(script, "--time=2")
        wait_until(lambda: slurm.state(job) == "COMPLETED")

All nodes are this machine under names n1, n2, ... with one CPU each. A job's processes are found by their environment.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil
from sweeping import wait_until

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")

CONFIGURATION = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=20
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count: int) -> list[int]:
    """Return ports that nothing uses now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Slurm:
    """A controller and nodes, from `__enter__` to `__exit__`.

    Args:
        folder: is created; holds the configuration, the state and the logs.
        nodes: how many.
    """

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder = folder
        self._names = [f"n{number + 1}" for number in range(nodes)]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        executables = str(Path(sys.executable).parent)
        self._env = {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": os.pathsep.join([executables, os.environ["PATH"], "/usr/sbin"]),
        }
        missing = [program for program in PROGRAMS if shutil.which(program, path=self._env["PATH"]) is None]
        assert not missing, f"there is no {', '.join(missing)}; `make faults` installs Slurm, or says what to install"

    def __enter__(self) -> Slurm:
        self.folder.mkdir()
        host, (controller_port, *ports) = socket.gethostname(), free_ports(len(self._names) + 1)
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=1000"
            for name, port in zip(self._names, ports, strict=True)
        )
        user = psutil.Process().username()
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=host, controller_port=controller_port, user=user, folder=self.folder, nodes=nodes
            ).lstrip()
        )
        (self.folder / "state").mkdir()
        self._start("controller", "slurmctld", "-D")
        for name in self._names:
            self.start_node(name)
        wait_until(lambda: self.run("sinfo", "-h", "-o", "%T %D").strip() == f"idle {len(self._names)}", seconds=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._names:
            self.kill_node(name)
        controller = self._processes.pop("controller")
        controller.terminate()
        controller.wait(timeout=30)

    def submit(self, script: Path, *options: str, env: Mapping[str, str] | None = None) -> str:
        """Submit a job from the folder of its script; return its id."""
        answer = self.run("sbatch", "--parsable", *options, str(script), cwd=script.parent, env=env)
        return answer.strip().partition(";")[0]

    def run(self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run one of Slurm's commands; return its standard output."""
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=60, cwd=cwd, env={**self._env, **(env or {})}
        )
        assert result.returncode == 0, (command, result.stderr)
        return result.stdout

    def describe(self, job: str) -> dict[str, str]:
        """Return the fields of `scontrol show job`."""
        words = self.run("scontrol", "show", "job", job).split()
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    def state(self, job: str) -> str:
        return self.describe(job)["JobState"]

    def restarts(self, job: str) -> int:
        return int(self.describe(job)["Restarts"])

    def minutes(self, job: str) -> int:
        """Return for how many full minutes a job has run since its last start."""
        hours, minutes, _ = self.describe(job)["RunTime"].split(":")
        return 60 * int(hours) + int(minutes)

    def start_at_once(self, job: str) -> None:
        """Let a requeued job start: Slurm holds it back for two minutes.

        Its nodes refuse a credential that was made in the second in which they revoked the one before.
        """
        wait_until(lambda: self.state(job) == "PENDING", seconds=120)
        time.sleep(3)
        self.run("scontrol", "update", f"JobId={job}", "StartTime=now")

    def start_node(self, name: str) -> None:
        self._start(name, "slurmd", "-D", "-N", name)

    def kill_node(self, name: str) -> None:
        """Kill a node's daemons and everything that jobs run there, as when the machine is lost."""
        daemon = self._processes.pop(name)
        daemon.kill()
        daemon.wait()
        for process in self._processes_of_jobs(name):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _processes_of_jobs(self, name: str) -> list[psutil.Process]:
        """Return the processes of jobs on a node, after the daemons that watch over them and would report their end."""
        daemons, found = [], []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                environment = process.environ()
                where = (environment.get("SLURM_CONF"), environment.get("SLURMD_NODENAME"))
                if where == (self._env["SLURM_CONF"], name):
                    found.append(process)
                    daemons += [parent for parent in process.parents() if parent.name() == "slurmstepd"]
        return [*daemons, *found]

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            self._processes[name] = subprocess.Popen(
                command, env=self._env, stdout=out, stderr=out, start_new_session=True
            )
