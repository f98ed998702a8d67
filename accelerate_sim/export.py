"""Export of the finished model in Hugging Face's layout: merged, converted, serialised, and written in shards.

What it does not do: give the weights values. On the disk they are holes of the true size.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.modeling import CausalLM, Tokenizer, timed_bar
from accelerate_sim.progress import tqdm
from accelerate_sim.records import ExportFileRecord, ExportingRecord, ExportRecord
from accelerate_sim.session.session import Session

if TYPE_CHECKING:
    from accelerate_sim.sim.run import Run


def export_model(model: CausalLM, tokenizer: Tokenizer, path: Path) -> None:
    """Write weights, configs and tokenizer below ``path`` in the main process. Raises OutputError."""
    from accelerate_sim.artifacts.model_files import model_images
    from accelerate_sim.sim import storage

    run, session = model.run, Session.current()
    if not session.is_main_process:
        return
    shape, times = run.model.architecture, run.export_times
    session.clock.set_speed(run.config.run.startup_speed or run.config.run.speed)
    session.report(ExportingRecord(run.model.title, str(path)))
    checkpoints = session.active.checkpoints if session.active and model.progress else None
    if model.progress:
        model.progress.begin_export()
    begin_s = session.clock.now_s
    num_tensors = sum(1 for _ in shape.tensors())
    timed_bar(session, "Merging weights of all ranks", run.layout.world_size, times.merge, "rank")
    timed_bar(session, "Optimizing for inference", shape.layers, times.optimize, "layer")
    timed_bar(session, "Serializing to safetensors", num_tensors, times.serialize, "tensor")
    shards = storage.shards(shape)
    _write_shards(run, session, shards)
    session.clock.advance_to(begin_s + times.total)
    weights, others = model_images(run.model, checkpoints.sizes if checkpoints else "sparse")
    if checkpoints:
        checkpoints.export(path, [*weights, *others])
    companions = [(image.name, image.size_bytes) for image in others]
    for name, size in companions:
        session.report(ExportFileRecord(name, size, 0, len(shards)))
    total = sum(size for _, size in shards)
    session.report(ExportRecord(run.number, str(path), (*shards, *companions), total, times.total, len(shards)))


def _write_shards(run: Run, session: Session, shards: list[tuple[str, int]]) -> None:
    """Let the time of the writing pass, for each shard its part; logs the shards."""
    begin_s, total, written = session.clock.now_s, run.export_bytes, 0
    with tqdm(total=len(shards), desc="Writing shards", unit="file", parts=1) as bar:
        for number, (name, size) in enumerate(shards, 1):
            written += size
            session.clock.advance_to(begin_s + run.export_times.write * written / total)
            session.report(ExportFileRecord(name, size, number, len(shards)))
            bar.update()
