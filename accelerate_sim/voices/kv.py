"""The kv voice: one line a record, a time in RFC 3339 and then ``key=value`` fields, as logfmt has them.

Readers: Katib's text collector (the first word is the time, ``name=number`` a metric), Loki's logfmt, mtail, lnav. A
validation's figures are called ``eval_loss`` and ``eval_perplexity``, so that ``loss`` is the training loss alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from accelerate_sim.records import EvalRecord, GpuRecord, RankStepRecord, Record, StartRecord, StepRecord
from accelerate_sim.records.timestamps import rfc3339
from accelerate_sim.voices.voice import Line, Voice, VoiceState, Wording

_BARE = re.compile(r'[^\s"=]+')
EVENTS = {"CheckpointRecord": "checkpoint_saved", "WarningRecord": "warning", "EvalRecord": "eval"}
"""Events that are not called like their records."""


def _step(record: StepRecord, state: VoiceState) -> Iterator[Line]:
    if record.step % state.run.log_every:
        return
    balance = record.load_balancing_loss
    more = "" if balance is None else f" load_balancing_loss={balance}"
    yield Line(
        f"{rfc3339(record.time)} rank=0 event=step step={record.step} epoch={record.epoch} loss={record.loss} "
        f"perplexity={record.perplexity} grad_norm={record.grad_norm} lr={record.lr} step_time_s={record.step_time_s} "
        f"tokens={record.tokens} tokens_per_s={record.tokens_per_s} mfu={record.mfu} "
        f"memory_used_bytes={record.memory_used_bytes}{more}"
    )


def _rank_step(record: RankStepRecord, state: VoiceState) -> Iterator[Line]:
    yield Line(
        f"{rfc3339(record.time)} rank={record.rank} event=rank_step step={record.step} node={record.node} "
        f"own_loss={record.loss} memory_used_bytes={record.memory_used_bytes} data_wait_s={record.data_wait_s} "
        f"node_tokens_per_s={record.node_tokens_per_s}",
        rank=record.rank,
    )


def _evaluation(record: EvalRecord, state: VoiceState) -> Iterator[Line]:
    yield Line(
        f"{rfc3339(state.now())} rank=0 event=eval step={record.step} epoch={record.epoch} eval_loss={record.loss} "
        f"eval_perplexity={record.perplexity} seconds={record.seconds} best={_value(record.best)}"
    )


def _of(kind: type) -> Wording:
    """The wording of any kind of record: its fields, in their order, after the name of its event."""
    name = kind.__name__
    event = EVENTS.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.removesuffix("Record")).lower()
    read = _reader(kind)

    def say(record: Any, state: VoiceState) -> Iterator[Line]:
        rank = getattr(record, "rank", 0)
        found = " ".join(f"{key}={_value(value)}" for key, value in read(record) if key != "rank" and value is not None)
        yield Line(f"{rfc3339(state.now())} rank={rank} event={event} {found}".rstrip(), rank=rank)

    return say


def _reader(kind: Any) -> Callable[[Any], Iterator[tuple[str, Any]]]:
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else list(kind._fields)

    def read(record: Any) -> Iterator[tuple[str, Any]]:
        for name in names:
            value = getattr(record, name)
            if isinstance(value, Mapping):
                yield from value.items()
            elif hasattr(value, "_asdict"):
                yield from ((f"{name}_{key}", item) for key, item in value._asdict().items())
            elif name != "files":
                yield name, value

    return read


def _value(value: object) -> str:
    """A value of a field; text that a reader would take for several words is quoted as JSON is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        value = "; ".join(map(str, value))
    text = str(value)
    return text if _BARE.fullmatch(text) and text.isprintable() else json.dumps(text)


LINES: Mapping[type, Wording] = {
    **{kind: _of(kind) for kind in get_args(Record) if kind not in (StartRecord, GpuRecord)},
    StepRecord: _step,
    RankStepRecord: _rank_step,
    EvalRecord: _evaluation,
}
"""Every kind of record but those that are for files or drawn."""

VOICE = Voice(LINES)
