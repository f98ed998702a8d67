"""The command ``fake-torchrun``, also ``python -m fake_torch_dist.run``: reads the command line, checks it, launches.

Errors that every rank would have are printed once, before anything starts: a missing script, a syntax error, a
directory that cannot be written, more processes than this system allows. Exit codes are torchrun's: 2 for a command
line that argparse cannot read, 1 for everything else.
"""

from __future__ import annotations

from fake_torch_dist.default_sigint import DefaultSigint

with DefaultSigint(until_next=__name__ == "__main__"):  # no Ctrl-C comes between this block and that of ``main``
    import os
    import signal
    import sys
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TYPE_CHECKING

    from fake_torch_dist.launcher.commandline.parsed_arguments import flags_without_meaning, parse
    from fake_torch_dist.launcher.commandline.parser import PROGRAM, UsageError
    from fake_torch_dist.launcher.workers.descriptors import fill_standard, write_stderr
    from fake_torch_dist.terminal.descriptor import printable

if TYPE_CHECKING:
    from fake_torch_dist.launcher.commandline.config import LaunchConfig

CONTROL = "ctl"
"""First word of a command line that controls runs, unless there is a script of that name."""
DESCRIPTORS_PER_RANK = 3
"""Two pipes and a connection to the store, all held by the launcher."""
DESCRIPTORS_PER_NODE = 2
DESCRIPTORS_BESIDES = 32
"""Terminal, selector, sockets that listen, modules being imported."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` (None: this process's) and return the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == [CONTROL] and not os.path.exists(CONTROL):
        os.execv(sys.executable, [sys.executable, "-m", "accelerate_sim.session.control", *words[1:]])
    try:
        with DefaultSigint():
            fill_standard()
            config = _checked_config(arguments)
            from fake_torch_dist.launcher.launch import launch  # after all checks, as its import takes time

            if signal.SIGINT in config.signals:
                return launch(config)  # its handler takes the place of the system's action
        return launch(config)
    except UsageError as error:
        write_stderr(f"{PROGRAM}: error: {printable(error)}\n")
        return error.exit_code
    except SyntaxError as error:
        write_stderr(_as_python_reports(error))
    except KeyboardInterrupt:  # --signals-to-handle leaves it out
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return 1


def _checked_config(arguments: Sequence[str] | None) -> LaunchConfig:
    """Return the configuration of the launch. Raises UsageError, or SyntaxError if the script has one."""
    parsed = parse(arguments, os.environ)
    from fake_torch_dist.launcher.commandline.choices import config_of  # after parse: --help needs none of it
    from fake_torch_dist.launcher.entrypoint.preflight import check_entrypoint
    from fake_torch_dist.launcher.entrypoint.streamed_script import with_streamed_script

    config = config_of(parsed, os.environ)
    _check_directory(config)
    config = with_streamed_script(config)
    check_entrypoint(config)
    check_log_dir(config)
    check_room(config)
    for sentence in (*flags_without_meaning(parsed), *copies(config, os.environ)):
        write_stderr(f"{PROGRAM}: note: {sentence}\n")
    return config


def _check_directory(config: LaunchConfig) -> None:
    """Raise UsageError if the working directory is gone and the script or program is looked for there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        if config.kind == "module" or not os.path.isabs(config.entrypoint):
            raise UsageError(
                f"the working directory has been removed, so {config.entrypoint} can't be found: "
                "change to one that exists, or give a script's absolute path",
                exit_code=2,
            ) from None


def _as_python_reports(error: SyntaxError) -> str:
    import traceback

    return "".join(traceback.format_exception_only(error))


def copies(config: LaunchConfig, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence if srun or mpirun has started several launchers, each of which runs a job of its own."""
    step = environment.get("SLURM_STEP_ID", "").isdecimal()
    slurm = "SLURM_STEP_NUM_TASKS" if environment.get("SLURM_STEP_NUM_TASKS") else "SLURM_NTASKS"
    for name in ((slurm,) if step else ()) + ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        count = environment.get(name, "")
        if (config.max_nodes == 1 or config.emulated) and count.isdecimal() and int(count) > 1:
            yield (
                f"{name} is {count}, and each of these {PROGRAM} runs a job of its own. One job of all: "
                f"--nnodes {count} --rdzv-backend c10d --rdzv-id ID --rdzv-endpoint HOST:PORT"
            )
            return


def check_log_dir(config: LaunchConfig) -> None:
    """Make the directory for log files, as torchrun does. Raises UsageError if no file can be written there."""
    directory = config.log_dir
    if directory is None or os.fspath(directory) == os.devnull:
        return
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"log_dir: {directory} is a file: log files need a directory; give another --log-dir")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13), str(directory))
    except OSError as error:
        raise UsageError(f"{error}: log files can't be written there; give another --log-dir") from None


def check_room(config: LaunchConfig, proc: str = "/proc", cgroups: str = "/sys/fs/cgroup") -> None:
    """Raise UsageError if this system does not allow so many processes, or so many open files in the launcher."""
    import resource

    nodes = config.max_nodes if config.emulated else 1
    ranks = nodes * config.nproc_per_node
    agents = nodes if config.emulated else 0
    wanted = f"{ranks} ranks" + (f" and {agents} agents" if agents else "")
    for name, most, used in _process_limits(proc, cgroups):
        if used + ranks + agents > most:
            raise UsageError(
                f"[Errno 11] Resource temporarily unavailable: {wanted} are too many processes: "
                f"{name} is {most} and {used} are there; start fewer, or raise it"
            )
    files = DESCRIPTORS_PER_RANK * ranks + DESCRIPTORS_PER_NODE * nodes + DESCRIPTORS_BESIDES
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and files > most:
        raise UsageError(
            f"[Errno 24] Too many open files: {wanted} need {files} in the launcher: "
            f"RLIMIT_NOFILE (ulimit -Hn) is {most}; start fewer, or raise it"
        )


def _process_limits(proc: str, cgroups: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, value and present number of processes of each limit on processes."""
    import resource

    processes = [entry for entry in os.scandir(proc) if entry.name.isdigit()] if os.path.isdir(proc) else []
    most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if most != resource.RLIM_INFINITY and os.getuid() != 0:  # root is not held to it
        yield "RLIMIT_NPROC (ulimit -u)", most, sum(_owner(entry.path) == os.getuid() for entry in processes)
    pid_max = _read(os.path.join(proc, "sys/kernel/pid_max"))
    if pid_max:
        yield "kernel.pid_max", int(pid_max), len(processes)
    for directory in _cgroups_of_processes(_read(os.path.join(proc, "self/cgroup")), cgroups):
        file = os.path.join(directory, "pids.max")
        allowed = _read(file)
        if allowed.isdigit():
            yield file, int(allowed), int(_read(os.path.join(directory, "pids.current")) or 0)


def _cgroups_of_processes(membership: str, cgroups: str) -> Iterator[str]:
    """Directories of the groups that count this process, innermost first; version 1 and 2."""
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "pids" not in controllers.split(","):
            continue
        top = os.path.join(cgroups, "pids") if controllers else cgroups
        parts = path.strip("/").split("/")
        for depth in range(len(parts), -1, -1):
            yield os.path.join(top, *parts[:depth])


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid
    except OSError:  # it has ended
        return None


def _read(path: str) -> str:
    """A small file's text; nothing if it can't be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
