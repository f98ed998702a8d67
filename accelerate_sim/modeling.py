"""Models and tokenizers under the names that transformers has."""

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
    from accelerate_sim.sim.noise import Floats
    from accelerate_sim.sim.run import Run
    from accelerate_sim.training_progress import TrainingProgress
    from fake_torch_dist import LocalTensor

BAR_TICKS = 40
"""Number of times that a bar of one long piece of work moves."""


@dataclass(slots=True)
class CausalLMOutput:
    """The result of a forward pass."""

    loss: LocalTensor


class CausalLM:
    """A language model without weights. Its loss on a batch is that of the run, a value for each rank."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.progress: TrainingProgress | None = None
        """The training's progress, after ``prepare``."""
        self.training = True
        self._data_rank = run.layout.data_rank(PartialState().ranks)
        from accelerate_sim.replica_tensor import ReplicaTensor

        self._spread = ReplicaTensor
        self._step = -1
        """The optimizer step, from 0, that ``_micro_losses`` are of."""
        self._micro_losses: Floats

    def connect(self, progress: TrainingProgress) -> None:
        """Take the training's progress, which the export of the model advances."""
        self.progress = progress

    def to(self, device: object, **options: object) -> CausalLM:
        """The same model, which is on the GPUs of the run."""
        return self

    def train(self, mode: bool = True) -> CausalLM:
        self.training = mode
        return self

    def eval(self) -> CausalLM:
        return self.train(False)

    def parameters(self) -> Iterator[str]:
        """Names of the weights, which have no values."""
        return (tensor.name for tensor in self.run.model.architecture.tensors())

    def num_parameters(self) -> int:
        return self.run.model.architecture.parameters

    def __call__(self, input_ids: TokenIds, labels: TokenIds) -> CausalLMOutput:
        """The loss of a micro-batch in nats per token, a value for each rank."""
        step, number = input_ids
        if not self.training:
            replicas = self._validation_losses(input_ids)
        else:
            if number == 0 or step != self._step:
                self._step, self._micro_losses = step, self.run.micro_losses(step)
            replicas = self._micro_losses[number]
        return CausalLMOutput(self._spread(replicas, self._data_rank))

    def _validation_losses(self, ids: TokenIds) -> Floats:
        deviation = self.run.loss.validation_deviation(ids.step, ids.number, self.run.layout.data)
        return self.run.loss.validation(ids.step) + deviation


class AutoModelForCausalLM:
    """Makes the model for a name."""

    @classmethod
    def from_pretrained(cls, name: str) -> CausalLM:
        """The model that training starts from. Logs its architecture and shows a bar while weights are loaded."""
        state = PartialState()
        run, spec, shape = state.run, state.run.model, state.run.model.architecture
        if name.lower() != spec.name.lower():
            raise ValueError(f"the run trains {spec.name!r}, not {name!r}: model in the config says which")
        if not (state.session.is_main_process or state.session.console.logs_whole_run):
            state.session.clock.advance(run.startup.weights)
            state.active.progress.reach("load")
            return CausalLM(run)
        fresh = run.config.train.start == "scratch"
        state.session.report(model_record(run))
        bar = "Initializing weights" if fresh else "Loading weights"
        timed_bar(state.session, bar, sum(1 for _ in shape.tensors()), run.startup.weights, "tensor")
        state.active.progress.reach("load")
        state.session.report(ModelLoadedRecord(run.startup.weights, run.config.train.start))
        return CausalLM(run)


@dataclass(frozen=True)
class Tokenizer:
    """Name and vocabulary size of a tokenizer."""

    name: str
    vocab_size: int


class AutoTokenizer:
    """Makes the tokenizer for a model."""

    @classmethod
    def from_pretrained(cls, name: str) -> Tokenizer:
        state = PartialState()
        run = state.run
        if name.lower() != run.model.name.lower():
            raise ValueError(f"the run trains {run.model.name!r}; a tokenizer of {name!r} would not fit it")
        tokenizer = Tokenizer(run.tokenizer_name, run.model.tokenizer_vocab)
        state.session.clock.advance(run.startup.tokenizer)
        state.session.report(TokenizerRecord(tokenizer.name, tokenizer.vocab_size))
        return tokenizer


def timed_bar(session: Session, what: str, total: int, seconds: float, unit: str) -> None:
    """Let ``seconds`` of simulated time pass, with a bar over ``total`` units in the main process."""
    if not session.is_main_process:
        session.clock.advance(seconds)
        return
    begin_s, ticks = session.clock.now_s, min(BAR_TICKS, total)
    with tqdm(total=total, desc=what, unit=unit, parts=1) as bar:
        for tick in range(1, ticks + 1):
            session.clock.advance_to(begin_s + seconds * tick / ticks)
            bar.update(total * tick // ticks - bar.n)
