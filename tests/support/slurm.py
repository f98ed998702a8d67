"""A Slurm of virtual nodes on this machine: one slurmctld, one slurmd a node, no root, no munge, no cgroups.

The daemons stay in the foreground as children of the test process. The end of the ``with`` block cancels all jobs and
kills what has the cluster's SLURM_CONF in its environment: daemons, steps and tasks.
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.support.free_ports import free_port
from tests.support.processes import pids_with_variable, until
from tests.support.repository import ROOT

PROGRAMS = ("slurmctld", "slurmd", "srun", "sbatch", "scontrol")
NODES = 8
CPUS = 8
UP_S = 60.0
COMMAND_S = 120.0
JOB_S = 180.0
"""For a job that takes seconds: other tests may run beside it."""
CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={controller}
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool-%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
KillWait=60
MessageTimeout=60
MinJobAge=3600
FirstJobId={first_job}
SlurmdParameters=config_overrides
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
"""


def is_installed() -> bool:
    """All programs of Slurm that the tests start are on PATH, or where Debian has those of the administrator."""
    return all(_program(name) for name in PROGRAMS)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


class SlurmCluster:
    """``with SlurmCluster(directory) as slurm`` is a cluster of 8 idle nodes of 8 processors each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._daemons: list[subprocess.Popen[bytes]] = []
        conf = directory / "slurm.conf"
        nodes = "\n".join(
            f"NodeName=node{index} NodeHostname=localhost NodeAddr=127.0.0.1 Port={free_port()} CPUs={CPUS}"
            for index in range(NODES)
        )
        first_job = 1 + secrets.randbelow(9000)  # ports of jobs follow from their numbers
        conf.write_text(
            CONFIGURATION.format(
                controller=free_port(), user=getpass.getuser(), directory=directory, nodes=nodes, first_job=first_job
            )
        )
        programs = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
        of_tests = {"SLURM_CONF": str(conf), "PATH": programs, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.environment = os.environ | of_tests

    def __enter__(self) -> SlurmCluster:
        try:
            (self.directory / "state").mkdir()
            self._start("slurmctld", "-D", "-c")
            for index in range(NODES):
                (self.directory / f"spool-node{index}").mkdir()
                self._start("slurmd", "-D", "-c", "-N", f"node{index}")
            until(lambda: self.idle_nodes() == NODES, "all nodes of Slurm are idle", UP_S)
        except BaseException:
            self.close()
            raise
        return self

    def _start(self, name: str, *words: str) -> None:
        program = _program(name)
        assert program
        log = (self.directory / f"{name}{len(self._daemons)}.out").open("wb")
        with log:
            self._daemons.append(
                subprocess.Popen(
                    [program, *words], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                )
            )  # fmt: skip

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill daemons, steps and tasks, and wait until they are gone."""
        if self._daemons and self._daemons[0].poll() is None:
            self.run("scancel", "--user", getpass.getuser(), "--signal=KILL", "--full", check=False)

        def killed() -> bool:
            left = pids_with_variable("SLURM_CONF", self.environment["SLURM_CONF"])
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
            return not left

        for daemon in self._daemons:
            daemon.kill()
        for daemon in self._daemons:
            daemon.wait()
        until(killed, "all processes of Slurm are gone")

    # --- Commands ---

    def run(self, *words: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Slurm to its end."""
        ended = subprocess.run(
            words, env=self.environment | variables, cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=COMMAND_S, check=False,
        )  # fmt: skip
        assert not check or ended.returncode == 0, ended.stdout + ended.stderr
        return ended

    def idle_nodes(self) -> int:
        """The number of nodes that could take a job."""
        found = self.run("sinfo", "-h", "-p", "main", "-t", "idle", "-o", "%D", check=False).stdout.split()
        return int(found[0]) if found else 0

    def submit(self, *words: str, **variables: str) -> BatchJob:
        """Hand a batch script in; the job."""
        return BatchJob(self, self.run("sbatch", "--parsable", *words, **variables).stdout.strip())


class BatchJob:
    """One job of ``sbatch``: its fields as ``scontrol show job`` has them, and its output."""

    def __init__(self, slurm: SlurmCluster, number: str) -> None:
        self._slurm, self.number = slurm, number

    def field(self, name: str) -> str:
        """One field of the job, such as JobState."""
        shown = self._slurm.run("scontrol", "show", "job", self.number).stdout
        found = re.search(rf"\b{name}=(\S*)", shown)
        assert found, shown
        return found[1]

    @property
    def output(self) -> str:
        """All that the job has written so far, also before a requeue."""
        path = Path(self.field("StdOut"))
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until the text stands so often in the output."""
        try:
            until(lambda: self.output.count(text) >= count, f"{count} x {text!r} in the job's output", JOB_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; state {self.field('JobState')}; output: {self.output}") from None

    def wait_for_state(self, *states: str) -> str:
        """Wait until the job is in one of these states; its exit code, such as ``0:0``."""
        try:
            until(lambda: self.field("JobState") in states, f"the job is {' or '.join(states)}", JOB_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; state {self.field('JobState')}; output: {self.output}") from None
        return self.field("ExitCode")

    def cancel(self) -> None:
        """Kill the job and wait for its end."""
        self._slurm.run("scancel", "--full", "--signal=KILL", self.number)
        self._slurm.run("scancel", self.number)
        self.wait_for_state("CANCELLED", "FAILED", "COMPLETED")

    def start_soon(self) -> None:
        """Start a requeued job, which Slurm would hold back for two minutes.

        At once would be too soon: slurmd takes no credential of the second in which it revoked those of the last start.
        """
        self._slurm.run("scontrol", "update", f"JobId={self.number}", "StartTime=now+3seconds")
