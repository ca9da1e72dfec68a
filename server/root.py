"""The server's own update: trained as hospitals train, on rows that none of them has."""

import torch
from flwr.app import ArrayRecord
from torch import Tensor

from clients.datasets import Federation
from clients.models import build_model
from clients.settings import Settings
from clients.task import seed_for, train


class RootTraining:
    """`reference(round, arrays)` of a run; with the hospitals' momentum, the mean of its recent updates as theirs is.

    m ← β·m + (1 − β)·u,  reference = m / (1 − β^k)        k: rounds so far
    """

    def __init__(self, settings: Settings, federation: Federation) -> None:
        assert federation.root is not None, "made where there are root rows"
        self.settings, self.root = settings, federation.root
        self.model = build_model(settings.model, federation.shape, federation.classes, settings.seed)
        self.mean: dict[str, Tensor] = {}
        self.rounds = 0

    def __call__(self, server_round: int, arrays: ArrayRecord) -> ArrayRecord:
        """The update of this round, by name of the model's arrays."""
        beta, old = self.settings.momentum, arrays.to_torch_state_dict()
        self.model.load_state_dict(old)
        train(self.model, self.root, self.settings.schedule, seed_for(self.settings.seed, server_round, "root"))
        self.rounds += 1
        for name, tensor in self.model.state_dict().items():
            before = self.mean.get(name, torch.zeros_like(tensor))
            self.mean[name] = beta * before + (1 - beta) * (tensor.detach() - old[name])
        scale = 1 / (1 - beta**self.rounds)
        return ArrayRecord({name: mean * scale for name, mean in self.mean.items()})
