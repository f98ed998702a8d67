"""Models and tokenizers as a training script meets them in transformers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accelerate_sim.data_loader import TokenIds
from accelerate_sim.progress import tqdm
from accelerate_sim.records import ModelLoadedRecord, TokenizerRecord
from accelerate_sim.reporting.build import model_record
from accelerate_sim.session.session import Session
from accelerate_sim.state import PartialState

if TYPE_CHECKING:
    from accelerate_sim.accelerator import Accelerator
    from accelerate_sim.sim.noise import Floats
    from accelerate_sim.sim.run import Run
    from fake_torch_dist import LocalTensor

BAR_TICKS = 40
"""Moves of a bar that stands for one long piece of work."""


@dataclass(slots=True)
class CausalLMOutput:
    """What a forward pass gives."""

    loss: LocalTensor


class CausalLM:
    """A language model: its loss on a batch is the run's loss there, on each rank its own."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.accelerator: Accelerator | None = None
        self.training = True
        self._data_rank = run.layout.data_rank(PartialState.required().ranks)

    def to(self, device: object, **options: object) -> CausalLM:
        """The same model, which is on the GPUs of the run."""
        return self

    def train(self, mode: bool = True) -> CausalLM:
        self.training = mode
        return self

    def eval(self) -> CausalLM:
        return self.train(False)

    def parameters(self) -> Iterator[str]:
        """Names of the weights; there are no values."""
        return (tensor.name for tensor in self.run.model.architecture.tensors())

    def num_parameters(self) -> int:
        return self.run.model.architecture.parameters

    def __call__(self, input_ids: TokenIds, labels: TokenIds) -> CausalLMOutput:
        """Loss of a micro-batch in nats per token, one number per rank."""
        from fake_torch_dist import LocalTensor

        if self.training:
            replicas = self.run.micro_losses(input_ids.step)[input_ids.number]
        else:
            replicas = self._validation_losses(input_ids)
        return CausalLMOutput(LocalTensor(replicas[self._data_rank]))

    def _validation_losses(self, ids: TokenIds) -> Floats:
        deviation = self.run.loss.validation_deviation(ids.step, ids.number, self.run.layout.data)
        return self.run.loss.validation(ids.step) + deviation


class AutoModelForCausalLM:
    """Finds the model class for a name."""

    @classmethod
    def from_pretrained(cls, name: str) -> CausalLM:
        """Load the weights that training starts from: trained ones, or those of a seed, which know nothing yet."""
        state = PartialState.required()
        run, spec, shape = state.run, state.run.model, state.run.model.architecture
        if name.lower() != spec.name.lower():
            raise ValueError(f"the run trains {spec.name!r}, not {name!r}: model in the config says which")
        if not state.session.is_main_process:
            state.session.clock.advance(run.startup.weights)
            return CausalLM(run)
        fresh = run.config.train.start == "scratch"
        state.session.report(model_record(run))
        bar = "Initializing weights" if fresh else "Loading weights"
        play_bar(state.session, bar, sum(1 for _ in shape.tensors()), run.startup.weights, "tensor")
        state.session.report(ModelLoadedRecord(run.startup.weights, run.config.train.start))
        return CausalLM(run)


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer by name."""

    name: str
    vocab_size: int


class AutoTokenizer:
    """Finds the tokenizer for a model."""

    @classmethod
    def from_pretrained(cls, name: str) -> Tokenizer:
        state = PartialState.required()
        run = state.run
        if name.lower() != run.model.name.lower():
            raise ValueError(f"the run trains {run.model.name!r}; a tokenizer of {name!r} would not fit it")
        tokenizer = Tokenizer(run.tokenizer_name, run.model.tokenizer_vocab)
        state.session.clock.advance(run.startup.tokenizer)
        state.session.report(TokenizerRecord(tokenizer.name, tokenizer.vocab_size))
        return tokenizer


def play_bar(session: Session, what: str, total: int, seconds: float, unit: str) -> None:
    """Show a piece of work of ``seconds`` as a bar over ``total`` units."""
    if not session.is_main_process:
        session.clock.advance(seconds)
        return
    begin_s, ticks = session.clock.now_s, min(BAR_TICKS, total)
    with tqdm(total=total, desc=what, unit=unit, parts=1) as bar:
        for tick in range(1, ticks + 1):
            session.clock.advance_to(begin_s + seconds * tick / ticks)
            bar.update(total * tick // ticks - bar.n)
