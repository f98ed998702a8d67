"""Bytes of an optimizer's state, and the arithmetic and memory traffic of its step, for each parameter.

Sources: Loshchilov and Hutter 2019 (AdamW), Shazeer and Stern 2018 (Adafactor), Chen et al. 2023 (Lion), Jordan et al.
2024 (Muon: five Newton-Schulz iterations on the momentum of each matrix, AdamW for embeddings and head), Vyas et al.
2024 (SOAP: Adam in the eigenbasis of Shampoo's preconditioners, which a QR step refreshes every ten steps).
"""

from accelerate_sim.catalog import Architecture
from accelerate_sim.sim.method import Method

MASTER_BYTES = {"fp32": 4.0, "bf16-moments": 4.0, "bf16": 0.0}
"""Bytes of a master weight; 0 where the bf16 weight itself is updated."""
MOMENT_BYTES = {"fp32": 4.0, "bf16-moments": 2.0, "bf16": 2.0}
"""Bytes of one moment."""
MOMENTS = {"adamw": 2.0, "soap": 2.0, "muon": 1.0, "lion": 1.0, "adafactor": 0.0}
"""Moments of a matrix's parameter; Adafactor's rows and columns are few enough to leave out."""
LARGEST_PRECONDITIONER = 10_000
"""Channels beyond which SOAP leaves a side of a matrix without a preconditioner."""
NEWTON_SCHULZ_STEPS = 5
SOAP_REFRESH_STEPS = 10
"""Steps from one QR decomposition of SOAP's preconditioners to the next."""
TF32_OVER_BF16 = 0.5
"""Rate of SOAP's products in single precision over those in half precision."""
WEIGHT_BYTES, GRADIENT_BYTES = 2.0, 4.0
OPERATION_PASSES = {"of a moment": 5.0, "of the weight": 11.0}
"""Numbers that AdamW's step moves for a parameter when its operations run one after the other: for each moment and its
square root, and for weight and gradient with their clipping (``torch.optim``'s for-each implementation, 2024)."""


def optimizer_state_bytes(model: Architecture, method: Method) -> float:
    """Return the bytes of state for a parameter, in the mean over the model's parameters."""
    return MASTER_BYTES[method.state_precision] + _moment_bytes(model, method)


def optimizer_traffic_bytes(model: Architecture, method: Method) -> float:
    """Return the bytes that a step moves for a parameter: gradient, master weight, moments both ways, new weight."""
    if method.stack.optimizer_by_operation:
        weight = MASTER_BYTES[method.state_precision] or WEIGHT_BYTES
        return OPERATION_PASSES["of the weight"] * weight + OPERATION_PASSES["of a moment"] * _moment_bytes(
            model, method
        )
    master = MASTER_BYTES[method.state_precision] or WEIGHT_BYTES / 2
    return GRADIENT_BYTES + 2 * master + 2 * _moment_bytes(model, method) + WEIGHT_BYTES


def step_copy_bytes(method: Method) -> float:
    """Return the bytes for a parameter that the optimizer's step holds beside the state: roots of second moments."""
    copied = method.stack.optimizer_by_operation and MOMENTS[method.optimizer] > 1
    return MOMENT_BYTES[method.state_precision] if copied else 0.0


def optimizer_flops(model: Architecture, method: Method) -> float:
    """Return the FLOPs in half precision that a step takes for a parameter beyond its element by element work."""
    short, long = _sides(model)
    if method.optimizer == "muon":
        # X X', its square, and the product with X, for a matrix of short x long.
        return (1 - _in_embeddings(model)) * NEWTON_SCHULZ_STEPS * (4 * short + 2 * short**2 / long)
    if method.optimizer == "soap":
        # Into the eigenbasis, out of it, and the preconditioners' update; then products and QR of both sides.
        every_step = 6 * (short + long)
        refresh = (short**2 / long + long**2 / short) * 10 / 3 / SOAP_REFRESH_STEPS
        return (1 - _in_embeddings(model)) * (every_step + refresh) / TF32_OVER_BF16
    return 0.0


def _moment_bytes(model: Architecture, method: Method) -> float:
    """Bytes of moments and preconditioners for a parameter."""
    each, embeddings = MOMENT_BYTES[method.state_precision], _in_embeddings(model)
    moments = MOMENTS[method.optimizer]
    if method.optimizer == "muon":
        moments += embeddings * (MOMENTS["adamw"] - moments)
    if method.optimizer != "soap":
        return each * moments
    # A preconditioner and its eigenvectors for each side.
    sides = _sides(model)
    kept = [2 * side**2 for side in sides if side <= LARGEST_PRECONDITIONER]
    return each * (moments + (1 - embeddings) * sum(kept) / (sides[0] * sides[1]))


def _sides(model: Architecture) -> tuple[float, float]:
    """Short and long side of the model's most frequent matrix, an MLP's."""
    width = model.moe.ffn if model.moe else model.ffn
    return float(min(model.hidden, width)), float(max(model.hidden, width))


def _in_embeddings(model: Architecture) -> float:
    """Share of the parameters that are in embeddings and head."""
    head = 0 if model.tied_embeddings else model.head_parameters
    return (model.embedding_parameters + head) / model.parameters
