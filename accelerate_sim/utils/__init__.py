"""Names of ``accelerate.utils`` that training scripts import and that mean something here.

A name of Accelerate's that is not here raises an AttributeError that says why, or that it is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelerate_sim.lazy_names import lazy_names

if TYPE_CHECKING:
    from accelerate_sim.own_script.gathering import (
        broadcast,
        broadcast_object_list,
        gather,
        gather_object,
        pad_across_processes,
        reduce,
    )
    from accelerate_sim.own_script.nested_tensors import (
        concatenate,
        find_batch_size,
        honor_type,
        is_torch_tensor,
        recursively_apply,
        send_to_device,
        slice_tensors,
    )
    from accelerate_sim.progress import tqdm
    from accelerate_sim.state import set_seed
    from accelerate_sim.utils.dataclasses import (
        AutocastKwargs,
        DataLoaderConfiguration,
        DistributedDataParallelKwargs,
        DistributedType,
        GradientAccumulationPlugin,
        GradScalerKwargs,
        InitProcessGroupKwargs,
        KwargsHandler,
        LoggerType,
        PrecisionType,
        ProfileKwargs,
        ProjectConfiguration,
        RNGType,
    )
    from accelerate_sim.utils.memory import find_executable_batch_size, release_memory, should_reduce_batch_size
    from accelerate_sim.utils.other import (
        clear_environment,
        extract_model_from_parallel,
        is_cuda_available,
        listify,
        load,
        merge_dicts,
        parse_choice_from_env,
        parse_flag_from_env,
        patch_environment,
        save,
        str_to_bool,
        synchronize_rng_states,
        wait_for_everyone,
    )

__all__ = [
    "AutocastKwargs",
    "DataLoaderConfiguration",
    "DistributedDataParallelKwargs",
    "DistributedType",
    "GradScalerKwargs",
    "GradientAccumulationPlugin",
    "InitProcessGroupKwargs",
    "KwargsHandler",
    "LoggerType",
    "PrecisionType",
    "ProfileKwargs",
    "ProjectConfiguration",
    "RNGType",
    "broadcast",
    "broadcast_object_list",
    "clear_environment",
    "concatenate",
    "extract_model_from_parallel",
    "find_batch_size",
    "find_executable_batch_size",
    "gather",
    "gather_object",
    "honor_type",
    "is_cuda_available",
    "is_torch_tensor",
    "listify",
    "load",
    "merge_dicts",
    "pad_across_processes",
    "parse_choice_from_env",
    "parse_flag_from_env",
    "patch_environment",
    "recursively_apply",
    "reduce",
    "release_memory",
    "save",
    "send_to_device",
    "set_seed",
    "should_reduce_batch_size",
    "slice_tensors",
    "str_to_bool",
    "synchronize_rng_states",
    "tqdm",
    "wait_for_everyone",
]

# fmt: off
_HOMES = {
    "own_script.gathering": (
        "broadcast", "broadcast_object_list", "gather", "gather_object", "pad_across_processes", "reduce",
    ),
    "own_script.nested_tensors": (
        "concatenate", "find_batch_size", "honor_type", "is_torch_tensor", "recursively_apply", "send_to_device",
        "slice_tensors",
    ),
    "progress": ("tqdm",),
    "state": ("set_seed",),
    "utils.dataclasses": (
        "AutocastKwargs", "DataLoaderConfiguration", "DistributedDataParallelKwargs", "DistributedType",
        "GradientAccumulationPlugin", "GradScalerKwargs", "InitProcessGroupKwargs", "KwargsHandler",
        "LoggerType", "PrecisionType", "ProfileKwargs", "ProjectConfiguration", "RNGType",
    ),
    "utils.memory": ("find_executable_batch_size", "release_memory", "should_reduce_batch_size"),
    "utils.other": (
        "clear_environment", "extract_model_from_parallel", "is_cuda_available", "listify", "load",
        "merge_dicts", "parse_choice_from_env", "parse_flag_from_env", "patch_environment", "save",
        "str_to_bool", "synchronize_rng_states", "wait_for_everyone",
    ),
}
# fmt: on
"""The names by the module that has them."""

WITHOUT_MEANING = {
    **dict.fromkeys(
        ("DeepSpeedPlugin", "FullyShardedDataParallelPlugin", "TorchTensorParallelPlugin", "MegatronLMPlugin"),
        "the section parallel in the config of the run says how a model is spread",
    ),
    **dict.fromkeys(("DynamoBackend", "TorchDynamoPlugin"), "train.compiled in the config of the run says so"),
    **dict.fromkeys(
        ("infer_auto_device_map", "get_balanced_memory", "dispatch_model", "load_checkpoint_in_model"),
        "a simulated model is not dispatched over devices",
    ),
    **dict.fromkeys(("convert_outputs_to_fp32", "convert_to_fp32"), "numpy arrays compute in their own dtypes"),
}
"""Accelerate's names that mean nothing here, and the reason."""

__getattr__ = lazy_names(__name__, _HOMES, without_meaning=WITHOUT_MEANING)
