"""Many participants' models trained at once: plain SGD on stacks of fully connected layers, by batched products.

The same arithmetic as `clients.task.train` on `clients.models.logistic` and `mlp`, client by client (a test compares
them); written out because a grid of ten thousand runs needs it.
"""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Linear, functional

from clients.models import build_model, to_vector


def initial_weights(model: str, inputs: int, classes: int, seed: int) -> tuple[Tensor, tuple[tuple[int, int], ...]]:
    """Float32[d] and the layers' (outputs, inputs)."""
    built = build_model(model, (inputs,), classes, seed)
    layers = tuple((m.out_features, m.in_features) for m in built.modules() if isinstance(m, Linear))
    return to_vector(built.state_dict()), layers


def views(weights: Tensor, layers: tuple[tuple[int, int], ...]) -> list[tuple[Tensor, Tensor]]:
    """Each layer's matrix [k, outputs, inputs] and offset [k, outputs] inside weights Float32[k, d]."""
    found, start = [], 0
    for outputs, inputs in layers:
        end = start + outputs * inputs
        found.append((weights[:, start:end].view(-1, outputs, inputs), weights[:, end : end + outputs]))
        start = end + outputs
    return found


def outputs_of(weights: Tensor, layers: tuple[tuple[int, int], ...], X: Tensor) -> list[Tensor]:
    """Inputs of every layer and the last one's outputs, for X Float32[k, rows, inputs]."""
    activations = [X]
    for i, (W, b) in enumerate(views(weights, layers)):
        z = torch.baddbmm(b[:, None, :], activations[-1], W.transpose(1, 2))
        activations.append(z.relu_() if i + 1 < len(layers) else z)
    return activations


def sgd_step(
    weights: Tensor, layers: tuple[tuple[int, int], ...], X: Tensor, y: Tensor, share: Tensor, learning_rate: float
) -> None:
    """One step in place for k models: weights Float32[k, d], X [k, rows, inputs], y [k, rows].

    share Float32[k, rows]: 1/(rows of the batch), and 0 for rows that only pad it.
    """
    activations = outputs_of(weights, layers, X)
    delta = _slope(activations.pop(), y) * share[:, :, None]
    for W, b in reversed(views(weights, layers)):
        h = activations.pop()
        below = torch.bmm(delta, W).mul_(h > 0) if activations else None
        W.baddbmm_(delta.transpose(1, 2), h, alpha=-learning_rate)
        b.sub_(delta.sum(1), alpha=learning_rate)
        if below is not None:
            delta = below


def accuracy(weights: Tensor, layers: tuple[tuple[int, int], ...], X: Tensor, y: Tensor) -> Tensor:
    """Float32[k]: the share of rows that each of k models puts into its class."""
    scores = outputs_of(weights, layers, X.expand(len(weights), *X.shape))[-1]
    chosen = (scores[:, :, 0] > 0).long() if scores.shape[2] == 1 else scores.argmax(2)
    return (chosen == y).float().mean(1)


def auc(scores: Tensor, y: Tensor) -> float:
    """The share of pairs of a positive and a negative row that the scores order rightly, ties counting half."""
    positive, negative = scores[y == 1], scores[y == 0]
    right = (positive[:, None] > negative[None, :]).double() + 0.5 * (positive[:, None] == negative[None, :])
    return float(right.mean())


def batches(rows: NDArray[np.int64], steps: int, batch_size: int, seed: int) -> tuple[NDArray[np.int64], Tensor]:
    """The rows of each step, Int64[steps, batch_size], and their shares; the order that `clients.task.train` draws."""
    generator = torch.Generator().manual_seed(seed)
    chosen = np.zeros((steps, batch_size), dtype=np.int64)
    share = torch.zeros(steps, batch_size)
    order = np.empty(0, dtype=np.int64)
    for step in range(steps):
        if not len(order):
            order = torch.randperm(len(rows), generator=generator).numpy()
        batch, order = order[:batch_size], order[batch_size:]
        chosen[step, : len(batch)] = rows[batch]
        share[step, : len(batch)] = 1 / len(batch)
    return chosen, share


def dimension(layers: tuple[tuple[int, int], ...]) -> int:
    """d, the number of parameters."""
    return sum(itertools.starmap(lambda outputs, inputs: outputs * (inputs + 1), layers))


def _slope(scores: Tensor, y: Tensor) -> Tensor:
    if scores.shape[2] == 1:
        return torch.sigmoid(scores) - y[:, :, None]
    return functional.softmax(scores, dim=2).scatter_add_(2, y[:, :, None], torch.full_like(scores[:, :, :1], -1.0))
