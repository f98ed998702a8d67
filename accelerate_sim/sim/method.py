"""How a micro-batch is computed: number format, what is computed twice, and the software that does it."""

from dataclasses import dataclass

from accelerate_sim import catalog
from accelerate_sim.catalog import SoftwareStack
from accelerate_sim.config.schema import RunConfig

RECOMPUTED_SHARE = {"none": 0.0, "selective": 0.0, "full": 1.0}
"""Of a layer's forward pass, what is done again. Selective here does attention's core again, which costs next to
nothing where flash attention does so anyway."""


@dataclass(frozen=True)
class Method:
    """Everything about a training step that is neither model, machine nor layout."""

    precision: str
    recompute: str
    recompute_share: float
    """Of the layers' forward work, what is computed again in the backward pass."""
    gradient_bytes: float | None
    """Bytes of a parameter's gradient; None: what the sharding usually has."""
    stack: SoftwareStack
    compiled: bool
    """Kernels are merged by a compiler, whatever the stack does by itself."""
    tensor_overlap: bool | None
    """Tensor-parallel communication runs behind the matrix products; None: what the stack does."""
    blocking_launches: bool
    """The host waits for every kernel."""
    release: float
    """Year and its share after 2000 of the software."""

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
        """unfused, eager or fused."""
        return "fused" if self.compiled else self.stack.kernels

    @property
    def is_fp8(self) -> bool:
        return self.precision in ("fp8", "mxfp8")

    @property
    def keeps_fp8(self) -> bool:
        """Whether inputs of matrix products are kept for the backward pass in fp8."""
        return self.is_fp8 and "inputs" in self.stack.narrow

    @property
    def norms_in_fp32(self) -> bool:
        """Whether norms keep their input in single precision; merged kernels do not."""
        return self.kernels == "eager" and "norms" not in self.stack.narrow

    @property
    def drops_expert_outputs(self) -> bool:
        """Whether what experts return is weighted before anyone keeps it."""
        return "routed" in self.stack.narrow

    @property
    def recomputes_attention(self) -> bool:
        """Whether attention's core runs twice although the rest of the layer does not."""
        return self.recompute == "selective" and self.recompute_share < 1

    @property
    def exposes_tensor(self) -> str:
        """Which share of tensor-parallel communication is waited for: a name in the constants."""
        if self.tensor_overlap is None:
            return {"serial": "serial", "none": "none", "sharded": "none", "full": "full"}[self.stack.overlap]
        return "full" if self.tensor_overlap else "none"
