"""A classifier, its optimizer, schedule and data in plain numpy: what a user's script brings instead of torch's."""

import numpy as np

FEATURES, CLASSES = 4, 3


class Parameter:
    """A weight and its gradient."""

    def __init__(self, data):
        self.data, self.grad = data, None


class Loss:
    """The loss of a batch, which knows how to compute gradients."""

    def __init__(self, value, backward, scale=1.0):
        self.value, self._backward, self._scale = value, backward, scale

    def __truediv__(self, number):
        return Loss(self.value / number, self._backward, self._scale / number)

    def backward(self):
        self._backward(self._scale)

    def detach(self):
        return self.value

    def item(self):
        return self.value.item()


class Output:
    """Output of the model."""

    def __init__(self, loss, logits):
        self.loss, self.logits = loss, logits


class Classifier:
    """Softmax regression."""

    __slots__ = ("training", "weight")  # nothing can be attached to it

    def __init__(self):
        self.weight, self.training = Parameter(np.zeros((FEATURES, CLASSES))), True

    def to(self, device):
        return self

    def train(self, mode=True):
        self.training = mode

    def eval(self):
        self.train(False)

    def parameters(self):
        yield self.weight

    def state_dict(self):
        return {"weight": np.asarray(self.weight.data)}

    def load_state_dict(self, state):
        self.weight.data = state["weight"]

    def __call__(self, features, labels):
        logits = features @ self.weight.data
        powers = np.exp(logits)
        shares = powers / powers.sum(-1, keepdim=True)
        wanted = (labels.unsqueeze(-1) == np.arange(CLASSES)) * 1.0
        wrong = shares - wanted

        def backward(scale):
            gradient = features.T @ wrong / len(features) * scale
            self.weight.grad = gradient if self.weight.grad is None else self.weight.grad + gradient

        return Output(Loss(-(np.log(shares) * wanted).sum(-1).mean(), backward), logits)


class SGD:
    """Gradient descent."""

    def __init__(self, params, lr):
        self.param_groups = [{"params": list(params), "lr": lr}]
        self.steps = 0

    def step(self):
        self.steps += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data = parameter.data - group["lr"] * parameter.grad

    def zero_grad(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def state_dict(self):
        return {"steps": self.steps, "lr": self.param_groups[0]["lr"]}

    def load_state_dict(self, state):
        self.steps, self.param_groups[0]["lr"] = state["steps"], state["lr"]


class LinearDecay:
    """A learning rate that falls to zero over ``total`` steps."""

    def __init__(self, optimizer, total):
        self.optimizer, self.total, self.last_epoch = optimizer, total, 0
        self.first = optimizer.param_groups[0]["lr"]

    def step(self):
        self.last_epoch += 1
        self.optimizer.param_groups[0]["lr"] = self.first * max(1 - self.last_epoch / self.total, 0.0)

    def get_last_lr(self):
        return [self.optimizer.param_groups[0]["lr"]]

    def state_dict(self):
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state):
        self.last_epoch = state["last_epoch"]


def flowers(count, seed):
    """Rows of measurements around one centre for each class."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, CLASSES, count)
    centres = np.eye(CLASSES, FEATURES) * 4.0
    return [{"features": centres[label] + draw.normal(size=FEATURES), "labels": label} for label in labels]
