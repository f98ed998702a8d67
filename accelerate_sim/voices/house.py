"""Records as sentences of the log. Pure: a record in, a line out, without time and rank."""

from accelerate_sim.display.units import bytes_text, gib_text, mfu_text
from accelerate_sim.records import CheckpointRecord, CollectiveRecord, EvalRecord, StepRecord
from fake_torch_dist.terminal.descriptor import printable


def step_line(record: StepRecord, memory_total_bytes: int) -> str:
    """The detail line of a step."""
    return (
        f"step {record.step} | loss {record.loss:.4f} | ppl {perplexity_text(record.perplexity)} | "
        f"grad_norm {record.grad_norm:.3f} | lr {record.lr:.2e} | tokens/s {record.tokens_per_s:,.0f} | "
        f"MFU {mfu_text(record.mfu)} | mem {record.memory_used_bytes / 2**30:.1f}/{gib_text(memory_total_bytes)}"
    )


def perplexity_text(perplexity: float) -> str:
    return f"{perplexity:,.2f}"


def collective_line(record: CollectiveRecord) -> str:
    """A timed collective, in the terms of nccl-tests."""
    where = f"{record.nodes} nodes" if record.nodes > 1 else "1 node"
    return (
        f"NCCL {record.collective} ({record.axis} parallel) | {message_text(record.bytes)} over {record.ranks} ranks, "
        f"{where} | {record.algorithm}/{record.protocol} | {record.seconds * 1e3:.3f} ms | "
        f"algbw {record.algbw_bytes_per_s / 1e9:.1f} GB/s | busbw {record.busbw_bytes_per_s / 1e9:.1f} GB/s"
    )


def message_text(size_bytes: int) -> str:
    """Size of a message, exact enough to check a bandwidth by."""
    return f"{size_bytes / 1e6:,.1f} MB"


def evaluation_line(record: EvalRecord) -> str:
    verdict = "best so far" if record.best else "not the best so far"
    return (
        f"Validation | loss {record.loss:.4f} | ppl {perplexity_text(record.perplexity)} | "
        f"{record.seconds:.1f} s | {verdict}"
    )


def checkpoint_line(record: CheckpointRecord) -> str:
    rate = record.bytes / record.seconds / 1e9
    path, size = printable(record.path), bytes_text(record.bytes)
    return f"Checkpoint saved: {path} | {size} | {record.seconds:.1f} s | {rate:.1f} GB/s"
