"""``faults``: failures that the plan counts with, and those that happen in a run."""

from typing import Annotated, Any, Literal

from pydantic import Field, SerializationInfo, SerializerFunctionWrapHandler, model_serializer

from accelerate_sim.config.sections.section import Section
from accelerate_sim.config.value_types import Count, FaultEntries, Name, Number


class FaultsConfig(Section):
    """Failures: those that the plan counts with, and those that happen in the run."""

    rate: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.0,
        description="Interruptions per GPU-hour that --plan counts with; drawn says whether they happen. 0: none. "
        "Published fleets have 2e-5 (1.5e-5 to 1.2e-4).",
    )
    drawn: Literal["plan", "play"] = Field(
        "plan", description="plan: the faults of the rate are only counted with; play: they happen in the run."
    )
    restarts: Count = Field(
        3, ge=0, le=1_000_000, description="Times that the job is started again; a launcher decides that itself."
    )
    restart_minutes: Annotated[Number, Field(ge=0, le=10_000)] = Field(
        7.0, description="Minutes from an interruption to the next step: detection, rescheduling, loading."
    )
    torch: Annotated[Name, Field(pattern=r"^2\.[0-9]{1,2}\.[0-9]{1,2}$")] = Field(
        "2.13.0", description="Version of torch, 2.4.0 or later, whose lines the ranks print when something breaks."
    )
    play: FaultEntries = Field(
        (), description="Faults that happen, such as [kill rank=13 at=step:40]; --list faults shows the kinds."
    )

    asked: bool = Field(
        False,
        description="Let faults be asked for while the run goes on, by fake-torchrun ctl; the keys of a terminal "
        "always can.",
    )

    @property
    def happen(self) -> bool:
        """True if the config names faults that happen in the run, or lets them be drawn."""
        return bool(self.play) or self.drawn == "play"

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """In JSON, leave out what a run without faults has by default, so that its files are as they always were."""
        found: dict[str, Any] = write(self)
        if info.mode != "json":
            return found
        defaults: dict[str, Any] = {"drawn": "plan", "restarts": 3, "torch": "2.13.0", "play": [], "asked": False}
        return {name: value for name, value in found.items() if name not in defaults or value != defaults[name]}
