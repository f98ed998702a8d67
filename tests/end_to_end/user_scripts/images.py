"""The shape of Accelerate's example for images: a dataset class, batches as plain dicts, accuracy from counts."""

import numpy as np
from numpy_learning import SGD, Classifier, LinearDecay, flowers

from accelerate_sim import Accelerator, DataLoader
from accelerate_sim.utils import set_seed


class Pictures:
    def __init__(self, rows, scale):
        self.rows, self.scale = rows, scale

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        return {"image": row["features"] * self.scale, "label": int(row["labels"])}


accelerator = Accelerator()
set_seed(7)
rows = flowers(300, seed=3)
order = np.random.permutation(len(rows))
train = Pictures([rows[i] for i in order[:240]], scale=2.0)
validation = Pictures([rows[i] for i in order[240:]], scale=2.0)
train_loader = DataLoader(train, shuffle=True, batch_size=10, num_workers=4)
eval_loader = DataLoader(validation, shuffle=False, batch_size=10, num_workers=4)
mean, std = np.full(4, 1.0), np.full(4, 2.0)
model = Classifier().to(accelerator.device)
optimizer = SGD(model.parameters(), lr=0.3)
scheduler = LinearDecay(optimizer, total=len(train_loader) * 2)
model, optimizer, train_loader, eval_loader, scheduler = accelerator.prepare(
    model, optimizer, train_loader, eval_loader, scheduler
)
for epoch in range(2):
    model.train()
    for batch in train_loader:
        batch = {name: value.to(accelerator.device) for name, value in batch.items()}
        inputs = (batch["image"] - mean) / std
        accelerator.backward(model(inputs, batch["label"]).loss)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    model.eval()
    accurate, elements = 0, 0
    for batch in eval_loader:
        batch = {name: value.to(accelerator.device) for name, value in batch.items()}
        outputs = model((batch["image"] - mean) / std, batch["label"])
        predictions, references = accelerator.gather_for_metrics((outputs.logits.argmax(dim=-1), batch["label"]))
        right = predictions == references
        elements += right.shape[0]
        accurate += right.long().sum()
    accelerator.print(f"epoch {epoch}: accuracy {accurate.item() / elements:.3f} of {elements}")
accelerator.end_training()
