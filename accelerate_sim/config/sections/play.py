"""``run`` and ``impose``: seed, speed and number of the runs, and figures that replace those of the physics."""

from typing import Annotated

from pydantic import Field, StrictBool

from accelerate_sim.config.sections.section import Section
from accelerate_sim.config.value_types import Count, Range, Share, Speed


class PlayConfig(Section):
    """Seed, speed and number of the runs."""

    seed: Count = Field(
        42, ge=0, le=2**63 - 1, description="Random seed. Equal config, seed and start time give equal bytes."
    )
    speed: Speed = Field(250.0, description="Simulated seconds per real second; 'max': never wait.")
    startup_speed: Speed | None = Field(
        None, description="Simulated seconds per real second in start-up and export; null: speed."
    )
    runs: Annotated[Count, Field(ge=0, le=10**9)] | None = Field(
        None, description="Number of runs; 0: no end; null: no end on a terminal, else 1."
    )
    publish: StrictBool = Field(
        False,
        description="Show the job to fake-nvidia-smi by a file in the user's runtime directory while it runs.",
    )


class ImposeConfig(Section):
    """Figures that replace those of the physics; null: the physics decides."""

    step_time_s: Range | None = Field(None, description="[shortest, longest] time of a step, in seconds.")
    memory_share: Annotated[tuple[Share, Share], Field()] | None = Field(
        None, description="[least, most] share of a GPU's memory in use."
    )
    utilization_pct: Range | None = Field(None, description="[lowest, highest] GPU utilization, in per cent.")
    temperature_c: Range | None = Field(None, description="[coolest, hottest] GPU, in degrees Celsius.")
    first_loss: Range | None = Field(
        None,
        description="[lowest, highest] loss at the start; with it, the loss falls exponentially over the whole run.",
    )
    last_loss: Range = Field((1.4, 2.2), description="[lowest, highest] loss at the end; used with first_loss.")
