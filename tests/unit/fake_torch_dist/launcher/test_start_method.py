"""Which scripts are forked, which get interpreters of their own, and what a fork leaves for the rank to import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fake_torch_dist.launcher.commandline.choices import config_of
from fake_torch_dist.launcher.commandline.parsed_arguments import parse
from fake_torch_dist.launcher.workers import preload, start_method
from fake_torch_dist.launcher.workers.top_level import UNKNOWN, read_top_level
from tests.support.launched import Jobs
from tests.support.repository import ROOT

IS_FORK = "\nimport sys\nprint('fake_torch_dist.run' in sys.modules or 'fake_torch_dist.launcher' in sys.modules)\n"
"""Only a fork has the launcher's modules in it."""


@pytest.fixture
def unobserved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if this interpreter, in which a test runs, were a launcher's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start_method, "is_observed", lambda: False)
    return tmp_path


def is_forked(*words: str) -> bool:
    return start_method.forked_sources(config_of(parse(list(words), {}), {})) is not None


@pytest.mark.parametrize(
    ("script", "forked"),
    [
        ("import fake_torch_dist as dist", True),
        ("from accelerate_sim import Accelerator", True),
        ("import fake_torch_dist.rendezvous", True),
        ('"""Doc."""\nfrom __future__ import annotations\nimport os, sys\nimport accelerate_sim\nx = 1', True),
        ("import os\nos.environ['A'] = '1'\nimport fake_torch_dist", False),
        ("try:\n    import torch\nexcept ImportError:\n    import fake_torch_dist", False),
        ("import sys\nimport fake_torch_dist\nsys.path.insert(0, 'lib')\nimport json", False),
        ("import fake_torch_distant", False),
        ("import torch", False),
        ("print('fake_torch_dist')", False),
        ("'fake_torch_dist'\n'accelerate_sim'\nimport fake_torch_dist", False),
        ("", False),
    ],
)
def test_a_script_that_begins_with_one_of_our_packages_is_forked(unobserved: Path, script: str, forked: bool) -> None:
    (unobserved / "job.py").write_text(script)
    assert is_forked("job.py") == is_forked("--start-method", "auto", "job.py") == forked
    assert not is_forked("--start-method", "spawn", "job.py")
    assert not is_forked("--run-path", "job.py")


def test_train_py_is_forked(unobserved: Path) -> None:
    assert is_forked(str(ROOT / "train.py"))


def test_what_can_be_forked_is_forked_if_asked(unobserved: Path) -> None:
    (unobserved / "job.py").write_text("print()")
    (unobserved / "moves.py").write_text("import sys\nsys.path += ['lib']")
    (unobserved / "folder").mkdir()
    (unobserved / "folder" / "__main__.py").write_text("import fake_torch_dist")
    for method in ("fork", "forkserver"):
        assert is_forked("--start-method", method, "job.py")
        assert is_forked("--start-method", method, "-m", "job")
        assert is_forked("--start-method", method, "--run-path", "job.py")
        assert not is_forked("--start-method", method, "moves.py")
        assert not is_forked("--start-method", method, "folder")
        assert not is_forked("--start-method", method, "--no-python", "true")


def test_modules_are_judged_with_the_packages_that_are_imported_before_them(unobserved: Path) -> None:
    for package, init in (("plain", ""), ("busy", "print('busy')"), ("ours", "import fake_torch_dist")):
        (unobserved / package).mkdir()
        (unobserved / package / "__init__.py").write_text(init)
        (unobserved / package / "job.py").write_text("import accelerate_sim")
        (unobserved / package / "__main__.py").write_text("print()")
    (unobserved / "namespace" / "deep").mkdir(parents=True)
    (unobserved / "namespace" / "deep" / "job.py").write_text("import accelerate_sim")
    names = ("plain.job", "busy.job", "namespace.deep.job", "plain", "ours", "no.such", "json.tool")
    assert [is_forked("-m", name) for name in names] == [True, False, True, False, True, False, False]


def test_a_copy_of_our_package_beside_the_script_is_a_strangers(unobserved: Path) -> None:
    (unobserved / "job.py").write_text("import fake_torch_dist")
    (unobserved / "fake_torch_dist.py").write_text("whose = 'mine'")
    assert not is_forked("job.py")


