"""The method by which a micro-batch is computed: number format, recomputation, and software."""

from dataclasses import dataclass

from accelerate_sim import catalog
from accelerate_sim.catalog import SoftwareStack
from accelerate_sim.config.schema import RunConfig

RECOMPUTED_SHARE = {"none": 0.0, "selective": 0.0, "full": 1.0}
"""Share of a layer's forward pass that each kind recomputes. Selective recomputes attention's core, which costs almost
nothing, because flash attention recomputes it anyway."""


@dataclass(frozen=True)
class Method:
    """The properties of a training step that belong to neither model, machine nor layout."""

    precision: str
    recompute: str
    recompute_share: float
    """Share of the layers' forward work that is computed again in the backward pass."""
    gradient_bytes: float | None
    """Bytes of a parameter's gradient; None: as usual for the sharding."""
    stack: SoftwareStack
    compiled: bool
    """True if a compiler merges kernels, independent of the stack."""
    tensor_overlap: bool | None
    """True if tensor-parallel communication overlaps the matrix products; None: as the stack does."""
    blocking_launches: bool
    """True if the host waits for every kernel."""
    release: float
    """Release of the software in years after 2000."""

    @classmethod
    def of(cls, config: RunConfig) -> "Method":
        train, parallel = config.train, config.parallel
        stack = catalog.stack(train.stack)
        share = train.recompute_share
        return cls(
            precision=train.precision,
            recompute=train.recompute,
            recompute_share=RECOMPUTED_SHARE[train.recompute] if share is None else share,
            gradient_bytes=train.gradient_bytes,
            stack=stack,
            compiled=train.compiled,
            tensor_overlap=parallel.tensor_overlap,
            blocking_launches=train.blocking_launches,
            release=stack.release if train.release is None else train.release,
        )

    @property
    def kernels(self) -> str:
        """Kind of kernels: unfused, eager or fused."""
        return "fused" if self.compiled else self.stack.kernels

    @property
    def is_fp8(self) -> bool:
        return self.precision in ("fp8", "mxfp8")

    @property
    def keeps_fp8(self) -> bool:
        """True if inputs of matrix products are kept in fp8 for the backward pass."""
        return self.is_fp8 and "inputs" in self.stack.narrow

    @property
    def norms_in_fp32(self) -> bool:
        """True if norms keep their input in single precision; merged kernels do not."""
        return self.kernels == "eager" and "norms" not in self.stack.narrow

    @property
    def drops_expert_outputs(self) -> bool:
        """True if outputs of experts are weighted before they are kept."""
        return "routed" in self.stack.narrow

    @property
    def recomputes_attention(self) -> bool:
        """True if attention's core is recomputed and the rest of the layer is not."""
        return self.recompute == "selective" and self.recompute_share < 1

    @property
    def exposes_tensor(self) -> str:
        """Name of the constant that gives the exposed share of tensor-parallel communication."""
        if self.tensor_overlap is None:
            return {"serial": "serial", "none": "none", "sharded": "none", "full": "full"}[self.stack.overlap]
        return "full" if self.tensor_overlap else "none"
