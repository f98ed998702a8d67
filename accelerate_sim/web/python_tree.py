"""Puts together the Python files of the page: numpy, pure packages, both packages of the project, and the stand-ins."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from accelerate_sim.web.downloads import HERE, numpy_wheel

PURE = ("typer", "click", "tqdm", "colorlog", "typing_extensions", "pyyaml", "rich")
LEFT_OUT_OF_NUMPY = (
    "/tests/", "/f2py/", "/distutils/", "/_pyinstaller/", "/random/", "/include/", "/_core/lib/", ".dist-info/",
    "/testing/", "/ctypeslib", "/doc/",
)  # fmt: skip
"""Parts of numpy that neither numpy's own import nor a run needs."""
LEFT_OUT_OF_PURE = ("typer/rich_utils.py",)
"""Modules for help that rich draws. Nothing here needs them, and they would always be loaded."""
LEFT_OUT_OF_OURS = ("__pycache__", "calibration", "web", "*.md", "py.typed")
OF_WEB = ("__init__.py", "engine.py", "page_terminal.py")
"""Modules of this folder that run in the page."""


def make_tree(tree: Path, wheels: dict[str, Path], lock_file: Path) -> None:
    """Write all files into the directory ``tree``, which is the page's ``sys.path``."""
    _numpy(tree, wheels["gbdraw"], lock_file)
    make_pure_tree(tree, wheels)


def make_pure_tree(tree: Path, wheels: dict[str, Path]) -> None:
    """Write all files but numpy's into ``tree``."""
    for name in PURE:
        _pure(tree, wheels[name])
    _ours(tree)


def _numpy(tree: Path, carrier: Path, lock_file: Path) -> None:
    with numpy_wheel(carrier, lock_file) as wheel:
        for name in wheel.namelist():
            if name.endswith((".py", ".so")) and not any(part in name for part in LEFT_OUT_OF_NUMPY):
                wheel.extract(name, tree)


def _pure(tree: Path, path: Path) -> None:
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if name.endswith(".py") and name not in LEFT_OUT_OF_PURE]
        wheel.extractall(tree, names)


def _ours(tree: Path) -> None:
    import fake_torch_dist

    ours = HERE.parent, Path(str(fake_torch_dist.__file__)).parent
    for package in ours:
        shutil.copytree(package, tree / package.name, ignore=shutil.ignore_patterns(*LEFT_OUT_OF_OURS))
    web = tree / "accelerate_sim" / "web"
    web.mkdir()
    for name in OF_WEB:
        shutil.copy(HERE / name, web)
    shutil.copytree(HERE / "stand_ins" / "pydantic", tree / "pydantic", ignore=shutil.ignore_patterns("__pycache__"))
