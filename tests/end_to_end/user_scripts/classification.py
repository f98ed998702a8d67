"""The shape of Accelerate's first example: prepare, train, gather predictions, print the accuracy of each epoch."""

import argparse

import numpy as np
from numpy_learning import SGD, Classifier, LinearDecay, flowers

from accelerate_sim import Accelerator, DataLoader, DistributedType
from accelerate_sim.utils import set_seed

LARGEST_BATCH = 16


def loaders(accelerator, batch_size):
    with accelerator.main_process_first():
        train, validation = flowers(320, seed=1), flowers(90, seed=2)
    return DataLoader(train, shuffle=True, batch_size=batch_size, drop_last=True), DataLoader(validation, batch_size=8)


def train(options):
    accelerator = Accelerator(cpu=options.cpu, mixed_precision=options.mixed_precision)
    steps, batch_size = 1, 32
    if batch_size > LARGEST_BATCH and accelerator.distributed_type != DistributedType.XLA:
        steps, batch_size = batch_size // LARGEST_BATCH, LARGEST_BATCH
    set_seed(42)
    train_loader, eval_loader = loaders(accelerator, batch_size)
    model = Classifier().to(accelerator.device)
    optimizer = SGD(params=model.parameters(), lr=0.5)
    scheduler = LinearDecay(optimizer, total=len(train_loader) * 3 // steps)
    model, optimizer, train_loader, eval_loader, scheduler = accelerator.prepare(
        model, optimizer, train_loader, eval_loader, scheduler
    )
    for epoch in range(3):
        model.train()
        for step, batch in enumerate(train_loader):
            batch.to(accelerator.device)
            loss = model(**batch).loss / steps
            accelerator.backward(loss)
            if step % steps == 0:
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
        model.eval()
        right, seen = 0, 0
        for batch in eval_loader:
            outputs = model(**batch)
            predictions = outputs.logits.argmax(dim=-1)
            predictions, references = accelerator.gather_for_metrics((predictions, batch["labels"]))
            right += (predictions == references).long().sum().item()
            seen += len(references)
        accelerator.print(f"epoch {epoch}: accuracy {right / seen:.3f} of {seen}")
    accelerator.print(f"weights {np.shape(model.weight.data)} {accelerator.device}")
    accelerator.end_training()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--mixed_precision", default=None, choices=["no", "fp16", "bf16", "fp8"])
    parser.add_argument("--cpu", action="store_true")
    train(parser.parse_args())
