"""Try a detector of slow GPUs on a run in which one becomes slow, and compare its alerts with the faults."""

from statistics import median

from accelerate_sim.api import FaultRecord, StepRecord, play

WINDOW = 5
THRESHOLD = 1.3
"""Step time, as a multiple of the recent median, from which the detector gives an alert."""


def main() -> None:
    """Print the steps of the faults and of the alerts."""
    seconds: list[float] = []
    faults, alerts = [], []
    for record in play("debug", seed=7, faults=["slow gpu=0:1 factor=2 at=step:12 for=3steps"]):
        if isinstance(record, FaultRecord):
            faults.append(record.step)
        elif isinstance(record, StepRecord):
            if len(seconds) >= WINDOW and record.step_time_s > THRESHOLD * median(seconds[-2 * WINDOW :]):
                alerts.append(record.step)
            seconds.append(record.step_time_s)
    print(f"faults in steps {faults}, alerts in steps {alerts}")


if __name__ == "__main__":
    main()
