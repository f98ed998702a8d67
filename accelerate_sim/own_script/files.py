"""Methods of ``Accelerator`` that keep a user's own objects and figures: checkpoints, hooks, files, trackers."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_sim.own_script import checkpoints as files
from accelerate_sim.own_script.prepared_objects import PreparedObjects
from accelerate_sim.records import OwnStateRecord

if TYPE_CHECKING:
    from accelerate_sim.own_script.trackers import GeneralTracker
    from accelerate_sim.utils.dataclasses import ProjectConfiguration

Hook = Callable[..., Any]


class RemovableHandle:
    """Takes a hook back: ``remove()``."""

    def __init__(self, hooks: OrderedDict[int, Hook], key: int) -> None:
        self._hooks, self._key = hooks, key

    def remove(self) -> None:
        """The hook is called no longer."""
        self._hooks.pop(self._key, None)


class ScriptFiles(PreparedObjects):
    """The part of ``Accelerator`` that writes and reads what a script keeps."""

    if TYPE_CHECKING:

        @property
        def completed_steps(self) -> int: ...
        def _go_on_after(self, steps: int) -> None: ...
        @property
        def is_main_process(self) -> bool: ...
        @property
        def process_index(self) -> int: ...
        def wait_for_everyone(self) -> None: ...

    def _keep_no_files_yet(self, log_with: Any) -> None:
        """Begin with nothing open. ValueError for a tracker that is not there."""
        self.log_with: list[Any] = []
        if log_with is not None:
            from accelerate_sim.own_script.trackers import check_trackers

            self.log_with = check_trackers(log_with)
        self.trackers: list[GeneralTracker] = []
        self._save_hooks: OrderedDict[int, Hook] = OrderedDict()
        self._load_hooks: OrderedDict[int, Hook] = OrderedDict()

    @property
    def project_configuration(self) -> ProjectConfiguration:
        """The directories of the script's files."""
        return self.settings.project

    @property
    def logging_dir(self) -> str | None:
        """Directory of what trackers write."""
        return self.settings.project.logging_dir

    @property
    def save_iteration(self) -> int:
        """Number of the next automatically named checkpoint."""
        return self.settings.project.iteration

    # --- Checkpoints ----------------------------------------------------------------------------

    def register_for_checkpointing(self, *objects: Any) -> None:
        """Keep these objects' states in checkpoints, too. ValueError for one that has none."""
        wrong = [each for each in objects if not (hasattr(each, "state_dict") and hasattr(each, "load_state_dict"))]
        if wrong:
            items = "".join(f"\n\t- Item at index {objects.index(each)}, `{type(each).__name__}`" for each in wrong)
            raise ValueError(
                "All `objects` must include a `state_dict` and `load_state_dict` function to be stored. The following "
                f"inputs are invalid:{items}"
            )
        self._custom_objects += objects

    def register_save_state_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(models, weights, output_dir)`` before a checkpoint is written; it may take weights away."""
        return _added(self._save_hooks, hook)

    def register_load_state_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(models, input_dir)`` before a checkpoint is read; it may take models away."""
        return _added(self._load_hooks, hook)

    def _objects_by_file(self) -> list[tuple[str, Any]]:
        kinds = {"optimizer": self._optimizers, "scheduler": self._schedulers, "sampler": self._dataloaders}
        return files.files_of(kinds)

    def _save_own_state(self, output_dir: str | Path | None) -> Path:
        """Write a checkpoint of the script's objects. Raises OutputError; ValueError without a directory."""
        directory = self._numbered_directory() if self.settings.project.automatic_checkpoint_naming else output_dir
        if directory is None:
            raise ValueError("save_state needs a directory, or ProjectConfiguration(automatic_checkpoint_naming=True)")
        path = Path(directory)
        self.state.session.report(OwnStateRecord(str(path), saving=True))
        models = list(self._models)
        weights = [model.state_dict() if hasattr(model, "state_dict") else None for model in models]
        for hook in self._save_hooks.values():
            hook(models, weights, str(path))
        path.mkdir(parents=True, exist_ok=True)
        if self.is_main_process:
            for number, weight in enumerate(weights):
                if weight is not None:
                    files.write_pickle(path / files.numbered("pytorch_model", number), weight)
            for name, thing in self._objects_by_file():
                files.write_pickle(path / name, thing.state_dict())
            for number, thing in enumerate(self._custom_objects):
                files.write_pickle(path / files.custom_file(number), thing.state_dict())
            files.write_pickle(path / files.STEPS, self.completed_steps)
        states = {"step": self.step_context.step, **files.random_states()}
        for rank in self.state.ranks.tolist():
            files.write_pickle(path / files.random_file(rank), states)
        self.settings.project.iteration += 1
        return path

    def _numbered_directory(self) -> Path:
        """The next automatically named directory, after the oldest ones have been deleted to make room."""
        project = self.settings.project
        if project.project_dir is None:
            raise ValueError("automatic_checkpoint_naming needs a project_dir")
        above = Path(project.project_dir, "checkpoints")
        path = above / f"checkpoint_{project.iteration}"
        if self.is_main_process:
            if path.exists():
                raise ValueError(
                    f"Checkpoint directory {path} ({project.iteration}) already exists. Please manually override "
                    "`self.save_iteration` with what iteration to start with."
                )
            files.make_room(above, project.total_limit)
        self.wait_for_everyone()
        return path

    def _load_own_state(self, input_dir: str | Path | None) -> None:
        """Be as when this checkpoint was written; without a directory, the newest automatically named one."""
        if input_dir is None:
            above = Path(self.settings.project.project_dir or ".", "checkpoints")
            named = files.numbered_checkpoints(above)
            if not named:
                raise ValueError(f"load_state without a directory: there is no checkpoint_N below {above}")
            input_dir = named[-1]
        path = Path(input_dir)
        if not path.is_dir():
            raise ValueError(f"Tried to find {path} but folder does not exist")
        self.state.session.report(OwnStateRecord(str(path), saving=False))
        models = list(self._models)
        for hook in self._load_hooks.values():
            hook(models, str(path))
        for number, model in enumerate(models):
            if hasattr(model, "load_state_dict"):
                model.load_state_dict(files.read_pickle(path / files.numbered("pytorch_model", number)))
        for name, thing in self._objects_by_file():
            thing.load_state_dict(files.read_pickle(path / name))
        for number, thing in enumerate(self._custom_objects):
            thing.load_state_dict(files.read_pickle(path / files.custom_file(number)))
        states = files.read_pickle(path / files.random_file(self.process_index))
        self.step_context.step = states["step"]
        files.set_random_states(states)
        self._go_on_after(files.read_pickle(path / files.STEPS))

    # --- Single files ---------------------------------------------------------------------------

    def save(self, obj: Any, f: Any, safe_serialization: bool = False) -> None:
        """Pickle an object to a path or an open file, once for all ranks. Raises OutputError.

        ValueError for ``safe_serialization``, whose format holds nothing but torch's tensors.
        """
        if safe_serialization:
            raise ValueError("safe_serialization needs torch's tensors: leave it out, and the object is pickled")
        if not self.is_main_process:
            return
        if hasattr(f, "write"):
            f.write(pickle.dumps(obj))
        else:
            files.write_pickle(Path(f), obj)

    def save_model(
        self, model: Any, save_directory: str | Path, max_shard_size: str = "10GB", safe_serialization: bool = False
    ) -> None:
        """Pickle the state of a user's own model to pytorch_model.bin. ValueError for a simulated model."""
        state = self.get_state_dict(model)
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        self.save(state, Path(save_directory, "pytorch_model.bin"), safe_serialization)

    # --- Trackers -------------------------------------------------------------------------------

    def init_trackers(
        self, project_name: str, config: Mapping[str, Any] | None = None, init_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Open the trackers that ``log_with`` names, and give them the hyperparameters."""
        if not self.is_main_process:
            return
        from accelerate_sim.own_script.trackers import open_trackers

        self.trackers = open_trackers(self.log_with, project_name, self.logging_dir, init_kwargs or {})
        for tracker in self.trackers if config is not None else ():
            tracker.store_init_configuration(dict(config or {}))

    def get_tracker(self, name: str, unwrap: bool = False) -> Any:
        """The open tracker of this name; where there is none, one that keeps nothing.

        ValueError on the main process if other trackers are open.
        """
        for tracker in self.trackers:
            if tracker.name == name:
                return tracker.tracker if unwrap else tracker
        if self.trackers:
            raise ValueError(f"{name} is not an available tracker stored inside the `Accelerator`.")
        from accelerate_sim.own_script.trackers import GeneralTracker

        return GeneralTracker()

    def _log_to_trackers(
        self, values: Mapping[str, Any], step: int | None, log_kwargs: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        for tracker in self.trackers:
            tracker.log(dict(values), step=step, **(log_kwargs or {}).get(tracker.name, {}))

    def _finish_trackers(self) -> None:
        for tracker in self.trackers:
            tracker.finish()
        self.trackers = []


def _added(hooks: OrderedDict[int, Hook], hook: Hook) -> RemovableHandle:
    key = max(hooks, default=-1) + 1
    hooks[key] = hook
    return RemovableHandle(hooks, key)
