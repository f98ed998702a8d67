"""Pretrain a language model on a GPU cluster with Accelerate.

python train.py --config configs/llama70b.yaml
python train.py --help
"""

import math

from accelerate_sim import (
    Accelerator,
    AutoModelForCausalLM,
    AutoTokenizer,
    CausalLM,
    DataLoader,
    RunConfig,
    RunKwargs,
    export_model,
    get_logger,
    get_optimizer,
    get_scheduler,
    launch,
    load_dataset,
    set_seed,
    tqdm,
)

logger = get_logger(__name__)


def evaluate(accelerator: Accelerator, model: CausalLM, loader: DataLoader) -> float:
    """Mean loss on the validation set, in nats per token, averaged over all ranks."""
    model.eval()
    total = 0.0
    for batch in tqdm(loader, desc="Validation", unit="batch", leave=False, parts=1):
        loss = model(**batch).loss
        total += accelerator.reduce(loss.detach(), reduction="mean").item()
    model.train()
    return total / len(loader)


def main(config: RunConfig) -> None:
    """One training run, from the first weights to the exported model."""
    train = config.train

    # --- Build ------------------------------------------------------------------------------------
    accelerator = Accelerator(
        mixed_precision=train.precision, log_with=config.log.trackers, kwargs_handlers=[RunKwargs(config)]
    )
    set_seed(config.run.seed)
    model = AutoModelForCausalLM.from_pretrained(config.model_name)
    tokenizer = AutoTokenizer.from_pretrained(config.model_name)
    dataset = load_dataset(config.data.dataset)
    train_loader = DataLoader(dataset["train"], batch_size=train.micro_batch)
    eval_loader = DataLoader(dataset["validation"], batch_size=train.micro_batch)
    optimizer = get_optimizer(train.optimizer, model.parameters(), lr=train.lr, weight_decay=train.weight_decay)
    total_steps = train.epochs * train.steps_per_epoch
    scheduler = get_scheduler(train.schedule, optimizer, train.warmup_steps, total_steps)

    # --- Prepare ----------------------------------------------------------------------------------
    model, optimizer, train_loader, eval_loader, scheduler = accelerator.prepare(
        model, optimizer, train_loader, eval_loader, scheduler
    )
    last_step = min(total_steps, train.max_steps or total_steps)

    def validate(epoch: int) -> None:
        logger.info("Validation after step %d (epoch %d): %d batches a rank", step, epoch, len(eval_loader))
        loss = evaluate(accelerator, model, eval_loader)
        accelerator.log({"eval_loss": loss, "eval_perplexity": math.exp(loss)}, step=step)

    # --- Train ------------------------------------------------------------------------------------
    logger.info("Training %s: %d epochs, %d steps", config.model_name, train.epochs, last_step)
    step = 0
    if accelerator.resume_from_checkpoint:
        accelerator.load_state(accelerator.resume_from_checkpoint)
        step = int(accelerator.resume_from_checkpoint.name.removeprefix("checkpoint-"))
    epochs = tqdm(
        total=train.epochs, initial=step / train.steps_per_epoch, desc="Training",
        bar_format="{l_bar}{bar}| {elapsed}<{remaining}", leave=False,
    )  # fmt: skip
    for epoch in range(step // train.steps_per_epoch + 1, train.epochs + 1):
        if step == last_step:
            break
        model.train()
        epoch_loss, step_loss, first_step = 0.0, 0.0, step
        done = step % train.steps_per_epoch
        batches = accelerator.skip_first_batches(train_loader, train_loader.batches_of(done)) if done else train_loader
        steps = tqdm(
            total=train.steps_per_epoch, initial=done, desc=f"Epoch {epoch}/{train.epochs}", unit="step", leave=False
        )
        for batch in batches:
            with accelerator.accumulate(model):
                loss = model(**batch).loss
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    micro_batches = accelerator.gradient_accumulation_steps
                    grad_norm = accelerator.clip_grad_norm_(model.parameters(), train.max_grad_norm)
                    lr = scheduler.get_last_lr()[0]
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            step_loss += loss.detach()
            if not accelerator.sync_gradients:
                continue

            step += 1
            mean_loss = accelerator.reduce(step_loss, reduction="mean").item() / micro_batches
            epoch_loss, step_loss = epoch_loss + mean_loss, 0.0
            perplexity = math.exp(mean_loss)
            accelerator.log({"loss": mean_loss, "perplexity": perplexity, "grad_norm": grad_norm, "lr": lr}, step=step)
            rate = f"{accelerator.tokens_per_s:,.0f}"
            steps.set_postfix_str(
                f"loss={mean_loss:.4f}, ppl={perplexity:.2f}, lr={lr:.2e}, tok/s={rate}", refresh=False
            )
            steps.update()
            epochs.update(step / train.steps_per_epoch - epochs.n)

            ends_epoch = step == last_step or step % train.steps_per_epoch == 0
            if ends_epoch:
                steps.close()
                done = step - first_step
                logger.info(
                    "Epoch %d/%d | average loss %.4f over %d steps", epoch, train.epochs, epoch_loss / done, done
                )
            if ends_epoch or (config.eval.every and step % config.eval.every == 0):
                validate(epoch)
            if config.checkpoint.every and step % config.checkpoint.every == 0:
                accelerator.save_state(f"checkpoint-{step}")
            if ends_epoch:
                break
    epochs.close()

    # --- Save -------------------------------------------------------------------------------------
    accelerator.wait_for_everyone()
    export_model(accelerator.unwrap_model(model), tokenizer, accelerator.project_dir / "final")
    accelerator.end_training()


if __name__ == "__main__":
    launch(main)
