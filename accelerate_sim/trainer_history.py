"""What trainer_state.json tells of a run, collected from its records: Hugging Face Trainer's ``log_history``."""

from __future__ import annotations

from typing import Any, NamedTuple

from accelerate_sim.records import EvalRecord, Record, StepRecord
from accelerate_sim.sim.run import Run


class Best(NamedTuple):
    """The best validation so far."""

    loss: float
    step: int


class TrainerHistory:
    """An observer. Entries are as the Trainer logs them: every ``log.every`` steps, and every validation."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.entries: list[dict[str, Any]] = []

    def observe(self, record: Record) -> None:
        match record:
            case StepRecord() if record.step % self.run.config.log.every == 0:
                self.entries.append(
                    {
                        "epoch": self._epoch(record.step), "grad_norm": record.grad_norm,
                        "learning_rate": record.lr, "loss": record.loss, "step": record.step,
                    }
                )  # fmt: skip
            case EvalRecord():
                layout, batches = self.run.layout, self.run.config.eval.batches
                samples = batches * layout.data * layout.micro_batch
                self.entries.append(
                    {
                        "epoch": self._epoch(record.step), "eval_loss": record.loss, "eval_runtime": record.seconds,
                        "eval_samples_per_second": round(samples / record.seconds, 3),
                        "eval_steps_per_second": round(batches / record.seconds, 3), "step": record.step,
                    }
                )  # fmt: skip

    def flush(self) -> None: ...

    def validation_loss(self, step: int, length: int) -> float | None:
        """Loss of the validation after ``step``, if there was one among the first ``length`` entries."""
        last = self.entries[length - 1] if length else {}
        return last.get("eval_loss") if last.get("step") == step else None

    def trainer_state(self, step: int, length: int) -> dict[str, Any]:
        """Fields of ``transformers.TrainerState`` after ``step`` steps, of which ``length`` entries tell."""
        run, config = self.run, self.run.config
        history = self.entries[:length]
        best = min((Best(entry["eval_loss"], entry["step"]) for entry in history if "eval_loss" in entry), default=None)
        saved = best is not None and config.checkpoint.every and best.step % config.checkpoint.every == 0
        tokens = run.tokens_before(step)
        return {
            "best_global_step": best and best.step,
            "best_metric": best and best.loss,
            "best_model_checkpoint": f"checkpoint-{best.step}" if best and saved else None,
            "epoch": self._epoch(step),
            "eval_steps": config.eval.every or config.train.steps_per_epoch,
            "global_step": step,
            "log_history": history,
            "logging_steps": config.log.every,
            "max_steps": run.last_step,
            "num_input_tokens_seen": tokens,
            "num_train_epochs": config.train.epochs,
            "save_steps": config.checkpoint.every,
            "total_flos": float(tokens * run.flops_per_token),
            "train_batch_size": config.train.micro_batch,
        }

    def _epoch(self, step: int) -> float:
        return round(step / self.run.config.train.steps_per_epoch, 6)
