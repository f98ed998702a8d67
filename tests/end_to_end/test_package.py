"""The wheel and the sdist hold everything: their commands run in a new environment, far from the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.repository import ROOT

pytestmark = pytest.mark.slow

LIMIT_S = 300


def run(command: Sequence[str | Path], cwd: Path) -> str:
    """Standard output of a command that has to succeed."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=cwd, env=kept, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def source_tree(directory: Path) -> Path:
    """A copy of the files that git tracks, so that nothing else of a working tree gets into a package."""
    tree = directory / "source"
    names = run(["git", "ls-files", "-z"], ROOT).split("\0")
    for name in filter(None, names):
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    return tree


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def commands(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the commands of a new environment into which the package was installed.

    The dependencies are those of this environment; only the package itself is built and installed.
    """
    directory = tmp_path_factory.mktemp(request.param)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    source = source_tree(directory)
    if request.param == "sdist":
        run([*pip, "install", "-q", "--target", directory / "backend", "setuptools>=77"], directory)
        program = f"import sys; sys.path.insert(0, {str(directory / 'backend')!r}); import setuptools.build_meta as b"
        run([sys.executable, "-c", f"{program}; b.build_sdist({str(directory)!r})"], source)
        (source,) = directory.glob("*.tar.gz")
    run([*pip, "wheel", "-q", "--no-deps", "-w", directory / "wheels", source], directory)
    (wheel,) = (directory / "wheels").glob("*.whl")
    venv.create(directory / "new", with_pip=False)
    (site,) = (directory / "new").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    run([*pip, "--python", directory / "new/bin/python", "install", "-q", "--no-deps", wheel], directory)
    shutil.rmtree(directory / "source", ignore_errors=True)
    return directory / "new" / "bin"


def test_fake_train_plays_a_shipped_config(commands: Path, tmp_path: Path) -> None:
    out = run([commands / "fake-train", "--config", "debug", "--speed", "max"], tmp_path)
    assert "step 20 |" in out and "Training finished successfully" in out


def test_fake_train_lists_the_shipped_configs(commands: Path, tmp_path: Path) -> None:
    out = run([commands / "fake-train", "--list", "configs"], tmp_path)
    assert {path.stem for path in (ROOT / "configs").glob("*.yaml")} <= set(out.replace(".yaml", "").split())


def test_files_for_other_programs_stay_in_the_repository(commands: Path) -> None:
    assert not list(commands.parent.rglob("launchers"))


def test_fake_torchrun_launches_the_shipped_script(commands: Path, tmp_path: Path) -> None:
    job = ["--nnodes", "2", "--nproc-per-node", "2", "-m", "accelerate_sim.train"]
    out = run([commands / "fake-torchrun", *job, "--config", "debug", "--speed", "max"], tmp_path)
    assert "[Rank 3/4]" in out and "Training finished successfully" in out


def test_fake_nvidia_smi_says_that_nothing_runs_or_lists_gpus(commands: Path, tmp_path: Path) -> None:
    assert "fake-nvidia-smi" in run([commands / "fake-nvidia-smi", "--help"], tmp_path).lower()


def test_the_page_can_be_built_from_the_package(commands: Path, tmp_path: Path) -> None:
    """Its sources are there; the build itself takes downloads."""
    program = "import accelerate_sim.web as web; print(web.__path__[0])"
    installed = Path(run([commands / "python", "-c", program], tmp_path).strip())
    sources = {path.relative_to(ROOT / "accelerate_sim/web") for path in (ROOT / "accelerate_sim/web").rglob("*.*")}
    wanted = {path for path in sources if path.suffix not in (".md", ".pyc")}
    assert len(wanted) > 30 and {path for path in wanted if not (installed / path).exists()} == set()
    assert "build" in run([commands / "python", "-m", "accelerate_sim.web", "--help"], tmp_path)
