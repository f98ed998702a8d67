"""Layers of each pipeline stage where software balances stages by the work of layers and head."""

from accelerate_sim.catalog import Architecture


def balanced_layers(model: Architecture, stages: int) -> list[int]:
    """Return the layers of each stage, where the head counts as the layers that have as many weights.

    A layer that would take a stage beyond its equal part of all weights begins the next one, and the rest is the last
    stage's. Embeddings and norms count nothing, as no matrix is multiplied.
    """
    head = 0 if model.tied_embeddings else model.head_parameters
    norms = (2 * model.layers + 1) * model.hidden
    layer = (model.parameters - model.embedding_parameters - head - norms) / model.layers
    equal = (model.layers * layer + model.head_parameters) / stages
    ends = [min(model.layers, int(equal * stage / layer)) for stage in range(1, stages)]
    return [end - begin for begin, end in zip([0, *ends], [*ends, model.layers], strict=True)]
