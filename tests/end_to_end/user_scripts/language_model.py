"""A script with a simulated model and dataset in the loop of Accelerate's examples; no config is handed in."""

from accelerate_sim import (
    Accelerator,
    AdamW,
    AutoModelForCausalLM,
    AutoTokenizer,
    DataLoader,
    get_linear_schedule_with_warmup,
    load_dataset,
)

STEPS = 6
accelerator = Accelerator(mixed_precision="bf16", gradient_accumulation_steps=2)
tokenizer = AutoTokenizer.from_pretrained("gpt2")
datasets = load_dataset("fineweb-edu")
train_loader = DataLoader(datasets["train"], shuffle=True, batch_size=8)
model = AutoModelForCausalLM.from_pretrained("gpt2")
model = model.to(accelerator.device)
optimizer = AdamW(params=model.parameters(), lr=2e-5)
scheduler = get_linear_schedule_with_warmup(optimizer=optimizer, num_warmup_steps=2, num_training_steps=STEPS)
model, optimizer, train_loader, scheduler = accelerator.prepare(model, optimizer, train_loader, scheduler)
model.train()
total_loss = 0
for step, batch in enumerate(train_loader):
    if step == 2 * STEPS:
        break
    batch.to(accelerator.device)
    with accelerator.accumulate(model):
        loss = model(**batch).loss
        total_loss += loss.detach().float()
        accelerator.backward(loss)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    accelerator.print(f"{step}: {accelerator.sync_gradients} {scheduler.get_last_lr()[0]:.2e}")
losses = accelerator.gather_for_metrics(loss.repeat(8))
mean = accelerator.reduce(loss.detach(), reduction="mean")
accelerator.print(f"loss {mean.item():.4f} of {len(losses)} | mean of rank 0 {total_loss.item() / (2 * STEPS):.4f}")
accelerator.end_training()