@pytest.mark.parametrize(
    ("variables", "options", "forked"),
    [
        ({}, [], True),
        ({}, ["-u"], True),
        ({}, ["-O"], False),
        ({}, ["-X", "faulthandler"], False),
        ({"PYTHONPATH": "site"}, [], False),
        ({"PYTHONDEVMODE": "1"}, [], True),
    ],
)
def test_an_interpreter_with_somebody_in_it_is_not_forked(
    jobs: Jobs, variables: dict[str, str], options: list[str], forked: bool
) -> None:
    (jobs.directory / "site").mkdir()
    (jobs.directory / "site" / "sitecustomize.py").write_text("import os\nrank = os.environ.get('RANK')")
    (jobs.directory / "job.py").write_text("import fake_torch_dist" + IS_FORK)
    path = os.pathsep.join([str(ROOT), *filter(None, [variables.pop("PYTHONPATH", "")])])
    done = subprocess.run(
        [sys.executable, *options, "-m", "fake_torch_dist.run", "job.py"], cwd=jobs.directory, text=True,
        env=os.environ | variables | {"PYTHONPATH": path}, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(forked)


def test_what_changes_the_path_is_seen() -> None:
    changing = (
        "import sys\nsys.path.insert(0, 'x')", "import sys\nsys.path[:0] = ['x']", "import sys\nsys.path = []",
        "from sys import path", "import sys\nsys.path += ['x']", "import site\nsite.addsitedir('x')",
        "import sys\ndef f(): sys.path.append('x')", "import sys\ndel sys.path[0]",
    )  # fmt: skip
    assert all(read_top_level([text.encode()]).changes_path for text in changing)
    assert not read_top_level([b"import os, sys\nprint(sys.path, sys.path[0], os.path.join('a'))"]).changes_path


def test_imports_before_any_other_statement_are_read_in_order() -> None:
    read = read_top_level([b'"doc"\nimport a.b, c\nfrom d import e\nfrom . import f', b"import g\nx = 1", b"import h"])
    assert read.imports == ("a.b", "c", "d", UNKNOWN, "g")


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(preload.importlib, "import_module", names.append)
    return names


def test_importing_ahead_ends_at_the_first_module_that_may_do_something(
    tmp_path: Path, imported: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    preload.import_ahead(["sys", "json", "numpy", "mine", "tqdm"], str(tmp_path))
    assert imported == ["json", "numpy"]


@pytest.mark.parametrize("where", ["beside the script", "PYTHONPATH"])
def test_the_users_own_copy_is_not_imported_ahead(
    tmp_path: Path, imported: list[str], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    for name in ("statistics", "tqdm"):
        (tmp_path / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path) if where == "PYTHONPATH" else "")
    for name in ("statistics", "tqdm"):
        preload.import_ahead([name], str(tmp_path if where == "beside the script" else tmp_path / "elsewhere"))
    assert imported == []


@pytest.mark.parametrize(
    ("variables", "ahead"),
    [
        ({"OMP_NUM_THREADS": "1"}, True),
        ({"OMP_NUM_THREADS": "2"}, False),
        ({"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}, True),
        ({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "4"}, False),
    ],
)
def test_numpy_is_imported_ahead_only_with_one_thread(
    imported: list[str], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], ahead: bool
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    preload.import_ahead(["numpy"], "/nowhere")
    assert imported == (["numpy"] if ahead else [])


def test_variables_set_before_an_import_count_in_forks_too(jobs: Jobs) -> None:
    script = """
import os
if os.environ["RANK"] != "0":
    os.environ["TQDM_DISABLE"] = "1"
from tqdm import tqdm
print(os.environ["RANK"], tqdm([1]).disable)
"""
    for method in ("fork", "auto"):
        ended = jobs.run(script, "--nproc-per-node", "3", "--start-method", method)
        assert sorted(ended.lines) == ["0 False", "1 True", "2 True"]


@pytest.mark.parametrize("method", ["fork", "auto"])
def test_modules_on_a_path_of_the_users_are_imported_by_each_rank(jobs: Jobs, method: str) -> None:
    """Also those whose names Python or the launcher uses, wherever they lie."""
    for folder, names in (("lib", ("statistics", "selectors")), ("own", ("profile", "calendar"))):
        (jobs.directory / folder).mkdir()
        for name in names:
            (jobs.directory / folder / f"{name}.py").write_text("import os\nrank = os.environ.get('RANK')")
    moved = (
        "import sys\nsys.path.insert(0, 'lib')\nimport statistics, selectors\nprint(statistics.rank, selectors.rank)"
    )
    ended = jobs.run(moved, "--nproc-per-node", "2", "--start-method", method)
    assert sorted(ended.lines) == ["0 0", "1 1"]
    path = os.pathsep.join([str(ROOT), str(jobs.directory / "own")])
    ended = jobs.run(
        "import profile, calendar\nprint(profile.rank, calendar.rank)", "--nproc-per-node", "2", "--start-method",
        method, PYTHONPATH=path,
    )  # fmt: skip
    assert sorted(ended.lines) == ["0 0", "1 1"]


def test_a_launcher_of_fresh_interpreters_loads_little(jobs: Jobs) -> None:
    (jobs.directory / "job.py").write_text("import numpy, tqdm")
    launcher = "import sys\nfrom fake_torch_dist.run import main\nmain(['job.py'])\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", launcher], cwd=jobs.directory, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert "fake_torch_dist.launcher.launch" in loaded
    assert not loaded & {"numpy", "tqdm", "colorlog", "yaml", "threading", "logging", "subprocess"}
