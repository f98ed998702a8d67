"""Text corpora that language models are trained on, with their published sizes."""

from pydantic import Field

from accelerate_sim.catalog.entries import Entries, Entry


class DatasetSpec(Entry):
    """A published corpus. Sizes are rounded as their authors round them."""

    name: str = Field(description="Key in datasets.yaml, e.g. fineweb-edu.")
    title: str = Field(description="Name as people write it, e.g. FineWeb-Edu.")
    hub_id: str | None = Field(description="Repository on the Hugging Face hub, if it has one.")
    samples: int = Field(gt=0, description="Documents, or conversations of a chat dataset.")
    tokens: int = Field(gt=0, description="Tokens under the authors' tokenizer.")
    domain: str = Field(description="What the text is, e.g. web or code.")
    license: str = Field(description="License of the collection; its texts may have others.")
    source: str = Field(min_length=1, description="Paper or dataset card, with its year.")
    note: str = Field("", description="Which figures are estimates, and how they were made.")


_DATASETS = Entries("dataset", DatasetSpec, "datasets.yaml")


def dataset(name: str) -> DatasetSpec:
    """Return the corpus called ``name``, in any case; raise ``UnknownName`` if there is none."""
    return _DATASETS.get(name)


def dataset_names() -> list[str]:
    """Return the names of all corpora, kin together."""
    return _DATASETS.names()
