"""Calls whose values are the same with Accelerate and with accelerate_sim: ``accelerate_calls.py LIBRARY DIRECTORY``.

Each rank writes what it got to DIRECTORY/LIBRARY-RANK.json.
"""

import json
import sys
from contextlib import suppress
from copy import copy
from pathlib import Path

import numpy as np

LIBRARY, DIRECTORY = sys.argv[1:]
if LIBRARY == "accelerate":
    import torch
    from accelerate import Accelerator, DataLoaderConfiguration, skip_first_batches
    from accelerate import utils as utilities
    from torch.utils.data import DataLoader

    def tensor(values, dtype=np.float64):
        return torch.from_numpy(np.array(values, dtype))

else:
    from accelerate_sim import Accelerator, DataLoader, DataLoaderConfiguration, skip_first_batches
    from accelerate_sim import utils as utilities

    def tensor(values, dtype=np.float64):
        return np.array(values, dtype)


def plain(value):
    """A value as JSON has it: tensors as lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value if isinstance(value, int | float | str | bool | None) else str(value)


found = {}


def call(name, function, *args, **kwargs):
    """Keep what a call gives, or the kind and text of what it raises."""
    try:
        found[name] = plain(function(*args, **kwargs))
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"


a = Accelerator(cpu=True, gradient_accumulation_steps=2)
rank, size = a.process_index, a.num_processes

for name in (
    "num_processes", "process_index", "local_process_index", "is_main_process", "is_local_main_process",
    "is_last_process", "use_distributed", "mixed_precision", "gradient_accumulation_steps", "sync_gradients",
    "split_batches", "even_batches", "dispatch_batches", "device", "distributed_type", "optimizer_step_was_skipped",
    "project_dir", "logging_dir", "save_iteration", "state", "step", "device_placement",
    "step_scheduler_with_optimizer", "project_configuration", "gradient_state", "multi_device", "trackers", "log_with",
):  # fmt: skip
    call(name, lambda name=name: getattr(a, name))

# Collectives of tensors.
call("gather", a.gather, tensor([rank, 10 + rank]))
call("gather a number", a.gather, tensor(rank))
call("gather nested", a.gather, {"x": [tensor([rank])], "y": (tensor([[rank, 1]], np.int64),)})
call("gather ints", a.gather, [1, 2])
call("sum", a.reduce, tensor([rank + 1.0]), "sum")
call("mean", a.reduce, tensor([rank + 1.0]), "mean")
call("none", a.reduce, tensor([rank + 1.0]), "none")
call("scaled", a.reduce, {"x": tensor([rank + 1.0])}, "mean", 3.0)
call("default of utils.reduce", utilities.reduce, tensor([rank + 1.0]))
call("pad", a.pad_across_processes, tensor(np.full((rank + 1, 2), rank)), dim=0, pad_index=9)
call("pad first", a.pad_across_processes, tensor(np.full((rank + 1, 2), rank + 5)), dim=0, pad_first=True)
call("pad dim 1", a.pad_across_processes, tensor(np.full((2, rank + 1), rank + 5)), dim=1)
call("broadcast", utilities.broadcast, tensor([rank]), from_process=1)
# Collectives of objects.
call("objects", utilities.gather_object, ["o", rank])
call("broadcast objects", utilities.broadcast_object_list, [rank, {"r": rank}], from_process=1)
call("metrics of objects", a.gather_for_metrics, ["o", rank], use_gather_object=True)
call("metrics of strings", a.gather_for_metrics, [f"r{rank}"])
# Shares.
for name, inputs in {
    "list": [1, 2, 3, 4, 5], "tuple": (1, 2, 3), "dict": {"a": [1, 2, 3], "b": ["x", "y", "z"]}, "few": [1],
}.items():  # fmt: skip
    for padded in (False, True):
        if padded and name == "tuple":
            continue  # Accelerate adds a list to a tuple
        with suppress(ZeroDivisionError), a.split_between_processes(copy(inputs), apply_padding=padded) as share:
            found[f"split {name} {padded}"] = plain(share)
with a.split_between_processes(tensor(range(5))) as share:
    found["split tensor"] = plain(share)
with a.split_between_processes(tensor(range(5)), apply_padding=True) as share:
    found["split tensor padded"] = plain(share)


def uneven():
    with a.split_between_processes({"a": [1], "b": [1, 2]}):
        pass


call("split of other lengths", uneven)
# Code for some ranks.
call("on_main_process", a.on_main_process(lambda: rank))
call("on_local_main_process", a.on_local_main_process(lambda: rank))
call("on_last_process", a.on_last_process(lambda: rank))
call("on_process", a.on_process(lambda: rank, process_index=1))
call("on_local_process", a.on_local_process(lambda: rank, local_process_index=1))
with a.main_process_first(), a.local_main_process_first():
    pass
if rank == 1:
    a.set_trigger()
call("trigger", a.check_trigger)
call("trigger again", a.check_trigger)
call("free_memory", lambda: a.free_memory(1, 2))
# Loaders.
for count, batch, options in (
    (5, 2, {}), (8, 2, {}), (9, 4, {}), (1, 4, {}), (3, 1, {}), (11, 2, {}), (10, 4, {"drop_last": True}),
    (13, 3, {"drop_last": True}),
):  # fmt: skip
    loader = a.prepare_data_loader(DataLoader(range(count), batch_size=batch, **options))
    name = f"loader {count} {batch} {options}"
    found[f"{name} length"] = len(loader)
    found[name] = []
    for read in loader:
        kept = a.gather_for_metrics(read)
        state = a.gradient_state
        found[name].append([plain(read), plain(kept), state.end_of_dataloader, state.remainder])
    found[f"{name} skipped"] = [plain(read) for read in a.skip_first_batches(loader, 1)]
call("skip", lambda: [plain(read) for read in skip_first_batches(DataLoader(range(5), batch_size=2), 2)])
split = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(split_batches=True))
for count in (8, 9, 2):
    loader = split.prepare_data_loader(DataLoader(range(count), batch_size=4))
    found[f"split batches {count}"] = [len(loader), *(plain(read) for read in loader)]
# Accumulation.
a.gradient_accumulation_steps = 2
found["accumulation"] = []
for _ in range(2):
    for _batch in a.prepare_data_loader(DataLoader(range(10), batch_size=1)):
        with a.accumulate():
            found["accumulation"].append(a.sync_gradients)
# Without communication.
call("concatenate", utilities.concatenate, [{"x": tensor([1])}, {"x": tensor([2])}])
call("find_batch_size", utilities.find_batch_size, [{"x": tensor([[1, 2], [3, 4], [5, 6]])}])
call("slice", utilities.slice_tensors, [tensor([1, 2, 3])], slice(0, 2))
call("listify", utilities.listify, {"x": tensor([1, 2])})
call("str_to_bool", lambda: [utilities.str_to_bool(word) for word in ("yes", "off", "1")])
call("merge_dicts", utilities.merge_dicts, {"a": {"b": 1}}, {"a": {"c": 2}})
sizes = []


@utilities.find_executable_batch_size(starting_batch_size=100)
def shrinking(batch_size):
    sizes.append(batch_size)
    if batch_size > 50:
        raise RuntimeError("CUDA out of memory.")
    return batch_size


call("executable", shrinking)
found["sizes"] = sizes
call("executable with a size", shrinking, 5)
# Errors.
call("precision", lambda: Accelerator(cpu=True, mixed_precision="zz"))
call("another precision", lambda: Accelerator(cpu=True, mixed_precision="bf16"))
call("wrong registration", a.register_for_checkpointing, 1)
call("no trackers", lambda: type(a.get_tracker("x")).__name__)
a.wait_for_everyone()
Path(DIRECTORY, f"{LIBRARY}-{rank}.json").write_text(json.dumps(found, default=str))
a.end_training()
