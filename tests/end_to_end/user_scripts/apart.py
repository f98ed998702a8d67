"""The shape of Accelerate's example for local SGD, and of distributed inference."""

from numpy_learning import SGD, Classifier, flowers

from accelerate_sim import Accelerator, DataLoader
from accelerate_sim.own_script.local_sgd import LocalSGD
from accelerate_sim.utils import gather_object, set_seed

accelerator = Accelerator()
set_seed(3)
loader = DataLoader(flowers(160, seed=1), batch_size=4, shuffle=True)
model, optimizer, loader = accelerator.prepare(model := Classifier(), SGD(model.parameters(), lr=0.3), loader)
with LocalSGD(accelerator=accelerator, model=model, local_sgd_steps=4, enabled=True) as local_sgd:
    for batch in loader:
        with accelerator.accumulate(model):
            accelerator.backward(model(**batch).loss)
            optimizer.step()
            optimizer.zero_grad()
            local_sgd.step()
apart = accelerator.gather(model.weight.data.unsqueeze(0))
accelerator.print(f"weights apart by {abs(apart - apart[0]).max():.1e}")

with accelerator.split_between_processes([f"prompt {number}" for number in range(5)]) as prompts:
    answers = [prompt.replace("prompt", "answer") for prompt in prompts]
accelerator.print(", ".join(gather_object(answers)))


@accelerator.on_main_process
def once():
    print("said once")


once()
accelerator.wait_for_everyone()
accelerator.end_training()
