"""Experts, latent attention and Mamba-2, which an architecture may have in place of plain MLPs and attention."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class MixtureOfExperts(BaseModel):
    """Experts instead of one MLP: each token visits a few of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    experts: int = Field(ge=2, le=4096, description="Routed experts in a layer.")
    active_experts: int = Field(ge=1, le=4096, description="Routed experts that a token visits.")
    shared_experts: int = Field(0, ge=0, le=64, description="Experts that every token visits.")
    ffn: int = Field(ge=1, le=2**20, description="Inner width of one expert, in channels.")
    dense_layers: int = Field(0, ge=0, le=1024, description="Leading layers with a plain MLP (of the model's ffn).")

    @model_validator(mode="after")
    def _active_experts_exist(self) -> Self:
        if self.active_experts > self.experts:
            raise ValueError(f"active_experts = {self.active_experts} is more than experts = {self.experts}")
        return self

    def widths(self) -> dict[str, int]:
        """Return the widths, in channels, of the modules of an expert layer."""
        return {
            "experts": self.experts,
            "expert_ffn": self.ffn,
            "shared_ffn": self.shared_experts * self.ffn,
        }


class LatentAttention(BaseModel):
    """Attention through a low-rank latent: DeepSeek's MLA (DeepSeek-AI 2024, arXiv:2405.04434)."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    q_rank: int | None = Field(None, ge=1, le=2**17, description="Channels of the query latent; none: not compressed.")
    kv_rank: int = Field(ge=1, le=2**17, description="Channels of the key and value latent.")
    rope_head_dim: int = Field(ge=1, le=4096, description="Query channels per head that rotate.")
    nope_head_dim: int = Field(ge=1, le=4096, description="Query channels per head that do not.")
    v_head_dim: int = Field(ge=1, le=4096, description="Value channels per head.")

    @property
    def qk_head_dim(self) -> int:
        """Channels per head of queries and keys."""
        return self.rope_head_dim + self.nope_head_dim

    def widths(self, heads: int) -> dict[str, int]:
        """Return the widths, in channels, of the low-rank projections for ``heads`` heads.

        The rotating part of the key bypasses the latent and is one for all heads.
        """
        return {
            "q_rank": self.q_rank or 0,
            "kv_rank": self.kv_rank,
            "kv_rank_and_rope": self.kv_rank + self.rope_head_dim,
            "key_nope_and_value": heads * (self.nope_head_dim + self.v_head_dim),
        }


class Mamba(BaseModel):
    """A Mamba-2 block: a linear recurrence over tokens in place of attention (Dao and Gu 2024, arXiv:2405.21060)."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    heads: int = Field(ge=1, le=4096, description="Heads of the recurrence.")
    head_dim: int = Field(ge=1, le=4096, description="Channels of a head.")
    state: int = Field(ge=1, le=4096, description="Numbers that each channel remembers.")
    groups: int = Field(1, ge=1, le=4096, description="Groups of heads that share what they write and read.")
    window: int = Field(4, ge=1, le=64, description="Tokens that the convolution before the recurrence sees.")

    @property
    def inner(self) -> int:
        """Channels of the recurrence."""
        return self.heads * self.head_dim

    def widths(self) -> dict[str, int]:
        """Return the widths, in channels, of the modules of a block: gate, values, keys, queries and step sizes."""
        convolved = self.inner + 2 * self.groups * self.state
        return {
            "mamba_in": self.inner + convolved + self.heads, "mamba_convolved": convolved, "mamba_inner": self.inner,
            "mamba_heads": self.heads, "mamba_window": self.window, "one": 1,
        }  # fmt: skip
