"""The keys that describe the shape of a language model, with their bounds, defaults and checks."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from accelerate_sim.catalog.departures import POSITIONS, has_gate
from accelerate_sim.catalog.families import FAMILIES, Family
from accelerate_sim.catalog.modules import BLOCKS, MLP_WEIGHTS
from accelerate_sim.catalog.variants import LatentAttention, Mamba, MixtureOfExperts


class Shape(BaseModel):
    """The shape of a decoder-only transformer, as the catalog and configs write it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    family: str = Field("llama", description="Hugging Face model type: sets norms, biases, names.")
    layers: int = Field(ge=1, le=1024, description="Transformer blocks.")
    hidden: int = Field(ge=1, le=2**18, description="Width of the residual stream, in channels.")
    heads: int = Field(ge=1, le=4096, description="Query heads.")
    kv_heads: int = Field(
        default_factory=lambda known: known.get("heads", 1),
        ge=1,
        le=4096,
        description="Key and value heads; default: as many as query heads.",
    )
    mla: LatentAttention | None = Field(None, description="Latent attention in place of plain.")
    head_dim: int = Field(
        default_factory=lambda known: _default_head_dim(**known),
        ge=1,
        le=4096,
        description="Query channels per head; default: hidden / heads.",
    )
    ffn: int = Field(ge=1, le=2**20, description="Inner width of a plain MLP, in channels.")
    moe: MixtureOfExperts | None = Field(None, description="Experts in place of a plain MLP.")
    hybrid_pattern: str | None = Field(
        None, min_length=1, max_length=1024, description="The layers in order where each is one block: Mamba-2 (M), "
        "attention (*), a plain MLP (-) or experts (E); null: each has attention, and an MLP or experts.",
    )  # fmt: skip
    mamba: Mamba | None = Field(None, description="Mamba-2 blocks, of a hybrid model.")
    vocab: int = Field(ge=2, le=2**23, description="Rows of the embedding table, with padding.")
    context: int = Field(ge=1, le=2**27, description="Longest sequence it is made for, in tokens.")
    tied_embeddings: bool = Field(
        default_factory=lambda known: FAMILIES[known.get("family", "llama")].tied_embeddings,
        description="The output head is the embedding table; default: what the family does.",
    )
    gated_mlp: bool = Field(
        default_factory=lambda known: has_gate(FAMILIES[known.get("family", "llama")].roles),
        description="MLPs multiply with a gate: three matrices, not two; default: what the family does.",
    )
    bias: bool | None = Field(None, description="Biases in all linear layers, or in none; null: what the family does.")
    learned_positions: bool = Field(
        default_factory=lambda known: not POSITIONS.isdisjoint(FAMILIES[known.get("family", "llama")].roles),
        description="A table of positions that is added to the embedding; default: what the family does.",
    )

    @field_validator("family")
    @classmethod
    def _family_is_known(cls, family: str) -> str:
        if family not in FAMILIES:
            raise ValueError(f"unknown family {family!r}; use one of {', '.join(FAMILIES)}")
        return family

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads = {self.kv_heads} does not divide heads = {self.heads}")
        if "head_dim" not in self.model_fields_set and not self.mla and self.hidden % self.heads:
            raise ValueError(
                f"heads = {self.heads} does not divide hidden = {self.hidden}; change one of them or give head_dim"
            )
        return self

    @model_validator(mode="after")
    def _family_has_the_variants(self) -> Self:
        for key, given, role in (("moe", self.moe, "router"), ("mla", self.mla, "kv_down")):
            fitting = [name for name, family in FAMILIES.items() if role in family.roles]
            plain = role == "router" and not self._family.roles.isdisjoint(MLP_WEIGHTS)  # with no layer of experts
            if given is None and self.family in fitting and not plain:
                raise ValueError(f"family {self.family!r} needs {key}")
            if given is not None and self.family not in fitting:
                raise ValueError(f"family {self.family!r} has no {key}; use one of {', '.join(fitting)}")
        return self

    @model_validator(mode="after")
    def _dense_layers_fit(self) -> Self:
        if self.moe is None:
            return self
        if self.moe.dense_layers and self._family.roles.isdisjoint(MLP_WEIGHTS):
            raise ValueError(f"family {self.family!r} has experts in all layers; no dense_layers")
        if self.moe.dense_layers >= self.layers:
            raise ValueError(
                f"dense_layers = {self.moe.dense_layers} leaves no layer with experts of layers = {self.layers}"
            )
        return self

    @model_validator(mode="after")
    def _pattern_fits(self) -> Self:
        pattern, hybrid = self.hybrid_pattern, "mamba_in" in self._family.roles
        if hybrid != (pattern is not None):
            fitting = [name for name, family in FAMILIES.items() if "mamba_in" in family.roles]
            either = "needs" if hybrid else "has no"
            raise ValueError(f"family {self.family!r} {either} hybrid_pattern; hybrid families: {', '.join(fitting)}")
        if unknown := sorted(set(pattern or "") - BLOCKS.keys()):
            raise ValueError(f"hybrid_pattern has the letters {', '.join(unknown)}; use {', '.join(BLOCKS)}")
        if pattern and len(pattern) != self.layers:
            raise ValueError(
                f"hybrid_pattern has {len(pattern)} letters for layers = {self.layers}; one for each layer"
            )
        letters = pattern or ""
        for key, given, letter in (("mamba", self.mamba, "M"), ("moe", self.moe, "E")):
            if (key == "mamba" or pattern) and (given is not None) != (letter in letters):
                raise ValueError(f"{key} and the {letter} of hybrid_pattern go together; give both or none")
        if pattern and self.moe and self.moe.dense_layers:
            raise ValueError("dense_layers says nothing where hybrid_pattern states each layer; leave it out")
        return self

    @property
    def _family(self) -> Family:
        return FAMILIES[self.family]


def _default_head_dim(*, hidden: int = 1, heads: int = 1, mla: LatentAttention | None = None, **_: Any) -> int:
    return mla.qk_head_dim if mla else max(1, hidden // heads)
