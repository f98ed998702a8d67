"""The lines before the first step and around checkpoints come in the order in which each framework prints them."""

from __future__ import annotations

import re

import pytest

from tests.support.reading import Train

DEBUG = ("--config", "configs/debug.yaml", "--speed", "max", "--start-time", "2026-01-31T09:30:00+00:00")
ORDERS = {
    "megatron@0.15": (
        r"using world size: 4, ",
        r"Number of virtual stages per pipeline stage: None$",
        r"-+ arguments -+$",
        r"> building HuggingFaceTokenizer tokenizer \.\.\.$",
        r" > padded vocab \(size: 50257\) with 47 dummy tokens ",
        r"> initializing torch distributed \.\.\.$",
        r"> compiling dataset index builder \.\.\.$",
        r">>> done with compiling and loading fused kernels\. Compilation time: ",
        r"building GPT model \.\.\.$",
        r"> learning rate decay style: cosine$",
        r"Build and save the GPTDataset train indices$",
        r"done with setup \.\.\.$",
        r"    model-and-optimizer-setup \.+: \(",
        r"training \.\.\.$",
        r" \[.*\] iteration +5/ ",
        r"  successfully saved checkpoint from iteration +10 to \S+ \[ t 1/1, p 1/1 \]$",
    ),
    "megatron@0.19": (
        r"> Megatron-Core version \.+ 0\.19\.0$",
        r"> initialized gtp weight remat with size 1$",
        r"\[after in-job setup and before initialize_megatron\] datetime: ",
        r"    startup-initialize-megatron \.+: \(",
        r"\[before megatron-init\] datetime: \S+ \S+$",
        r" \[.*\] iteration +1/ ",
        r"compute_activation_memory_without_sp$",
        r"  \[.*\] successfully saved checkpoint .* \[ t 1/1, gtp_remat 1/1, p 1/1 \]$",
    ),
    "bridge": (
        r"Configuration Summary \(Non-Default Values vs Megatron Core\)$",
        r"\[after tokenizer is built\] datetime: ",
        r"Starting training loop at iteration 0$",
        r"Step Time : \d+\.\d\ds GPU utilization: ",
        r"\[Rank 0\] \(after 5 iterations\) memory \(GB\) \| mem-allocated-gigabytes: .* \| mem-allocated-count: \d+$",
    ),
    "torchtitan@0.1": (
        r".* Starting job: ",
        r".* Building 1-D device mesh with ",
        r".* \[GC\] Initial GC collection\. 0\.00 seconds\.$",
        r".* TikTokenizer built: #words 50257, ",
        r".* CUDA capacity: ",
        r".* Training starts at step 1\.$",
        r".* Finished saving the checkpoint \(or staging if async is enabled\)in \d+\.\d\d seconds\.$",
        r".* Saving a full checkpoint at last step, step 20\.$",
        r".* Process group destroyed\.$",
    ),
    "torchtitan@0.2.2": (
        r".* torchtitan version: 0\.2\.2 ",
        r".* Starting job: ",
        r".* Successfully created meshes with active dimensions: \['batch', 'loss', 'dp_replicate'\]$",
        r".* \[GC\] Initial GC collection took 0\.00 seconds$",
        r".* Preparing (\S+) dataset from \1$",
        r".* Mixed precision training is ",
        r".* Preparing (\S+) dataset from \1$",
        r".* Trainer is initialized with ",
        r".* Training starts at step 1$",
        r".* Saving the checkpoint \(or staging if async is enabled\)\.$",
        r".*validate step: 10 ",
        r".* Saving a model only checkpoint in torch\.float32 at last step, step 20\.$",
        r".*validate step: 20 ",
        r".* Destroying the purge thread\.$",
        r".* Process group destroyed$",
    ),
    "deepspeed@0.16": (
        r".* Setting ds_accelerator to cuda ",
        r".* cdb=None$",
        r".* Initializing TorchBackend in DeepSpeed with backend nccl$",
        r".* DeepSpeed Basic Optimizer = FusedAdam$",
        r".* \[Rank 0\] step=0, ",
        r".* DeepSpeedEngine configuration:$",
        r".*\]   json = \{$",
        r".* \[Rank 0\] step=5, ",
        r".* \[Torch\] Checkpoint global_step10 is ready now!$",
    ),
    "nemo": (
        r".* Experiments will be logged at ",
        r".* Rank 0 has data parallel group : \[0, 1, 2, 3\]$",
        r".* Padded vocab_size: 50304, original vocab_size: 50257, dummy tokens: 47\.$",
        r"Training epoch 0, iteration 4/19 ",
        r"Validation: iteration 5/8$",
        r".* Global Checkpoint Save : Rank: 0 : Iteration: 10 : Start time: ",
    ),
    "maxtext": (
        r".*\] Jax distributed system initialized on GPU!$",
        r".*\] Checkpoint manager created!$",
        r".*\] number parameters: 0\.124 billion$",
        r".*\] \tUsing \(GB\) \S+ / \S+ \(\S+%\) on cuda:0$",
        r".*\] completed step: 0, ",
        r".*\] Starting eval after train step 9$",
        r".*\] Completed eval after train step 9, ",
    ),
    "olmo": (
        r".*\tBuilding transformer with ",
        r".*\tBuilt 1D device mesh with shape \(dp=4,\)$",
        r".*\tCallback order:$",
        r".*\tDry-run complete$",
        r".*\tStarting epoch 1\.\.\.$",
        r".*\t\[step=1/20,epoch=1\]$",
        r".*\t\[step=5/20,epoch=1,eta=\w+\]$",
        r".*\t\[eval=lm,step=8/8\]$",
        r".*\tEvaluation speed:$",
        r".*\tEpoch complete$",
    ),
    "llmc": (
        r"\| final LR fraction     \| 1\.000000e-01 ",
        r"allocating \d+ MiB for parameter gradients$",
        r"allocating \d+ MiB for activations$",
        r" -> estimated maximum batch size: \d+$",
        r"step +1/20 ",
        r"Writing state to \S+_00000010_00000\.bin$",
        r"Deleting checkpoint at step 10$",
    ),
    "nanochat": (r"GPU: .* \| Peak FLOPS ", r"COMPUTE_DTYPE: torch\.bfloat16 ", r"Vocab size: ", r"step 00000/00020 "),
    "nanogpt": (r"Initializing a new model from scratch$", r"defaulting to vocab_size of GPT-2 to 50304 "),
    "axolotl": (
        r".*\] \[axolotl\.cli\.config\] config:$",
        r".*\] Loading raw datasets\.\.\.",
        r".*\] Starting trainer\.\.\.",
        r"\{'eval_loss': .*, 'eval_ppl': .*, 'epoch': ",
        r".*\] Training completed! Saving trained model to \S+\.",
    ),
    "llamafactory": (
        r".*parser:651 >> Process rank: 3, world size: 4, device: cuda:1, ",
        r".*:143 >> Loading dataset ",
        r".*:143 >> Upcasting trainable params to float32\.$",
        r".*:143 >> Fine-tuning method: Full$",
    ),
}


@pytest.mark.parametrize("voice", ORDERS)
def test_a_voice_prints_the_lines_of_its_framework_in_their_order(train: Train, voice: str) -> None:
    run = train(*DEBUG, "--voice", voice)
    assert run.returncode == 0
    for stream in (run.stdout, run.stderr):
        if re.search(ORDERS[voice][-1], stream, re.MULTILINE):
            lines = iter(stream.splitlines())
            missing = [form for form in ORDERS[voice] if not any(re.match(form, line) for line in lines)]
            assert missing == [], "not there, or not after those before it"
            return
    raise AssertionError(f"nothing like {ORDERS[voice][-1]}")
