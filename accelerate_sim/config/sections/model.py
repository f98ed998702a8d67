"""``model``: a model that the catalog does not hold, or the name of one that it holds."""

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from accelerate_sim.catalog import Architecture, ModelSpec
from accelerate_sim.config.value_types import Name


class CustomModel(Architecture):
    """A model that the catalog does not hold: the keys of a catalog entry's architecture, and a name."""

    name: Name = Field("custom", description="Name to show.")
    tokenizer: Name = Field("byte-level BPE", description="Name of its tokenizer.")

    def spec(self) -> ModelSpec:
        """The model as an entry of the catalog."""
        architecture = Architecture(**self.model_dump(exclude={"name", "tokenizer"}, exclude_unset=True))
        return ModelSpec(
            name=self.name, title=self.name, hub_id=None, architecture=architecture, tokenizer=self.tokenizer,
            published_parameters=architecture.parameters, source="config",
        )  # fmt: skip


Model = Annotated[
    Annotated[Name, Tag("name")] | Annotated[CustomModel, Tag("mapping")],
    # The branch is chosen here, so that an error names the one that was meant and not both.
    Discriminator(lambda value: "mapping" if isinstance(value, dict | CustomModel) else "name"),
]
