"""The method of a training step: number formats, recomputation, optimizer, and the software that runs."""

from dataclasses import dataclass

from accelerate_sim import catalog
from accelerate_sim.catalog import GpuSpec, SoftwareStack
from accelerate_sim.config.schema import RunConfig

RECOMPUTED_SHARE = {"none": 0.0, "selective": 0.0, "full": 1.0}
"""Share of a layer's forward pass that is computed again, by ``train.recompute``. Selective recomputation repeats
attention's core, which costs next to nothing where flash attention does so anyway."""
PORTING_YEARS = 0.5
"""Years after the beginning of a GPU's year of release from which software on it dates at the earliest."""


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
    """Year and its share after 2000 of the software."""
    optimizer: str = "adamw"
    optimizer_precision: str | None = None
    """Precision of the optimizer's state; None: what the stack does."""
    dispatcher: str | None = None
    """Library that sends tokens to their experts; None: what the stack does on machines of eight GPUs."""
    expert_overlap: bool | None = None
    """Tokens are sent to their experts while the GPUs compute; None: what the stack does."""
    graphs: str = "none"
    """Kernels that CUDA graphs launch together: none, the router's (router), attention's as well (layer), or those of
    the whole step (step)."""
    offloaded_layers: int = 0
    """Layers of a pipeline stage whose activations wait for the backward pass in the host's memory."""
    loss_chunks: int = 1
    """Parts of a micro-batch whose logits are made, and given up, one after the other."""

    @classmethod
    def of(cls, config: RunConfig) -> "Method":
        """Return the method of a run."""
        train, parallel = config.train, config.parallel
        gpu = catalog.gpu(config.cluster.gpu)
        stack = running_stack(train.stack, gpu)
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
            release=release_of(stack, gpu, parallel.expert) if train.release is None else train.release,
            optimizer=train.optimizer,
            optimizer_precision=train.optimizer_precision,
            dispatcher=parallel.dispatcher or dispatcher_on(stack, gpu),
            expert_overlap=parallel.expert_overlap,
            graphs=train.cuda_graphs,
            offloaded_layers=train.offloaded_layers,
            loss_chunks=train.loss_chunks,
        )

    @property
    def kernels(self) -> str:
        """The kind of the kernels: unfused, plain, eager or fused."""
        return "fused" if self.compiled else self.stack.kernels

    @property
    def is_fp8(self) -> bool:
        """True where matrix products take 8 bits a number."""
        return self.precision in ("fp8", "mxfp8")

    @property
    def is_narrow(self) -> bool:
        """True where matrix products take 8 bits a number or less."""
        return self.is_fp8 or self.precision == "nvfp4"

    @property
    def keeps_narrow(self) -> bool:
        """True where inputs of matrix products are kept for the backward pass in the products' format."""
        return self.is_narrow and "inputs" in self.stack.narrow

    @property
    def norms_in_fp32(self) -> bool:
        """True where norms keep their input in single precision; merged kernels do not."""
        return self.kernels == "eager" and "norms" not in self.stack.narrow

    @property
    def drops_expert_outputs(self) -> bool:
        """True where the outputs of experts are weighted before anyone keeps them."""
        return "routed" in self.stack.narrow

    @property
    def recomputes_attention(self) -> bool:
        """True where attention's core runs twice although the rest of the layer does not."""
        return self.recompute == "selective" and self.recompute_share < 1

    @property
    def exposes_tensor(self) -> str:
        """The name in the constants of the share of tensor-parallel communication that is waited for."""
        if self.tensor_overlap is None:
            return {"serial": "serial", "none": "none", "sharded": "none", "full": "full"}[self.stack.overlap]
        return "full" if self.tensor_overlap else "none"

    @property
    def sends_tokens_once(self) -> bool:
        """True where a token crosses a link once, however many of its experts are beyond it."""
        return self._sender != "alltoall"

    @property
    def counts_on_gpu(self) -> bool:
        """True where the host waits for one count of tokens less, as buffers are made for the most there can be."""
        return self._sender == "hybridep"

    @property
    def _sender(self) -> str:
        return self.dispatcher or self.stack.dispatcher

    @property
    def overlaps_experts(self) -> bool:
        """True where tokens are sent to their experts while the GPUs compute."""
        return self.stack.overlaps_experts if self.expert_overlap is None else self.expert_overlap

    @property
    def state_precision(self) -> str:
        """Precision of the optimizer's state: fp32, bf16-moments or bf16."""
        return self.optimizer_precision or self.stack.optimizer_precision


def running_stack(name: str, gpu: GpuSpec) -> SoftwareStack:
    """Return the software that runs on ``gpu`` where ``name`` is asked for: a successor, where that one cannot."""
    stack = catalog.stack(name)
    return catalog.stack(stack.successor) if stack.successor and gpu.generation != "ampere" else stack


def dispatcher_on(stack: SoftwareStack, gpu: GpuSpec) -> str:
    """Return the library that sends tokens to their experts, by the machines that ``gpu`` comes in."""
    in_rack = gpu.nvlink_domain > gpu.gpus_per_node
    return (stack.rack_dispatcher if in_rack else None) or stack.dispatcher


def release_of(stack: SoftwareStack, gpu: GpuSpec, expert_parallel: int) -> float:
    """Return the year (after 2000) of the software: its own, or that of a later need.

    Software is no older than the GPU that it runs on, nor than the first release that spreads experts, if it does.
    """
    spreads = stack.expert_release if expert_parallel > 1 else None
    return max(stack.release, spreads or 0.0, gpu.year - 2000 + PORTING_YEARS)
