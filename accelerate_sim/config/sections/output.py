"""``checkpoint`` and ``log``: the files and the lines that a run writes."""

from typing import Any, Literal

from pydantic import Field

from accelerate_sim.config import tracker_table
from accelerate_sim.config.sections.section import Section
from accelerate_sim.config.value_types import Address, Count, Hazards, Trackers, Voice


class CheckpointConfig(Section):
    """Checkpoints."""

    every: Count = Field(500, ge=0, le=100_000_000, description="Steps from one checkpoint to the next; 0: none.")
    keep_last: Count = Field(3, ge=1, le=1000, description="Latest checkpoints that are kept; older ones are deleted.")
    keep_best: Count = Field(
        0, ge=0, le=1000, description="Older checkpoints that are kept because their validation loss was lowest."
    )
    shards: Literal["sparse", "tiny"] = Field(
        "sparse", description="sparse: files of true size that occupy no blocks; tiny: tensors of small shapes."
    )
    on_preempt: Literal["save", "exit"] = Field(
        "save", description="Reaction to SIGTERM or SIGUSR1: save a checkpoint and exit, or exit at once."
    )


class LogConfig(Section):
    """Log lines, GPU grids and trackers."""

    every: Count = Field(10, ge=1, le=1_000_000, description="Steps from one detail line to the next.")
    gpu_grid_every: Count = Field(10, ge=0, le=1_000_000, description="Steps from one GPU grid to the next; 0: none.")
    trackers: Trackers = Field(
        (),
        description=f"Also log to some of [{', '.join(tracker_table.optional_trackers())}], named as in Accelerate's "
        "log_with.",
    )
    voice: Voice = Field(
        "house", description="Wording of the log lines, NAME or NAME@VERSION; --list voices describes each."
    )
    voice_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the voice, by name; --list voices shows them."
    )
    hazards: Hazards = Field(
        (), description="Hazards of log lines without a terminal, NAME or NAME:SHARE; --list hazards shows all."
    )
    ranks: Literal["main", "node", "all"] | None = Field(
        None,
        description="Ranks that log steps: rank 0 (main), the first of each node, or all. null: those of the voice's "
        "framework; in house style node under fake-torchrun with several nodes, else main.",
    )
    json_values: Literal["numbers", "strings"] = Field(
        "numbers", description="Figures in metrics.jsonl: numbers, or strings as Katib's collector takes them."
    )
    prometheus_address: Address = Field(
        "127.0.0.1:9400",
        description="HOST:PORT on which prometheus scrapes are answered; port 0: any free one. IPv6: [::1]:9400.",
    )
    prometheus_per: Literal["job", "node"] = Field(
        "job",
        description="job: rank 0 serves all GPUs; node: under a launcher the first rank of each node serves the "
        "node's, at the port of prometheus_address, further nodes on the same machine at the next ports.",
    )
    gpu_detail: Literal["auto", "full"] = Field(
        "auto", description="full: metrics of every GPU; auto: only their distribution above 512 GPUs."
    )
