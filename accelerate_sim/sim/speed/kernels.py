"""Seconds of the kernels of one layer on one GPU: matrix products, attention, what the memory bus sets, launches.

An additive roofline: arithmetic at the rate that the shape reaches, plus the traffic of the operands. Constants are
in ``catalog/constants.json``, each with its source and range.
"""

from collections.abc import Mapping

from accelerate_sim.catalog import Architecture, GpuSpec
from accelerate_sim.catalog.architecture import SCAN_FLOPS
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.memory.memory import WEIGHT_BYTES, gradient_bytes, parameters_per_layer, reduces_often
from accelerate_sim.sim.method import Method

TILE = 128 * 128
"""Elements of a product that one processor computes at a time: the most frequent tile of cuBLAS, A100 to GB300."""
USUAL_HELD_EXPERTS = 16
"""Experts of a rank for which ``routing_stall_s`` is given."""
USUAL_EXPERT_TOKENS = 8192
"""Tokens of an expert on a rank for which ``expert_half_width`` is given."""
FIXED_STALL_EXPERTS = 4
"""Time to count tokens without any expert, in times of one expert: an estimate, for 1 to 32 experts on a rank."""
MAMBA_PASSES = 11
"""Passes over a Mamba-2 block's channels, forward: two of the convolution, three of norm and gate, six of the
recurrence with steps, keys, queries and states between chunks (Dao and Gu 2024, section 6)."""
ALIGNMENT = 64
"""Channels that the tiles of a matrix product are whole multiples of, A100 to GB300 (NVIDIA's guide to matrix products
asks for 64 elements of 2 bytes, the BLOOM team measured it)."""
GROUPED_ALIGNMENT = 128
"""The same for a rank's experts in one launch, whose tiles are of one size. Of the published runs those of gpt-oss
(2,880 channels, with biases and an activation of their own) and Nemotron 3 (1,856) tell it from ``ALIGNMENT``."""


