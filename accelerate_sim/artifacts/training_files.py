"""Files of a training state other than weights: optimizer, scheduler, random states and trainer_state.json.

Optimizer states are written by groups of ranks, each a flat slice of all parameters, as sharded optimizers (ZeRO, FSDP)
hold them: fp32 master weights and Adam's two moments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from accelerate_sim.artifacts.file_image import FileImage, json_image
from accelerate_sim.artifacts.model_files import Sizes, shapes_of
from accelerate_sim.artifacts.safetensors import safetensors_image
from accelerate_sim.artifacts.torch_archive import torch_image

MOST_GROUPS = 64
"""Most groups of ranks that write optimizer states; each group is one node or several."""
OPTIMIZER_STATES = ("master_weights", "exp_avg", "exp_avg_sq")


def rank_groups(nodes: int, gpus_per_node: int) -> list[range]:
    """All ranks in groups of whole nodes."""
    groups = min(nodes, MOST_GROUPS)
    begins = [nodes * group // groups * gpus_per_node for group in range(groups + 1)]
    return [range(begin, end) for begin, end in pairwise(begins)]


def optimizer_images(groups: Sequence[range], parameters: int, step: int, sizes: Sizes) -> list[FileImage]:
    """One file per group, with an equal part of the states of all parameters."""
    images = []
    for number, ranks in enumerate(groups):
        begin, end = (parameters * edge // len(groups) for edge in (number, number + 1))
        shapes = shapes_of([(state, (end - begin,)) for state in OPTIMIZER_STATES], sizes)
        metadata = {"ranks": _span(ranks), "first_parameter": str(begin), "step": str(step)}
        images.append(safetensors_image(f"optimizer-ranks-{_span(ranks)}.safetensors", shapes, "F32", metadata))
    return images


def random_state_images(groups: Sequence[range], seed: int, step: int) -> list[FileImage]:
    """One file per group; the counter-based generator of each rank is stored as its seed, stream and position."""
    return [
        torch_image(
            f"random_states-ranks-{_span(ranks)}.pkl",
            {"step": step, "generators": {rank: {"seed": seed, "stream": rank, "offset": step} for rank in ranks}},
        )
        for ranks in groups
    ]


def scheduler_image(state: Mapping[str, Any]) -> FileImage:
    """scheduler.pt, with the scheduler's ``state_dict()`` as ``state``."""
    return torch_image("scheduler.bin", state)


def trainer_state_image(known: Mapping[str, Any]) -> FileImage:
    """trainer_state.json with the fields of ``transformers.TrainerState``; ``known`` replaces values of a fresh start.

    The class takes no other fields, so ``trial_params`` holds the note that the file is simulated.
    """
    document: dict[str, Any] = {
        "best_global_step": None,
        "best_metric": None,
        "best_model_checkpoint": None,
        "epoch": None,
        "eval_steps": 500,
        "global_step": 0,
        "is_hyper_param_search": False,
        "is_local_process_zero": True,
        "is_world_process_zero": True,
        "log_history": [],
        "logging_steps": 500,
        "max_steps": 0,
        "num_input_tokens_seen": 0,
        "num_train_epochs": 0,
        "save_steps": 500,
        "stateful_callbacks": {},
        "total_flos": 0.0,
        "train_batch_size": None,
        "trial_name": None,
        "trial_params": {"simulated": True},
    }
    unknown = known.keys() - document.keys()
    assert not unknown, f"TrainerState has no {unknown}"
    return json_image("trainer_state.json", {**document, **known})


def _span(ranks: range) -> str:
    return f"{ranks.start:05d}-{ranks.stop - 1:05d}"
