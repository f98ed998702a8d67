"""Language models whose architecture is public: what they are and where that is written."""

from pydantic import Field

from accelerate_sim.catalog.architecture import Architecture
from accelerate_sim.catalog.entries import Entries, Entry


class ModelSpec(Entry):
    """A published model."""

    name: str = Field(description="Key in models.yaml, e.g. llama-3-70b.")
    title: str = Field(description="Name as people write it, e.g. Llama-3-70B.")
    hub_id: str | None = Field(description="Repository on the Hugging Face hub; none: no weights.")
    architecture: Architecture
    tokenizer: str = Field(description="What the tokenizer is called in a sentence.")
    tokenizer_vocab: int = Field(
        default_factory=lambda data: data["architecture"].vocab if "architecture" in data else 0,
        description="Size of the tokenizer's vocabulary; default: every row of the embedding.",
    )
    published_parameters: int = Field(description="Parameters that the source states: exact, or rounded as there.")
    source: str = Field(min_length=1, description="Paper or model card, with its year.")
    note: str = Field("", description="Remark for readers who check the numbers.")


_MODELS = Entries("model", ModelSpec, "models.yaml")


def model(name: str) -> ModelSpec:
    """Return the model called ``name``, in any case; raise ``UnknownName`` if there is none."""
    return _MODELS.get(name)


def model_names() -> list[str]:
    """Return the names of all models, related ones together."""
    return _MODELS.names()
