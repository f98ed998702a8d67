"""The table at the end of a run."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.display.style import Style, columns
from accelerate_sim.display.summary import summary_table
from accelerate_sim.records import SummaryRecord

RECORD = SummaryRecord(
    run=1, model="Llama-3-70B", parameters=70_553_706_496, gpus=64, gpu="H100-SXM", total_time_s=93_784.0,
    train_time_s=92_700.4, epochs=3, steps=3000, tokens=3_145_728_000, final_loss=1.8123, final_perplexity=6.1246,
    best_loss=1.9011, best_perplexity=6.6933, mean_tokens_per_s=42_382.4, mean_mfu=0.3224,
    mean_gpu_utilization_pct=98.6, peak_memory_bytes=48_958_013_440, energy_j=1.84428e9,
    export_path="/data/runs/llama70b/export", export_bytes=141_107_412_992,
)  # fmt: skip


def test_the_box_is_as_wide_as_its_figures() -> None:
    assert summary_table(RECORD, 120, Style()) == [
        "╭────────────────────────────────────────────────────╮",
        "│ Run 1: Llama-3-70B                                 │",
        "├─ Time ─────────────────────────────────────────────┤",
        "│   Total             1d 02:03:04                    │",
        "│   Training          1d 01:45:00  (98.8%)           │",
        "├─ Training ─────────────────────────────────────────┤",
        "│   Epochs            3                              │",
        "│   Steps             3,000                          │",
        "│   Tokens            3.15B  (3,145,728,000)         │",
        "│   Throughput        42,382 tokens/s  (662 per GPU) │",
        "│   MFU               32.2%                          │",
        "├─ Loss ─────────────────────────────────────────────┤",
        "│   Final loss        1.8123                         │",
        "│   Final perplexity  6.12                           │",
        "│   Best loss         1.9011  (validation)           │",
        "│   Best perplexity   6.69  (validation)             │",
        "├─ Hardware ─────────────────────────────────────────┤",
        "│   GPUs              64 × H100-SXM                  │",
        "│   Mean utilization  98.6%                          │",
        "│   Peak memory       45.6 GiB                       │",
        "│   Energy            512.3 kWh  (mean 19.7 kW)      │",
        "├─ Model ────────────────────────────────────────────┤",
        "│   Parameters        70.55B  (70,553,706,496)       │",
        "│   Size              141.1 GB                       │",
        "│   Saved to          /data/runs/llama70b/export     │",
        "╰────────────────────────────────────────────────────╯",
    ]


def test_a_run_that_has_not_validated_or_exported_says_nothing_of_it() -> None:
    record = replace(RECORD, best_loss=1.8123, best_perplexity=6.1246, export_path="", export_bytes=0)
    text = "\n".join(summary_table(record, 120, Style()))
    assert "Best loss         1.8123  " in text
    assert not any(words in text for words in ("(validation)", "Saved to", "0 B"))


def test_what_does_not_fit_gives_way_to_the_figures() -> None:
    lines = summary_table(RECORD, 40, Style(ascii=True))
    assert lines[0] == "+-------------------------------------+"
    assert lines[9] == "|   Throughput        42,382 tokens/s |"
    assert lines[-2] == "|   Saved to          ~lama70b/export |"


def test_a_step_time_that_no_gpu_could_keep_has_no_mfu() -> None:
    assert "  MFU               n/a" in "".join(summary_table(replace(RECORD, mean_mfu=12.0), 80, Style()))


NAMES = st.sampled_from(["Llama-3-70B", "节点" * 20, "a" * 100, ""])


@given(width=st.integers(20, 200), name=NAMES, figure=st.floats(0.0, 1e12), ascii_only=st.booleans())
def test_it_is_a_box_at_every_width(width: int, name: str, figure: float, ascii_only: bool) -> None:
    record = replace(RECORD, model=name, export_path=f"/{name}", mean_tokens_per_s=figure, total_time_s=figure)
    lines = summary_table(record, width, Style(ascii=ascii_only))
    assert len(set(map(columns, lines))) == 1
    assert columns(lines[0]) <= width - 1
    painted = summary_table(record, width, Style(color=True, ascii=ascii_only))
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in painted] == lines
