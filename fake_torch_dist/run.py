"""``fake-torchrun``, also ``python -m fake_torch_dist.run``: read the command line, see that it can work, launch.

What can be seen to fail on every rank is said once, before anything starts: a missing script, a syntax error, a
directory that can't be written, more processes than this system allows. Exit codes are torchrun's: 2 for a command line
that argparse can't read, 1 for everything else.
"""

from __future__ import annotations

from .deadly_ctrl_c import DeadlyCtrlC

with DeadlyCtrlC():
    import os
    import signal
    import sys
    from collections.abc import Iterator, Sequence
    from typing import TYPE_CHECKING

    from .launcher.commandline.arguments import PROGRAM, UsageError, flags_without_meaning, parse
    from .launcher.ranks.descriptors import fill_standard, write_stderr

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from .launcher.commandline.config import LaunchConfig

DESCRIPTORS_PER_RANK = 3
"""Two pipes and a connection to the store, all held by the launcher."""
DESCRIPTORS_PER_NODE = 2
DESCRIPTORS_BESIDES = 32
"""Terminal, selector, sockets that listen, modules being imported."""
ZIP_BEGINNING = b"PK"
"""Python runs archives, too."""
PATH_OF_ITS_OWN = "__path__"
"""A package that names this may find its modules where only its own code knows."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says (None: this process's) and return the exit code."""
    try:
        with DeadlyCtrlC():
            fill_standard()
            config = _checked_config(arguments)
            from .launcher.launch import launch  # last: it loads numpy

            if signal.SIGINT in config.signals:
                return launch(config)  # its handler takes the place of the system's action
        return launch(config)
    except UsageError as error:
        write_stderr(f"{PROGRAM}: error: {error}\n")
    except SyntaxError as error:
        write_stderr(_as_python_reports(error))
    except KeyboardInterrupt:  # --signals-to-handle leaves it out
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return 1


def _checked_config(arguments: Sequence[str] | None) -> LaunchConfig:
    """What is to be launched. Raises UsageError, or SyntaxError if the script has one."""
    parsed = parse(arguments, os.environ)
    from .launcher.commandline.choices import config_of  # after parse: --help needs none of it

    config = config_of(parsed, os.environ)
    check_entrypoint(config)
    check_log_dir(config)
    check_room(config)
    for sentence in flags_without_meaning(parsed):
        write_stderr(f"{PROGRAM}: note: {sentence}\n")
    return config


def check_entrypoint(config: LaunchConfig) -> None:
    """Raise UsageError if there is no such script, module or program, SyntaxError if the script has one."""
    if config.kind == "program":
        _check_program(config.entrypoint)
        return
    if config.python is not None:
        _check_program(config.python)
    if config.kind != "module":
        _check_script(config)
    elif config.python is None:  # what another interpreter can import is not known here
        _check_module(config.entrypoint)


def _check_program(name: str) -> None:
    """As ``execvp`` would find it."""
    import shutil  # here, because most runs need none

    if shutil.which(name):
        return
    directories = [""] if os.path.dirname(name) else os.get_exec_path()
    if any(os.path.exists(os.path.join(directory, name)) for directory in directories):
        raise UsageError(f"[Errno 13] Permission denied: '{name}': it is no executable file; chmod +x makes it one")
    raise UsageError(f"[Errno 2] No such file or directory: '{name}': give the path of a program, or one in PATH")


def _check_script(config: LaunchConfig) -> None:
    name = config.entrypoint
    if os.path.isdir(name):  # Python runs what is in there
        if os.path.exists(os.path.join(name, "__main__.py")):
            return
        raise UsageError(f"can't find '__main__' module in '{name}': it is a directory; give a Python file")
    try:
        with open(name, "rb") as file:
            source = file.read()
    except OSError as error:
        raise UsageError(
            f"can't open file '{name}': [Errno {error.errno}] {error.strerror}: "
            f"ranks start in {os.getcwd()}; give a Python file's path from there"
        ) from None
    is_source = not (name.endswith(".pyc") or source.startswith(ZIP_BEGINNING))
    if config.kind == "script" and config.python is None and is_source:
        _check_syntax(source, os.path.join(os.getcwd(), name))


def _check_syntax(source: bytes, path: str) -> None:
    """Raise SyntaxError if this is no Python."""
    before, null, _ = source.partition(b"\0")
    if null:  # compile says it in another way with each version of Python, and never where
        *lines, last = before.split(b"\n")
        where = (path, len(lines) + 1, None, last.decode(errors="replace"))
        raise SyntaxError("source code cannot contain null bytes", where)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the ranks give them
        compile(source, path, "exec", dont_inherit=True)


def _as_python_reports(error: SyntaxError) -> str:
    import traceback

    return "".join(traceback.format_exception_only(error))


def _check_module(name: str) -> None:
    """Look for it as ``python -m`` does, but import nothing."""
    parent: ModuleSpec | None = None
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        spec = _module_spec(".".join(parts[:depth]), parent)
        if spec is None:
            if parent is not None and PATH_OF_ITS_OWN in _source(parent):
                return
            hint = f"try {name[:-3]}" if name.endswith(".py") else f"looked in {os.getcwd()} and sys.path"
            raise UsageError(f"No module named {name}: {hint}")
        parent = spec
    if (
        parent is not None
        and parent.submodule_search_locations is not None
        and _module_spec(f"{name}.__main__", parent) is None
        and PATH_OF_ITS_OWN not in _source(parent)
    ):
        raise UsageError(
            f"No module named {name}.__main__; '{name}' is a package and cannot be directly executed: "
            "give a module in it"
        )


def _module_spec(name: str, parent: ModuleSpec | None) -> ModuleSpec | None:
    from importlib.machinery import PathFinder

    if parent is None:
        here = PathFinder.find_spec(name, [os.getcwd()])
        found = (finder.find_spec(name, None) for finder in sys.meta_path)
        return here or next(filter(None, found), None)
    if parent.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(name, parent.submodule_search_locations)


def _source(spec: ModuleSpec) -> str:
    """Of a package's ``__init__``; nothing if it has none."""
    get_source = getattr(spec.loader, "get_source", None)
    return (get_source(spec.name) or "") if get_source else ""


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
    """Of each limit on processes its name, its value, and how many there are already."""
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
