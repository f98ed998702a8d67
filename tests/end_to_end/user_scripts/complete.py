"""The shape of Accelerate's complete example: trackers, checkpoints by step or epoch, and going on from one."""

import argparse
import os

from numpy_learning import SGD, Classifier, LinearDecay, flowers

from accelerate_sim import Accelerator, DataLoader, DataLoaderConfiguration
from accelerate_sim.utils import ProjectConfiguration, set_seed

parser = argparse.ArgumentParser()
parser.add_argument("--checkpointing_steps", default=None)
parser.add_argument("--resume_from_checkpoint", default=None)
parser.add_argument("--output_dir", default=".")
options = parser.parse_args()

accelerator = Accelerator(
    log_with=["tensorboard", "jsonl"], dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True),
    project_config=ProjectConfiguration(project_dir=options.output_dir, logging_dir=f"{options.output_dir}/logs"),
)  # fmt: skip
accelerator.init_trackers("complete", {"lr": 0.5, "seed": 42})
set_seed(42)
train_loader = DataLoader(flowers(256, seed=1), batch_size=8)
eval_loader = DataLoader(flowers(90, seed=2), batch_size=8)
model = Classifier()
optimizer = SGD(model.parameters(), lr=0.5)
scheduler = LinearDecay(optimizer, total=10_000)
model, optimizer, train_loader, eval_loader, scheduler = accelerator.prepare(
    model, optimizer, train_loader, eval_loader, scheduler
)
accelerator.register_for_checkpointing(scheduler)
overall, first_epoch, resume_step = 0, 0, None
if options.resume_from_checkpoint:
    accelerator.print(f"Resumed from checkpoint: {options.resume_from_checkpoint}")
    accelerator.load_state(options.resume_from_checkpoint)
    name = os.path.basename(options.resume_from_checkpoint)
    if "epoch" in name:
        first_epoch = int(name.replace("epoch_", "")) + 1
    else:
        resume_step = int(name.replace("step_", ""))
        first_epoch, resume_step = divmod(resume_step, len(train_loader))
for epoch in range(first_epoch, 2):
    model.train()
    total_loss, active = 0, train_loader
    if options.resume_from_checkpoint and epoch == first_epoch and resume_step is not None:
        active = accelerator.skip_first_batches(train_loader, resume_step)
        overall += resume_step
    for batch in active:
        loss = model(**batch).loss
        total_loss += loss.detach().float()
        accelerator.backward(loss)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        overall += 1
        if options.checkpointing_steps not in (None, "epoch") and overall % int(options.checkpointing_steps) == 0:
            accelerator.save_state(os.path.join(options.output_dir, f"step_{overall}"))
    model.eval()
    right, seen = 0, 0
    for batch in eval_loader:
        predictions, references = accelerator.gather_for_metrics(
            (model(**batch).logits.argmax(dim=-1), batch["labels"])
        )
        right, seen = right + (predictions == references).sum().item(), seen + references.shape[0]
    accelerator.print(f"epoch {epoch}: accuracy {right / seen:.3f} of {seen}")
    accelerator.log({"accuracy": right / seen, "train_loss": total_loss.item() / len(train_loader)}, step=epoch)
    if options.checkpointing_steps == "epoch":
        accelerator.save_state(os.path.join(options.output_dir, f"epoch_{epoch}"))
weights = " ".join(f"{weight:.9f}" for weight in accelerator.get_state_dict(model)["weight"].flatten())
accelerator.print(f"weights {weights}")
accelerator.end_training()