class Kernels:
    """Forward times of one layer of a model on one rank, for one micro-batch; the caller derives backward times."""

    def __init__(
        self, model: Architecture, gpu: GpuSpec, layout: Layout, method: Method, constants: Mapping[str, float]
    ) -> None:
        self.model, self.gpu, self.layout, self.method = model, gpu, layout, method
        self.tokens = layout.micro_batch * layout.sequence_length / layout.context
        self.k = k = constants
        self.generation = gpu.generation
        self.bus = gpu.memory_bytes_per_s
        self.rate_bf16 = gpu.matmul_flops * k[f"gemm_share_bf16.{self.generation}"]
        fp8_best = gpu.fp8_matmul_flops or (gpu.fp8_flops or gpu.bf16_flops) / gpu.bf16_flops * gpu.matmul_flops * 0.95
        self.rate_fp8 = (
            fp8_best * k[f"gemm_share_{'mxfp8' if method.precision == 'mxfp8' else 'fp8'}.{self.generation}"]
        )
        if gpu.generation == "blackwell" and gpu.power_limit_w >= 1400:
            self.rate_fp8 *= k["gemm_power_headroom"]
        if method.precision == "nvfp4":
            # Over the peak, as the best product in this format was not measured; transposes, scales and the layers
            # that stay in more bits take their share.
            self.rate_fp8 = (gpu.fp4_flops or gpu.bf16_flops) * k["gemm_share_nvfp4"]
        if method.kernels == "unfused":
            self.rate_bf16 *= k["gemm_share_old"]
        self.quantisation = k["gemm_wave"] * gpu.processors * TILE
        self.traffic = k["gemm_traffic"]

    # --- Matrix products ------------------------------------------------------------------------

    def matmul_s(
        self, rows: float, inner: float, columns: float, *, fp8: bool | None = None, count: float = 1
    ) -> float:
        """Return the seconds of ``count`` products [rows, inner] x [inner, columns] in one launch."""
        fp8 = self.method.is_narrow if fp8 is None else fp8
        whole = ALIGNMENT if count == 1 else GROUPED_ALIGNMENT
        aligned = not (inner % whole or columns % whole)
        rate = (self.rate_fp8 if fp8 else self.rate_bf16) * (1.0 if aligned else self.k["gemm_share_unaligned"])
        # The last wave of tiles leaves processors idle: in the mean over shapes, this share of one wave.
        work = 2 * count * rows * inner * columns + 2 * inner * self.quantisation
        inputs, weights = count * rows * inner, count * inner * columns
        elements = inputs + weights + count * rows * columns
        seconds = work / rate + self.traffic * 2 * elements / self.bus
        if fp8:
            # Weights are rewritten once for all micro-batches of a step.
            seconds += self.k["gemm_cast"] * 2 * (inputs + weights / self.layout.accumulation) / self.bus
        return seconds

    def projections_s(self) -> float:
        """Return the seconds of the projections into and out of attention."""
        model, shards, tokens = self.model, self.layout.tensor, self.tokens
        out = self.matmul_s(tokens, model.heads * model.v_head_dim / shards, model.hidden)
        if latent := model.mla:
            widths = latent.widths(model.heads)
            kv = self.matmul_s(tokens, model.hidden, widths["kv_rank_and_rope"])
            kv += self.matmul_s(tokens, latent.kv_rank, widths["key_nope_and_value"] / shards)
            query = model.heads * latent.qk_head_dim / shards
            if not latent.q_rank:
                return out + kv + self.matmul_s(tokens, model.hidden, query)
            down = self.matmul_s(tokens, model.hidden, latent.q_rank)
            return out + kv + down + self.matmul_s(tokens, latent.q_rank, query)
        width = (model.heads + 2 * max(model.kv_heads, shards if model.kv_heads < shards else 0)) * model.head_dim
        return out + self.matmul_s(tokens, model.hidden, width / shards)

    def mamba_s(self) -> float:
        """Return the seconds of the projections into and out of a Mamba-2 block."""
        mamba = self.model.mamba
        assert mamba
        hidden, shards = self.model.hidden, self.layout.tensor
        into = self.matmul_s(self.tokens, hidden, mamba.widths()["mamba_in"] / shards)
        return into + self.matmul_s(self.tokens, mamba.inner / shards, hidden)

    def mlp_s(self) -> float:
        """Return the seconds of the plain MLP of a layer without experts."""
        return self._mlp_s(self.tokens, self.model.ffn / self.layout.tensor)

    def experts_s(self) -> float:
        """Return the seconds of routed and shared experts of a layer that has them."""
        layout, moe = self.layout, self.model.moe
        assert moe is not None
        local = moe.experts / layout.expert
        # Every token visits active_experts of them; the rank that has most to do sets the pace.
        routed = self.tokens / layout.tensor * layout.expert_tensor * moe.active_experts * self.k["expert_imbalance"]
        width = moe.ffn / layout.expert_tensor
        seconds = self._mlp_s(routed / local, width, count=local) + self._grouping_s(routed / local, width, local)
        if moe.shared_experts:
            seconds += self._mlp_s(self.tokens, moe.shared_experts * moe.ffn / layout.tensor)
        return seconds

    def _grouping_s(self, rows: float, width: float, count: float) -> float:
        """Return the seconds that grouped products lose, as narrow experts with few tokens fill few processors.

        They are the same in every format, a share of the arithmetic in fp8.
        """
        moe = self.model.moe
        assert moe is not None
        rate = self.rate_fp8 if self.gpu.fp8_flops else self.rate_bf16
        products = 3 if self.model.gated_mlp else 2
        arithmetic_s = 2 * count * rows * self.model.hidden * width * products / rate
        crowded = float((USUAL_EXPERT_TOKENS / rows) ** self.k["expert_tokens_power"])
        return arithmetic_s * self.k["expert_half_width"] * self.software_age() / moe.ffn * crowded

    def _mlp_s(self, rows: float, width: float, count: float = 1) -> float:
        up = 2 if self.model.gated_mlp else 1
        hidden = self.model.hidden
        return self.matmul_s(rows, hidden, up * width, count=count) + self.matmul_s(rows, width, hidden, count=count)

    def head_s(self) -> float:
        """Return the seconds of output head and loss, forward and backward; always in bf16."""
        shard = self.model.vocab / self.layout.tensor
        product = 3 * self.matmul_s(self.tokens, self.model.hidden, shard, fp8=False)
        return product + self.k["loss_traffic"] * self.tokens * shard / self.bus

    # --- Attention ------------------------------------------------------------------------------

    def attention_s(self) -> float:
        """Return the seconds of scores, softmax and their product with the values."""
        model, layout, k = self.model, self.layout, self.k
        width = model.heads * (model.head_dim + model.v_head_dim) / 2 / layout.tensor
        flops = 4 * self.tokens * layout.sequence_length * width
        if self.method.stack.attention == "unfused":
            scores = self.tokens * layout.sequence_length * model.heads / layout.tensor
            depth = model.head_dim / (model.head_dim + k["attention_old_half_dim"])
            return flops / (self.rate_bf16 * depth) + k["attention_old_passes"] / 3 * 2 * scores / self.bus
        share = k[f"attention_share.{self.generation}.{self._attention_kernel()}"]
        depth = model.head_dim / (model.head_dim + k["attention_half_dim"]) * (1 + k["attention_half_dim"] / 128)
        length = layout.sequence_length / (layout.sequence_length + k["attention_half_length"])
        # Causal: the half above the diagonal is left out.
        return flops / 2 / (share * depth * length * self.gpu.matmul_flops)

    def _attention_kernel(self) -> str:
        """The kernel's name in the constants; AMD has one kind of flash kernels, Ampere the second version."""
        if self.generation == "cdna":
            return "flash"
        kernel = self.method.stack.attention
        return "flash2" if kernel == "cudnn" and self.generation == "ampere" else kernel

    # --- What the memory bus sets -----------------------------------------------------------------

    def elementwise_s(self) -> float:
        """Return the seconds of norms, residuals, activations and rotations: the forward third of the passes."""
        model, layout, k = self.model, self.layout, self.k
        shards = layout.tensor
        hidden = model.hidden / (shards if layout.sequence_parallel else 1)
        passes = k[f"elementwise_passes.{self.method.kernels}"] * hidden
        if self.method.norms_in_fp32:
            passes *= k["elementwise_fp32_norms"]
        per_channel = 8 if model.gated_mlp else 5
        passes *= model.blocks_per_layer / 2
        passes += k[f"elementwise_width.{self.method.kernels}"] * per_channel * self.mean_width() / shards
        seconds = 2 * self.tokens * passes / self.bus / 3
        if model.mamba:
            seconds += self.recurrence_s() * model.mamba_layers / model.layers
        if model.moe:
            seconds += self.routing_s() * model.moe_layers / model.layers
        return seconds

    def recurrence_s(self) -> float:
        """Return the seconds of a Mamba-2 block between its projections: convolution, recurrence and gated norm."""
        mamba = self.model.mamba
        assert mamba
        channels = self.tokens * mamba.inner / self.layout.tensor
        flops = SCAN_FLOPS * channels * mamba.state
        return flops / (self.k["mamba_share"] * self.gpu.matmul_flops) + 2 * MAMBA_PASSES * channels / self.bus

    def routing_s(self) -> float:
        """Return the seconds of sorting tokens by expert and back."""
        model, moe = self.model, self.model.moe
        assert moe is not None
        moved = self.tokens / self.layout.tensor * moe.active_experts * model.hidden
        return self.k["routing_passes"] * self.software_age() * 2 * moved / self.bus / 3

    def mean_width(self) -> float:
        """Return the inner width of the MLPs that a token visits in a layer, in the mean over layers."""
        model = self.model
        if model.moe is None:
            return model.ffn * model.dense_layers / model.layers
        experts = model.moe.ffn * (model.moe.active_experts + model.moe.shared_experts)
        return (experts * model.moe_layers + model.ffn * model.dense_layers) / model.layers

    def gradients_s(self) -> float:
        """Return the seconds to add the gradients of a layer's weights to those of earlier micro-batches.

        A product's result in half precision is counted with the product.
        """
        model, layout = self.model, self.layout
        read = 0.0 if reduces_often(model, layout, self.method) else 1 - 1 / layout.accumulation
        traffic = gradient_bytes(layout, self.method) * (1 + read) - WEIGHT_BYTES
        moved = max(0.0, traffic) * parameters_per_layer(model, layout).total
        return self.k["gradient_traffic"] * moved / self.bus

    # --- The host -------------------------------------------------------------------------------

    def launch_s(self) -> float:
        """Time that the host needs to launch a layer's forward kernels; the GPU cannot be faster."""
        graphs = self.method.graphs
        if graphs == "step":
            return 0.0
        plain = self.k[f"launch_s.{self.method.kernels}"] if graphs != "layer" else 0.0
        plain *= self.model.blocks_per_layer / 2
        if not self.model.moe:
            return plain
        share = self.model.moe_layers / self.model.layers
        alone = 1.0 if graphs == "none" else self.k["expert_launches_ungraphed"]
        casts = self.k["narrow_expert_launches"] if self.method.is_narrow else 1.0
        return plain + self.k["expert_launch_s"] * self.host_age() * share * alone * casts

    def waiting_s(self) -> float:
        """Time in a layer's forward pass in which the GPU waits for the host, whatever it has to do."""
        blocking = self.k["blocking_launch_s"] if self.method.blocking_launches else 0.0
        if not self.model.moe or self.method.graphs == "step":
            return blocking
        share = self.model.moe_layers / self.model.layers
        if self.method.counts_on_gpu:
            share *= self.k["routing_stall_left"]
        return blocking + self.k["routing_stall_s"] * self.host_age() * share * self._stalls_of_experts()

    def _stalls_of_experts(self) -> float:
        """Return the host's time to split tokens over the experts of a rank, over that for the usual number."""
        moe = self.model.moe
        assert moe is not None
        held = moe.experts / self.layout.expert
        return (FIXED_STALL_EXPERTS + held) / (FIXED_STALL_EXPERTS + USUAL_HELD_EXPERTS)

    def host_age(self) -> float:
        """Return the host's time for an expert layer over that with software of January 2026."""
        return float(2 ** ((26.0 - self.method.release) * self.k["expert_host_doublings_per_year"]))

    def software_age(self) -> float:
        """Return the time of expert kernels over that of January 2026's."""
        return float(2 ** ((26.0 - self.method.release) * self.k["expert_doublings_per_year"]))
