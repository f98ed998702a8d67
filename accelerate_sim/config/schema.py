"""The schema of a config file: every section and key, with its unit and its bounds.

The models are frozen and refuse unknown keys. Field descriptions are the documentation that ``--print-config``
prints. Only bounds that concern one key are checked here; checks that involve several keys are in ``config/checks``.
"""

from pydantic import Field

from accelerate_sim.config.sections.cluster import ClusterConfig, ParallelConfig
from accelerate_sim.config.sections.faults import FaultsConfig
from accelerate_sim.config.sections.model import CustomModel, Model
from accelerate_sim.config.sections.output import CheckpointConfig, LogConfig
from accelerate_sim.config.sections.play import ImposeConfig, PlayConfig
from accelerate_sim.config.sections.section import Section
from accelerate_sim.config.sections.train import DataConfig, EvalConfig, TrainConfig


class RunConfig(Section):
    """The config of one run."""

    model: Model = Field(
        "llama-3-70b", description="A catalog name (--list models), or a mapping: name, architecture, tokenizer."
    )
    data: DataConfig = Field(default_factory=DataConfig)
    cluster: ClusterConfig = Field(default_factory=ClusterConfig)
    parallel: ParallelConfig = Field(default_factory=ParallelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    eval: EvalConfig = Field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    run: PlayConfig = Field(default_factory=PlayConfig)
    faults: FaultsConfig = Field(default_factory=FaultsConfig)
    impose: ImposeConfig = Field(default_factory=ImposeConfig)

    @property
    def model_name(self) -> str:
        """The model's name, from the catalog or from the mapping."""
        return self.model.name if isinstance(self.model, CustomModel) else self.model
