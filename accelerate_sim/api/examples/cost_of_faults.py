"""Compare what a fault costs with checkpoints at several intervals."""

from accelerate_sim.api import SummaryRecord, plan, play

FAULTS = ["kill rank=1 at=step:14"]


def main() -> None:
    """Print how often the job starts and how many steps are lost, for each interval."""
    for every in (2, 5, 8):
        changes = [f"checkpoint.every={every}"]
        report = plan("debug", changes, faults=FAULTS)
        *_, last = play("debug", changes, seed=7, faults=FAULTS)
        assert isinstance(last, SummaryRecord)
        print(f"every {every} steps: {report.attempts} attempts, {last.lost_steps} steps lost")


if __name__ == "__main__":
    main()
