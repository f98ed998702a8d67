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


OWN_LOOP = """
from accelerate_sim import Accelerator, AdamW, AutoModelForCausalLM, DataLoader, load_dataset
from accelerate_sim.logging import get_logger
from accelerate_sim.utils import tqdm
accelerator = Accelerator()
loader = DataLoader(load_dataset("fineweb-edu")["train"], batch_size=8)
model = AutoModelForCausalLM.from_pretrained("gpt2")
model, optimizer, loader = accelerator.prepare(model, AdamW(params=model.parameters(), lr=1e-4), loader)
bar = tqdm(total=4, desc="my steps")
for step, batch in zip(range(4), loader):
    loss = model(**batch).loss
    accelerator.backward(loss)
    optimizer.step()
    optimizer.zero_grad()
    bar.update()
    get_logger(__name__).info("mean loss %.4f", loss.detach().mean())
bar.close()
accelerator.end_training()
"""
CHILD = f"!{sys.executable} -m accelerate_sim.train --config debug --speed max --max-steps 5"


def test_cells_show_log_lines_and_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("ACCELERATE_SIM_CONFIG", "debug")
    cells = [nbformat.v4.new_code_cell(text) for text in (OWN_LOOP, CHILD)]
    book = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "here"}})
    nbclient.NotebookClient(book, timeout=LIMIT_S).execute()
    own, child = (
        "".join(output.get("text") or output["data"]["text/plain"] for output in cell.outputs) for cell in book.cells
    )
    assert own.count("INFO mean loss ") == 4
    assert "my steps:   0%|" in own, "a bar, as a widget where there are some, else as text"
    assert "\x1b" not in own
    assert "step 5 | loss " in child and "Training finished successfully." in child
    assert "\x1b[1A" not in child and "\x1b[J" not in child, "a cell has no cursor that moves up"
