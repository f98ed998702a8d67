"""Compare the throughput and memory of several tensor-parallel layouts before any GPU is booked."""

from accelerate_sim.api import ConfigError, plan


def main() -> None:
    """Print a line for each layout, and why one is impossible."""
    for tensor in (1, 2, 4, 8):
        try:
            report = plan("llama8b", [f"parallel.tensor={tensor}"])
        except ConfigError as error:
            print(f"tensor {tensor}: impossible. {error}")
            continue
        memory_gib = report.memory_bytes / 2**30
        print(f"tensor {tensor}: {report.tokens_per_s:,.0f} tokens/s, MFU {report.mfu:.1%}, {memory_gib:.1f} GiB a GPU")


if __name__ == "__main__":
    main()
