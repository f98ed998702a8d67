"""The shape of Accelerate's examples for accumulated gradients, a batch size that fits, and stopping early."""

from numpy_learning import SGD, Classifier, LinearDecay, flowers

from accelerate_sim import Accelerator, DataLoader
from accelerate_sim.utils import find_executable_batch_size, set_seed

accelerator = Accelerator(gradient_accumulation_steps=3)


@find_executable_batch_size(starting_batch_size=8)
def train(batch_size):
    accelerator.free_memory()
    accelerator.print(f"batch size {batch_size}")
    if batch_size > 7:
        raise RuntimeError("CUDA out of memory.")
    set_seed(1)
    loader = DataLoader(flowers(7 * 4 * 4, seed=1), batch_size=batch_size)
    model = Classifier()
    optimizer = SGD(model.parameters(), lr=0.5)
    scheduler = LinearDecay(optimizer, total=1000)
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
    for epoch in range(20):
        for batch in loader:
            with accelerator.accumulate(model):
                loss = model(**batch).loss
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            if accelerator.is_last_process and loss.item() < 0.25:
                accelerator.set_trigger()
        if accelerator.check_trigger():
            accelerator.print(f"stopped in epoch {epoch}")
            break
    accelerator.print(f"{len(loader)} batches, {optimizer.steps} steps, {scheduler.last_epoch} of the schedule")


train()
accelerator.end_training()
