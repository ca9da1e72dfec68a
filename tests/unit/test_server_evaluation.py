"""Accuracy and AUC against scikit-learn's."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from clients.datasets import Rows
from server.evaluation import auc, score


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31 - 1), rows=st.integers(2, 60), levels=st.integers(1, 8))
def test_auc_is_scikit_learn_s_also_with_ties(seed: int, rows: int, levels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (rows,), generator=generator)
    scores = torch.randint(0, levels, (rows, 1), generator=generator).float()
    if 0 < int(y.sum()) < rows:
        assert abs(auc(scores, y) - roc_auc_score(y, scores[:, 0])) < 1e-12
    else:
        assert auc(scores, y) is None


def test_auc_of_several_classes_is_the_mean_of_each_against_the_rest() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, y = torch.randn(200, 4, generator=generator), torch.arange(200) % 4
    expected = roc_auc_score(y, outputs.softmax(1).double().numpy(), multi_class="ovr", average="macro")
    assert abs(auc(outputs, y) - expected) < 1e-6


def test_a_model_of_nan_ranks_nothing_and_stays_in_json() -> None:
    broken = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(broken.weight, torch.nan)
    found = score(broken, Rows(torch.ones(4, 2), torch.tensor([0, 1, 1, 1])))
    assert found == {"accuracy": 0.25, "auc": 0.5, "loss": None, "rows": 4}


def test_a_hospital_of_one_class_has_no_auc() -> None:
    found = score(torch.nn.Linear(2, 1), Rows(torch.ones(3, 2), torch.ones(3, dtype=torch.int64)))
    assert found["auc"] is None and found["rows"] == 3
