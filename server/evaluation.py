"""How good a model is on rows that nobody trained on: accuracy, AUC and loss, pooled and per hospital."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from clients.datasets import Federation, Rows
from clients.task import loss_of, predicted, scores_of


class Score(TypedDict):
    """One model on one set of rows; auc is None where only one class is present, loss where the model is not finite."""

    accuracy: float
    auc: float | None
    loss: float | None
    rows: int


class Evaluation(Score):
    """The pooled score and each hospital's."""

    hospitals: dict[str, Score]


def evaluate(model: nn.Module, federation: Federation) -> Evaluation:
    """The model on the pooled test set and on each hospital's own."""
    hospitals = {hospital.name: score(model, hospital.test) for hospital in federation.hospitals}
    return {**score(model, federation.pooled_test), "hospitals": hospitals}


def score(model: nn.Module, rows: Rows) -> Score:
    """Accuracy at the most probable class, AUC and mean cross-entropy on Rows."""
    if not len(rows):
        return {"accuracy": 0.0, "auc": None, "loss": None, "rows": 0}
    outputs = scores_of(model, rows.X)
    finite = bool(outputs.isfinite().all())
    return {
        "accuracy": float((predicted(outputs) == rows.y).float().mean()),
        "auc": auc(outputs, rows.y),
        "loss": float(loss_of(outputs, rows.y)) if finite else None,
        "rows": len(rows),
    }


def auc(outputs: Tensor, y: Tensor) -> float | None:
    """Area under the ROC curve; with more than two classes the mean over classes present, each against the rest.

        AUC = P(s⁺ > s⁻) + ½·P(s⁺ = s⁻)

    outputs: Float[rows, 1] or Float[rows, classes]; y: Int64[rows]. None where y has one class only. Scores that are
    not
    finite rank nothing: 0.5.
    """
    if outputs.shape[1] == 1:
        return binary_auc(outputs[:, 0].numpy(), y.numpy())
    columns = outputs.softmax(dim=1).numpy()
    areas = [binary_auc(columns[:, k], (y == k).numpy().astype(np.int64)) for k in range(outputs.shape[1])]
    present = [area for area in areas if area is not None]
    return float(np.mean(present)) if present else None


def binary_auc(scores: NDArray[np.floating], y: NDArray[np.int64]) -> float | None:
    """The Mann–Whitney form of the AUC, ties counted half. Hanley, McNeil 1982."""
    positive, negative = int((y == 1).sum()), int((y != 1).sum())
    if not positive or not negative:
        return None
    if not np.isfinite(scores).all():
        return 0.5
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[y == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))
