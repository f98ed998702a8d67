"""The set-up lines of Megatron-LM's voice: its arguments, its initialization, the model and the datasets.

Sources: the modules arguments, initialize, training, core.datasets and pretrain_gpt at core 0.15.0 and 0.19.0. Not
played: the dumps of configurations of the optimizer, the gradient buckets and the datasets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from accelerate_sim.records import (
    DataRecord,
    DetectRecord,
    LaunchRecord,
    ModelLoadedRecord,
    RestoredRecord,
    RestoringRecord,
    TokenizerRecord,
)
from accelerate_sim.records.timestamps import to_microseconds
from accelerate_sim.sim.memory.memory import parameters_per_rank
from accelerate_sim.voices.megatron_arguments import DECAY_STYLES, arguments
from accelerate_sim.voices.megatron_state import Megatron
from accelerate_sim.voices.voice import Line, Wording

START_UP = {
    "startup-library-setup": 0.55, "startup-program-setup": 0.03, "startup-initialize-megatron": 0.4,
    "startup-set-jit-fusion-options": 0.01, "all-reduce-start-timestamps-tensor": 0.01,
}  # fmt: skip
"""Shares of the time from the first process to the end of the initialization, by the timer; core 0.19 prints them."""
COMPILE_SECONDS = {"0.15": 0.049, "0.19": 0.052, "plain": 0.047}
"""Time that the builder of dataset indexes takes when it is compiled already, by version."""
VERSIONS = {
    "PyTorch version ................": "2.9.0",
    "Megatron-Core version ..........": "0.19.0",
    "Transformer Engine version ...": "2.10.0",
}


def _launch(record: LaunchRecord, state: Megatron) -> Iterator[Line]:
    layout, train, world = state.plan.layout, state.plan.config.train, state.run.world_size
    if state.micros:
        for what, release in VERSIONS.items():
            yield Line(f"> {what} {release}")
    yield Line(
        f"using world size: {world}, data-parallel size: {layout.data}, "
        f"context-parallel size: {layout.context}, hierarchical context-parallel sizes: None, "
        f"tensor-model-parallel size: {layout.tensor}, pipeline-model-parallel size: {layout.pipeline}"
    )
    virtual = layout.virtual_stages if layout.virtual_stages > 1 else None
    yield Line(f"Number of virtual stages per pipeline stage: {virtual}")
    kind = "float16" if train.precision == "fp16" else "bfloat16"
    if kind == "bfloat16":
        yield Line("accumulate and all-reduce gradients in fp32 for bfloat16 data type.")
    yield Line(f"using torch.{kind} for parameters ...")
    yield Line("------------------------ arguments ------------------------")
    found = arguments(state.plan, state.run, log_throughput=state.throughput)
    for name, value in sorted(found.items(), key=lambda item: item[0].lower()):
        yield Line(f"  {name} {'.' * (48 - len(name))} {value}")
    yield Line("-------------------- end of arguments ---------------------")
    if not state.micros:
        yield Line("> building HuggingFaceTokenizer tokenizer ...")
    vocab = state.plan.model.architecture.vocab
    dummies = -vocab % (128 * layout.tensor)
    yield Line(f" > padded vocab (size: {vocab}) with {dummies} dummy tokens (new size: {vocab + dummies})")
    yield Line("> initializing torch distributed ...")


def _initialized(record: ModelLoadedRecord, state: Megatron) -> Iterator[Line]:
    layout = state.plan.layout
    yield Line(f"> initialized tensor model parallel with size {layout.tensor}")
    if state.micros:
        yield Line("> initialized gtp weight remat with size 1")
    yield Line(f"> initialized pipeline model parallel with size {layout.pipeline}")
    yield Line(f"> setting random seeds to {state.run.seed} ...")
    yield Line("> compiling dataset index builder ...")
    seconds = COMPILE_SECONDS[state.version]
    yield Line(f">>> done with dataset index builder. Compilation time: {seconds:.3f} seconds")
    if not state.micros:
        yield Line("> compiling and loading fused kernels ...")
        kernels = ">>> done with compiling and loading fused kernels. Compilation time:"
        yield Line(f"{kernels} {seconds / 5.0:.3f} seconds")
    yield Line(f"time to initialize megatron (seconds): {record.seconds:.3f}")
    if state.micros:
        yield from _start_up(state)
    yield state.datetime_line("after megatron is initialized")
    state.reached = state.now()
    yield Line("building GPT model ...")
    where = "(tensor, gtp_weight_remat, pipeline)" if state.micros else "(tensor, pipeline)"
    for rank in state.first_replicas:
        stage, place = divmod(rank, layout.stage_stride)
        if place >= layout.tensor:
            continue  # context-parallel ranks hold the same weights, and their own data-parallel rank is not 0
        held = round(parameters_per_rank(state.plan.model.architecture, layout, stage).total)
        position = f"({place}, 0, {stage})" if state.micros else f"({place}, {stage})"
        yield Line(f" > number of parameters on {where} model parallel rank {position}: {held}", rank=rank)
    yield Line(f"> learning rate decay style: {DECAY_STYLES[state.plan.config.train.schedule]}")


def _start_up(state: Megatron) -> Iterator[Line]:
    """The timers and moments of the start-up."""
    whole = (state.now() - state.began).total_seconds()
    spans = {name: whole * share for name, share in START_UP.items()}
    library = state.began + timedelta(seconds=spans["startup-library-setup"])
    program = library + timedelta(seconds=spans["startup-program-setup"])
    yield state.datetime_line("after in-process setup and before initialize_megatron", program)
    yield state.datetime_line("after in-job setup and before initialize_megatron", program)
    spans["startup-megatron-init-local"] = whole - (program - state.began).total_seconds()
    spans["startup-megatron-init-global"] = whole
    yield from state.timers(spans)
    moments = {"before library-setup": state.began, "after library-setup": library, "before megatron-init": program}
    for what, moment in moments.items():
        yield Line(f"[{what}] datetime: {to_microseconds(moment)}")


def _tokenizer(record: TokenizerRecord, state: Megatron) -> Iterator[Line]:
    state.model_setup, state.reached = state.now() - state.reached, state.now()
    yield state.datetime_line("after model, optimizer, and learning rate scheduler are built")


def _data(record: DataRecord, state: Megatron) -> Iterator[Line]:
    config = state.plan.config
    evaluated = config.eval.batches * state.run.data_parallel * state.run.micro_batch
    splits = {
        "train": state.run.consumed_samples(record.planned_tokens),
        "validation": evaluated * _validations(state),
        "test": evaluated,
    }
    yield Line("> building train, validation, and test datasets ...")
    yield Line(" > datasets target sizes (minimum size):")
    for name, samples in splits.items():
        yield Line(f"    {f'{name}:':<11} {samples}")
    yield Line("> building train, validation, and test datasets for GPT ...")
    yield from _documents(record)
    yield from _indices(record, state, splits)
    yield Line("> finished creating GPT datasets ...")
    yield state.datetime_line("after dataloaders are built")
    yield Line("done with setup ...")
    spans = {
        "model-and-optimizer-setup": state.model_setup,
        "train/valid/test-data-iterators-setup": state.now() - state.reached,
    }
    yield from state.timers({name: span.total_seconds() for name, span in spans.items()})


def _documents(record: DataRecord) -> Iterator[Line]:
    """The lines about the file of documents, each of which is one sequence of tokens."""
    yield Line(f"Load the _IndexReader from {record.dataset}_text_document.idx")
    for what in ("sequence lengths", "sequence pointers", "document indices"):
        yield Line(f"\tExtract the {what}")
    yield Line(f"> total number of sequences: {record.samples}")
    yield Line(f"> total number of documents: {record.samples}")


def _indices(record: DataRecord, state: Megatron, splits: Mapping[str, int]) -> Iterator[Line]:
    """The lines about the order in which each split is read."""
    whole = record.tokens // state.run.sequence_length
    for (name, wanted), split in zip(splits.items(), ("train", "valid", "test"), strict=True):
        if not wanted:
            continue
        share = whole if name == "train" else max(whole // 100, 1)
        epochs = max(-(-wanted // share), 1)
        yield Line(f"Build and save the GPTDataset {split} indices")
        yield Line(f"> total number of samples: {share * epochs}")
        yield Line(f"> total number of epochs: {epochs}")


def _validations(state: Megatron) -> int:
    """Validations of the whole run."""
    steps, every = state.run.total_steps, state.plan.config.eval.every or state.run.steps_per_epoch
    return -(-steps // every)


def _training(record: DetectRecord, state: Megatron) -> Iterator[Line]:
    yield Line("training ...")
    yield state.datetime_line("before the start of training step")


def _restoring(record: RestoringRecord, state: Megatron) -> Iterator[Line]:
    path = Path(record.path)
    state.loaded_from = str(path.parent)
    yield Line(
        f" loading distributed checkpoint from {path.parent} at iteration {path.name.removeprefix('checkpoint-')}"
    )


def _restored(record: RestoredRecord, state: Megatron) -> Iterator[Line]:
    state.resumed_step = record.step
    yield Line(
        f"  successfully loaded checkpoint from {state.loaded_from} {state.position()} at iteration {record.step}"
    )
    yield from state.timers({"load-checkpoint": record.seconds})


SETUP: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    ModelLoadedRecord: _initialized,
    TokenizerRecord: _tokenizer,
    DataRecord: _data,
    DetectRecord: _training,
    RestoringRecord: _restoring,
    RestoredRecord: _restored,
}
"""Kinds of record of the set-up."""
