"""The Python API in cells of a real Jupyter kernel: one run after the other and side by side."""

import sys

import pytest

pytestmark = pytest.mark.real
LIMIT_S = 120

ONE_AFTER_THE_OTHER = """
from datetime import datetime
from accelerate_sim.api import StepRecord, play
START = datetime(2026, 1, 1)
def losses(played):
    return [record.loss for record in played if isinstance(record, StepRecord)]
alone = [losses(play("debug", seed=seed, start=START, voice="hf@5")) for seed in (1, 2)]
assert len(alone[0]) == 20 and alone[0] != alone[1]
"""
SIDE_BY_SIDE = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as pool:
    together = list(pool.map(lambda seed: losses(play("debug", seed=seed, start=START, voice="hf@5")), (1, 2)))
assert together == alone
print("they agree")
"""


def test_runs_in_a_notebook_do_not_disturb_each_other() -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = [nbformat.v4.new_code_cell(text) for text in (ONE_AFTER_THE_OTHER, SIDE_BY_SIDE)]
    kernel = {"name": "python3", "display_name": sys.executable}
    book = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbclient.NotebookClient(book, timeout=LIMIT_S).execute()
    assert not book.cells[0].outputs, "nothing is printed"
    assert [output["text"] for output in book.cells[1].outputs] == ["they agree\n"]
