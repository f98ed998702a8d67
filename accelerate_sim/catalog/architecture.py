"""Every count that follows from the shape of a language model.

Used for the models of the catalog and for one that a user writes in a config. Parameters are
counted from the modules that are saved (see ``families.py``), so they are exact, norms and biases
included.
"""

from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Literal

from accelerate_sim.catalog.departures import departed
from accelerate_sim.catalog.modules import (
    ATTENTION_WEIGHTS,
    LOOKUP_WEIGHTS,
    MAMBA_WEIGHTS,
    MLP_WEIGHTS,
    MOE_WEIGHTS,
    Module,
)
from accelerate_sim.catalog.shape import Shape
from accelerate_sim.catalog.tensors import Tensor, expand, module_tensors

SCAN_FLOPS = 7
"""FLOPs of Mamba-2's recurrence for a token, channel and remembered number: Megatron-LM's count (2026)."""


class Architecture(Shape):
    """A decoder-only transformer."""

    @property
    def model_class(self) -> str:
        """Name of the class in the ``transformers`` library, e.g. ``LlamaForCausalLM``, or of one that it lacks."""
        return "CustomForCausalLM" if self.departs else self._family.model_class

    @property
    def model_type(self) -> str:
        """``model_type`` in the model's ``config.json``."""
        return "custom" if self.departs else self._family.model_type

    @cached_property
    def departs(self) -> bool:
        """True where the model has other gates, biases or positions than its family."""
        return self._family_modules != self._family.modules

    @property
    def norm(self) -> Literal["rms", "layer"]:
        """Kind of normalisation."""
        return self._family.norm

    @property
    def v_head_dim(self) -> int:
        """Value channels per head; only latent attention has others than ``head_dim``."""
        return self.mla.v_head_dim if self.mla else self.head_dim

    @property
    def dense_layers(self) -> int:
        """Layers with a plain MLP."""
        if self.hybrid_pattern:
            return self.hybrid_pattern.count("-")
        return self.moe.dense_layers if self.moe else self.layers

    @property
    def moe_layers(self) -> int:
        """Layers with experts."""
        return self.hybrid_pattern.count("E") if self.hybrid_pattern else self.layers - self.dense_layers

    @property
    def attention_layers(self) -> int:
        """Layers with attention."""
        return self.hybrid_pattern.count("*") if self.hybrid_pattern else self.layers

    @property
    def mamba_layers(self) -> int:
        """Layers that are a Mamba-2 block."""
        return self.hybrid_pattern.count("M") if self.hybrid_pattern else 0

    @property
    def blocks_per_layer(self) -> int:
        """Blocks with a norm and a residual that a layer has: attention and what follows it, or one of a pattern."""
        return 1 if self.hybrid_pattern else 2

    @cached_property
    def parameters(self) -> int:
        """All parameters, each stored tensor once."""
        return sum(self._elements(module) * self._copies(module) for module in self._modules)

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets: of the routed experts, only those it visits."""
        return self.parameters - self._idle_parameters

    @cached_property
    def matmul_parameters(self) -> int:
        """Active parameters that a token is multiplied with, at 2 FLOPs each forward.

        Embedding look-ups, norms and biases are left out. The output head counts even when its
        weight is the embedding's.
        """
        matrices = sum(
            tensor.elements * self._copies(module)
            for module in self._modules
            if module.role not in LOOKUP_WEIGHTS
            for tensor in module_tensors(module, self._widths)
            if len(tensor.shape) == 2
        )
        shared_head = self.head_parameters if self.tied_embeddings else 0
        return matrices + shared_head - self._idle_parameters

    @cached_property
    def attention_parameters_per_layer(self) -> int:
        """Projections of one attention block, with their biases and the norms inside it."""
        return self._elements_of(ATTENTION_WEIGHTS)

    @cached_property
    def mlp_parameters_per_layer(self) -> int:
        """One MLP; with experts, one expert layer: the router, shared experts, all experts."""
        if self.moe is None:
            return self._elements_of(MLP_WEIGHTS)
        other_experts = (self.moe.experts - 1) * self.expert_parameters
        return self._elements_of(MOE_WEIGHTS) + other_experts

    @cached_property
    def expert_parameters(self) -> int:
        """One routed expert of one layer; 0 in a model without."""
        return sum(self._elements(module) for module in self._modules if "{expert}" in module.name)

    @cached_property
    def embedding_parameters(self) -> int:
        """Input embedding table and learned positions."""
        return self._elements_of(LOOKUP_WEIGHTS)

    @property
    def head_parameters(self) -> int:
        """The output head, whether a matrix of its own or the embedding's."""
        return self.vocab * self.hidden

    def flops_per_token(self, sequence_length: int, *, causal: bool = False) -> int:
        """Return the FLOPs to train on one token: forward and backward, nothing recomputed.

        6 N for the matrices plus 12 L a d s for the scores and values of attention over the full
        square (PaLM, Chowdhery et al. 2022, appendix B). ``causal`` counts the half below the
        diagonal, which is what flash kernels compute. d is the mean of query and value width. Mamba-2 blocks add
        their recurrence.
        """
        width = self.heads * (self.head_dim + self.v_head_dim)
        attention = 6 * self.attention_layers * width * sequence_length
        scan = 3 * SCAN_FLOPS * self.mamba_layers * self.mamba.inner * self.mamba.state if self.mamba else 0
        return 6 * self.matmul_parameters + (attention // 2 if causal else attention) + scan

    def tensors(self) -> Iterator[Tensor]:
        """Yield the stored tensors under Hugging Face's names, in the order of the state dict."""
        return expand(
            self._modules,
            self._widths,
            layers=self.layers,
            dense_layers=self.dense_layers,
            experts=self.moe.experts if self.moe else 0,
            pattern=self.hybrid_pattern,
        )

    @cached_property
    def _modules(self) -> tuple[Module, ...]:
        """The modules of the family that this model has."""
        absent = {"head"} if self.tied_embeddings else set()
        if self.mla:
            absent |= {"q"} if self.mla.q_rank else {"q_down", "q_down_norm", "q_up"}
        if not self.dense_layers:
            absent |= MLP_WEIGHTS.keys()
        if not self.moe:
            absent |= MOE_WEIGHTS.keys()
        if not self.mamba:
            absent |= MAMBA_WEIGHTS.keys()
        if not self.attention_layers:
            absent |= ATTENTION_WEIGHTS.keys()
        return tuple(module for module in self._family_modules if module.role not in absent)

    @cached_property
    def _family_modules(self) -> tuple[Module, ...]:
        return departed(
            self._family.modules, gated=self.gated_mlp, bias=self.bias, learned_positions=self.learned_positions
        )

    @cached_property
    def _widths(self) -> dict[str, int]:
        """Channels (or rows) behind the names in ``modules.WEIGHTS``."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        widths = {
            "vocab": self.vocab,
            "context": self.context,
            "context_and_2": self.context + 2,
            "hidden": self.hidden,
            "head": self.head_dim,
            "query": query,
            "key": key,
            "query_key_value": query + 2 * key,
            "value": self.heads * self.v_head_dim,
            "ffn": self.ffn,
            "gate_and_up": 2 * self.ffn,
        }
        if self.mla:
            widths |= self.mla.widths(self.heads)
        if self.moe:
            widths |= self.moe.widths()
        if self.mamba:
            widths |= self.mamba.widths()
        return widths

    def _elements(self, module: Module) -> int:
        """Count weight and bias of one copy of ``module``."""
        return sum(tensor.elements for tensor in module_tensors(module, self._widths))

    def _elements_of(self, roles: Collection[str]) -> int:
        """Count one copy of every module with one of ``roles``."""
        return sum(self._elements(module) for module in self._modules if module.role in roles)

    def _copies(self, module: Module) -> int:
        """Count how often ``module`` stands in the model."""
        if "{layer}" not in module.name:
            return 1
        if module.role in MLP_WEIGHTS:
            return self.dense_layers
        if module.role in MOE_WEIGHTS and self.moe:
            return self.moe_layers * (self.moe.experts if "{expert}" in module.name else 1)
        if module.role in MAMBA_WEIGHTS:
            return self.mamba_layers
        return self.attention_layers if module.role in ATTENTION_WEIGHTS else self.layers

    @property
    def _idle_parameters(self) -> int:
        """Parameters of the routed experts that a token does not visit."""
        if self.moe is None:
            return 0
        idle = self.moe.experts - self.moe.active_experts
        return self.moe_layers * idle * self.expert_parameters
