"""Keys that do not go together: who is to blame, and what would do."""

import pytest

from accelerate_sim.config.checks.conflicts import conflicts
from accelerate_sim.config.checks.parallelism import nvlink_domain
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.problems import ConfigError
from accelerate_sim.config.schema import RunConfig


def messages(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        ConfigSource.read(None, overrides).resolve()
    return str(error.value).splitlines()


ONE_GPU = ("cluster.nodes=1", "cluster.gpus_per_node=1", "parallel.tensor=1")


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["cluster.gpu=B200", "cluster.driver=550"], "cluster.driver = 550 does not support B200. "
         "Use one of [570, 580, 590, 610], or null."),
        (["cluster.gpu=V100-32-SXM", "train.precision=fp16", "cluster.driver=590"], "cluster.driver = 590 does not "
         "support V100-32-SXM. Use one of [550, 570, 580], or null."),
        (["cluster.gpu=MI300X", "cluster.driver=570"],
         "cluster.driver = 570 is a driver of NVIDIA's, and MI300X is AMD's. Use null."),
        (["parallel.pipeline=3"], "parallel.pipeline = 3 does not fit the cluster: pipeline 3 x tensor 8 does not "
         "divide 64 GPUs. Use one of [1, 2, 4, 8], or 24 nodes."),
        (["parallel.tensor=12"], "parallel.tensor = 12 is no multiple of the 8 GPUs of a node. "
         "Use one of [1, 2, 4, 8]; groups over several whole nodes work, slowly."),
        (["parallel.tensor=3"], "parallel.tensor = 3 does not divide the 8 GPUs of a node. "
         "Use one of [1, 2, 4, 8]; groups over several whole nodes work, slowly."),
        (["model=gpt2", "train.sequence_length=1024"],
         "parallel.tensor = 8 (the default) does not divide the 12 heads of gpt2. Use one of [1, 2, 4]."),
        (["model=phi-3-medium"],
         "parallel.tensor = 8 (the default) does not divide the 10 key-value heads of phi-3-medium. "
         "Use one of [1, 2]."),
        (["cluster.nodes=12", "parallel.pipeline=96", "parallel.tensor=1"],
         "parallel.pipeline = 96 is more than the 80 layers of llama-3-70b. Use at most 80."),
        (["parallel.virtual_stages=2"], "parallel.virtual_stages = 2 interleaves the stages of a pipeline, "
         "and there is one stage. Use 1."),
        (["parallel.pipeline=2", "parallel.virtual_stages=64", "parallel.tensor=1"],
         "parallel.virtual_stages = 64 makes 128 chunks of 80 layers. Use at most 40."),
        (["parallel.expert=2"], "parallel.expert = 2 spreads experts, and llama-3-70b has none. Use 1."),
        (["model=mixtral-8x7b", "parallel.expert=3"], "parallel.expert = 3 does not divide both 8 experts and "
         "the 64 GPUs of a pipeline stage. Use one of [1, 2, 4, 8]."),
        (["train.global_batch=129"], "train.global_batch = 129 is not a multiple of micro_batch 1 x 8 data-parallel "
         "replicas = 8. Use 128 or 136."),
        (["train.global_batch=4"], "train.global_batch = 4 is not a multiple of micro_batch 1 x 8 data-parallel "
         "replicas = 8. Use 8."),
        (["parallel.pipeline=4", "parallel.virtual_stages=4", "train.global_batch=10"], "train.global_batch = 10 makes "
         "5 micro-batches a step; interleaving takes 4 at a time. Use 8, or virtual_stages 1."),
        (["train.batch_ramp={start: 136, increment: 8, samples: 9}"], "train.batch_ramp.start = 136 is more than "
         "global_batch = 128, which the batch grows to. Use at most 128."),
        (["train.batch_ramp={start: 12, increment: 8, samples: 9}"], "train.batch_ramp.start = 12 is not a multiple of "
         "8 sequences, which all replicas take at a time. Use e.g. 16."),
        (["train.batch_ramp={start: 16, increment: 4, samples: 9}"], "train.batch_ramp.increment = 4 is not a multiple "
         "of 8 sequences, which all replicas take at a time. Use e.g. 8."),
        (["train.batch_ramp={start: 32, increment: 40, samples: 9}"], "train.batch_ramp.increment = 40 does not divide "
         "the rise of 96 from start = 32 to global_batch = 128. Use one of [8, 16, 24, 32, 48, 96]."),
        (["train.batch_ramp={start: 8, increment: 8, samples: 9}", "train.global_batch=16000"],
         "train.batch_ramp.increment = 8 makes 1,999 stages. Use 16 or more."),
        (["train.batch_ramp={start: 8, increment: 8}"], "train.batch_ramp.samples is missing. Add it: "
         "a whole number from 1 to 1,000,000,000,000."),
        (["train.rampup_batch_size=[16, 16, 9]"],
         "unknown key 'train.rampup_batch_size'. Did you mean 'train.batch_ramp'?"),
        (["parallel.context=2", "train.sequence_length=1002"], "train.sequence_length = 1002 is not a multiple of 4, "
         "twice the context-parallel size. Use 1,000 or 1,004."),
        (["model=gpt2", *ONE_GPU, "train.sequence_length=2048"], "train.sequence_length = 2048 is more than the 1,024 "
         "positions that gpt2 has learned. Use at most 1,024."),
        (["train.precision=fp8", "cluster.gpu=A100-80-SXM"],
         "train.precision = 'fp8' is a format that A100-80-SXM does not have. Use bf16, or another GPU."),
        (["train.recompute=none", "train.recompute_share=0.3"], "train.recompute_share = 0.3 is computed again, and "
         "recompute = 'none' computes nothing again. Use recompute selective, or recompute_share null."),
        (["parallel.sharding=ddp", "parallel.shard_group=4", *ONE_GPU, "model=gpt2", "train.sequence_length=1024",
          "cluster.nodes=8"],
         "parallel.shard_group = 4 is for a state that is split, and sharding = 'ddp' splits nothing. "
         "Use sharding fsdp or zero1, or shard_group null."),
        (["parallel.sequence=true", *ONE_GPU, "model=gpt2", "train.sequence_length=1024"],
         "parallel.sequence = true shares norms among tensor-parallel ranks, and there is one rank. "
         "Use null, or tensor 2 or more; whole sequences are shared by context."),
        (["cluster.gpus_per_node=5", "parallel.tensor=5"], "parallel.tensor = 5 does not divide the 64 heads of "
         "llama-3-70b. Use one of [1]."),
        (["cluster.gpus_per_node=5", "parallel.tensor=2"], "parallel.tensor = 2 does not divide the 5 GPUs of a node. "
         "Use one of [1], for 5 does not divide the 64 heads of "
         "llama-3-70b; groups over several whole nodes work, slowly."),
        (["train.lr=1e-4", "train.min_lr=1e-3"], "train.min_lr = 0.001 is more than lr = 1e-4. Use e.g. 1e-5."),
        (["train.warmup_steps=4000"], "train.warmup_steps = 4000 is more than the run's 3,000 steps. Use e.g. 150."),
        (["train.epochs=10000", "train.steps_per_epoch=100000000"], "train.steps_per_epoch = 100000000 makes "
         "1,000,000,000,000 steps in 10,000 epochs. Use at most 100,000; for runs without end there is run.runs = 0."),
        (["impose.utilization_pct=[90, 300]"], "impose.utilization_pct = [90, 300] is not between 1 and 100. "
         "Use a range inside that."),
        (["impose.first_loss=[2, 3]", "impose.last_loss=[1, 4]"], "impose.last_loss = [1, 4] reaches above "
         "first_loss = [2, 3]. Use a lower range: losses fall."),
    ],
)  # fmt: skip
def test_what_does_not_go_together(overrides: list[str], message: str) -> None:
    assert messages(*overrides) == [f"--set: {message}"]


