"""Check a reader of log lines: the losses that it finds in the Trainer's words are those of the run's records."""

import ast

from accelerate_sim.api import StepRecord, TextRecord, play


def read_loss(line: str) -> float | None:
    """The reader under test: the training loss of a line of the Trainer; None if it has none."""
    if not line.startswith("{'loss'"):
        return None
    return float(ast.literal_eval(line)["loss"])


def main() -> None:
    """Print what the reader finds beside the mean of the losses since its last find."""
    losses: list[float] = []
    for record in play("debug", seed=7, voice="hf@5"):
        if isinstance(record, StepRecord):
            losses.append(record.loss)
        elif isinstance(record, TextRecord) and (found := read_loss(record.text)) is not None:
            print(f"step {len(losses)}: read {found:.4g}, right {sum(losses[-5:]) / 5:.4g}")


if __name__ == "__main__":
    main()
