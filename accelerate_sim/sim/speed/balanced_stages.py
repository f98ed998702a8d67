"""Layers of each pipeline stage where software balances stages by the work of layers and head."""

from accelerate_sim.catalog import Architecture


def balanced_layers(model: Architecture, stages: int) -> list[int]:
    """Return the layers of each stage, where the head counts as the layers that multiply a token as often.

    A layer that would take a stage beyond its equal part of all products begins the next one, and the rest is the last
    stage's.
    """
    layer = (model.matmul_parameters - model.head_parameters) / model.layers
    equal = model.matmul_parameters / stages
    ends = [min(model.layers, int(equal * stage / layer)) for stage in range(1, stages)]
    return [end - begin for begin, end in zip([0, *ends], [*ends, model.layers], strict=True)]
