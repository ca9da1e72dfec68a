"""The models of the simulation. One output where there are two classes (a logit), else one per class."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from flower_robust.errors import ConfigurationError

Shape = tuple[int, ...]


def logistic(shape: Shape, outputs: int) -> nn.Module:
    """Logistic regression: W·x + b."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), outputs))


def mlp(shape: Shape, outputs: int) -> nn.Module:
    """Two hidden layers of 64 ReLU units."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, outputs),
    )


def cnn(shape: Shape, outputs: int) -> nn.Module:
    """Two 3 × 3 convolutions (16 and 32 channels), pooled once, and one linear layer; for images."""
    if len(shape) != 3:
        raise ConfigurationError("model", "cnn", f"logistic or mlp (records of shape {shape} are no images)")
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (height // 2) * (width // 2), outputs),
    )


MODELS: dict[str, Callable[[Shape, int], nn.Module]] = {"logistic": logistic, "mlp": mlp, "cnn": cnn}


def build_model(name: str, shape: Shape, classes: int, seed: int) -> nn.Module:
    """A model with the initial weights that `seed` draws; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name](shape, 1 if classes == 2 else classes)


def to_vector(state: dict[str, Tensor]) -> Tensor:
    """The floating-point tensors of a state dict as one Float32[d], in the state's order."""
    return torch.cat([tensor.reshape(-1).float() for tensor in state.values() if tensor.is_floating_point()])


def from_vector(vector: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of `to_vector`: `state` with its floating-point tensors replaced; the others are kept."""
    replaced, start = dict(state), 0
    for name, tensor in state.items():
        if tensor.is_floating_point():
            replaced[name] = vector[start : start + tensor.numel()].reshape(tensor.shape).to(tensor.dtype)
            start += tensor.numel()
    return replaced
