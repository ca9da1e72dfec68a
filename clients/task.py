"""What a hospital computes: a fixed number of SGD steps on its own rows, and the scores of a model."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from clients.datasets import Rows


@dataclass(frozen=True)
class Schedule:
    """Local training: `steps` SGD steps of `batch_size` rows at `learning_rate`."""

    steps: int
    batch_size: int
    learning_rate: float


def train(model: nn.Module, rows: Rows, schedule: Schedule, seed: int) -> float:
    """Train in place; the same model, rows, schedule and seed give the same bits. Returns the mean training loss."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=schedule.learning_rate)
    model.train()
    total, order = 0.0, torch.empty(0, dtype=torch.int64)
    for _ in range(schedule.steps):
        if not len(order):
            order = torch.randperm(len(rows), generator=generator)
        batch, order = order[: schedule.batch_size], order[schedule.batch_size :]
        optimizer.zero_grad()
        loss = loss_of(model(rows.X[batch]), rows.y[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.item()
    return total / schedule.steps


def loss_of(outputs: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of outputs Float[rows, 1] (logits of class 1) or Float[rows, classes] with labels Int64[rows]."""
    if outputs.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(outputs[:, 0], y.float())
    return functional.cross_entropy(outputs, y)


def scores_of(model: nn.Module, X: Tensor) -> Tensor:
    """The model's outputs, Float32[rows, outputs], without gradients."""
    torch.set_num_threads(1)
    model.eval()
    with torch.no_grad():
        outputs: Tensor = model(X)
    return outputs


def predicted(outputs: Tensor) -> Tensor:
    """The class with the highest score, Int64[rows]."""
    return (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(dim=1)


def seed_for(*parts: object) -> int:
    """A 63-bit seed for one purpose, e.g. seed_for(run seed, round, hospital)."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1