def test_a_million_gpus_are_enough() -> None:
    (message,) = messages("cluster.nodes=100000", "cluster.gpus_per_node=72")
    assert "cluster.nodes = 100000 makes 7,200,000 GPUs. Use at most 1,000,000 in all." in message


def test_what_is_proposed_instead_is_right() -> None:
    for batch in (128, 136):
        assert not conflicts(ConfigSource.read(None, [f"train.global_batch={batch}"]).resolve())


def test_defaults_agree_with_each_other() -> None:
    assert not conflicts(RunConfig())


def test_defaults_follow_the_keys_that_they_depend_on() -> None:
    config = ConfigSource.read(None, ["train.lr=1e-5", "train.epochs=1", "train.steps_per_epoch=20"]).resolve()
    assert config.train.min_lr == 1e-6
    assert config.train.warmup_steps == 2


def test_long_sequences_are_fine_where_positions_rotate() -> None:
    ConfigSource.read(None, ["train.sequence_length=131072"]).resolve()


def test_a_rack_wide_nvlink_takes_wider_tensor_groups_than_a_machine() -> None:
    overrides = ["cluster.gpu=GB200", "cluster.gpus_per_node=4", "cluster.nodes=18", "parallel.tensor=8"]
    config = ConfigSource.read(None, [*overrides, "train.global_batch=9"]).resolve()
    assert config.parallel.tensor == 8


def test_half_a_machine_is_a_domain_of_its_own() -> None:
    from accelerate_sim import catalog

    assert nvlink_domain(catalog.gpu("H100-SXM"), 2) == 2
    assert nvlink_domain(catalog.gpu("GB200"), 4) == 72
