"""The commands that build and serve the page say what is wrong, and never replace what is not theirs."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from accelerate_sim.web.__main__ import main
from accelerate_sim.web.building import MARK
from accelerate_sim.web.downloads import HERE, PINNED, BuildError, require_sha256
from accelerate_sim.web.serving import address, server_of


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A directory that looks like a built page."""
    (tmp_path / MARK).write_text("{}")
    (tmp_path / "app.mjs").write_text("export {};")
    return tmp_path


@pytest.fixture
def site(page: Path) -> Iterator[str]:
    """The address of a served page."""
    with server_of(page, 0) as server, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(server.serve_forever, 0.01)
        yield address(server)
        server.shutdown()
        serving.result(timeout=30)


def test_a_directory_of_others_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "thesis.tex").write_text("all of it")
    assert main(["build", str(tmp_path)]) == 2
    assert "exists and is no page that was built before. Name another directory." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_is_not_built_is_not_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["serve", str(tmp_path)]) == 2
    assert f"Build it first: python -m accelerate_sim.web build {tmp_path}" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(page: Path):
    with server_of(page, 0) as server:
        port = int(server.server_address[1])
        with pytest.raises(BuildError, match=rf"Port {port} of 127\.0\.0\.1 can't be used: .*--port"):
            server_of(page, port)


def test_a_page_is_served_with_the_types_that_it_needs(site: str):
    with urllib.request.urlopen(site + "app.mjs", timeout=30) as answer:
        assert answer.headers["Content-Type"] == "text/javascript"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(site + "missing", timeout=30)


def test_a_file_that_is_not_the_pinned_one_is_refused():
    require_sha256(b"x", hashlib.sha256(b"x").hexdigest(), "x.whl")
    with pytest.raises(BuildError, match=r"x\.whl has SHA-256 .*Nothing has been built from it"):
        require_sha256(b"y", hashlib.sha256(b"x").hexdigest(), "x.whl")


def test_every_wheel_is_pinned_by_version_and_hash():
    lines = [line for line in PINNED.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert lines and all("==" in line and "--hash=sha256:" in line for line in lines)


def test_sizes_of_intros_are_those_of_the_page():
    from accelerate_sim.web.intros import SIZES

    assert f"const SIZES = {json.dumps(SIZES)};" in (HERE / "page" / "terminal.mjs").read_text(encoding="utf-8")


def test_the_page_offers_each_shipped_config():
    from accelerate_sim.config.shipped import shipped_configs

    offered = re.search(r"const CONFIGS = \[(.*?)\]", (HERE / "page" / "controls.mjs").read_text(encoding="utf-8"))
    assert offered and set(re.findall(r"'([^']+)'", offered[1])) == set(shipped_configs())


def test_the_page_asks_for_nothing_from_elsewhere():
    sources = {
        path: path.read_text(encoding="utf-8") for path in sorted((HERE / "page").glob("*.*")) if path.suffix != ".png"
    }
    foreign = [path.name for path, text in sources.items() if "https://" in text or "//cdn" in text]
    assert len(sources) > 10 and not foreign
