"""``tests/oldest.txt`` has the lower bound of every dependency, so that what is allowed is what is tested."""

import re
import tomllib

from tests.support.repository import ROOT


def test_the_oldest_versions_are_those_that_are_allowed():
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    allowed = dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", each).groups() for each in needed)
    lines = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {name: version.removesuffix(".0") for name, version in tested.items()} == {
        name: version.removesuffix(".0") for name, version in allowed.items()
    }
