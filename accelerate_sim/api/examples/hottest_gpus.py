"""Look at the hottest GPUs of a run over its first hours, without playing it."""

from accelerate_sim.api import telemetry

HOUR_S = 3600.0


def main() -> None:
    """Print the three hottest GPUs at each hour."""
    run = telemetry("llama70b", seed=7)
    for hour in range(4):
        gpus = sorted(run.at(hour * HOUR_S), key=lambda gpu: -gpu.temperature_c)[:3]
        shown = ", ".join(f"{gpu.host} GPU {gpu.index} {gpu.temperature_c:.0f} C" for gpu in gpus)
        print(f"hour {hour}, step {run.step(hour * HOUR_S)}: {shown}")


if __name__ == "__main__":
    main()
