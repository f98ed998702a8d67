"""The base class of the sections."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One section of a config file."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
