"""One hospital's round, without Flower: honest training, or its attack on labels or update."""

from dataclasses import replace

import torch
from torch import Tensor

from clients.attacks import Knowledge, View, honest
from clients.datasets import Federation, Rows
from clients.models import build_model, from_vector, to_vector
from clients.settings import Settings
from clients.task import seed_for, train

State = dict[str, Tensor]


def local_round(
    settings: Settings, federation: Federation, i: int, state: State, server_round: int
) -> tuple[State, float]:
    """Hospital i's model after one round that started from `state`, and its mean training loss.

    A malicious hospital returns what its attack makes of it; tampering with the signed reply comes later.
    """
    hospital, attack = federation.hospitals[i], settings.attack_of(federation.names[i])
    rows = hospital.train
    if attack.labels is not None:
        rows = replace(rows, y=attack.labels(rows.y, federation.classes))
    new, loss = trained(settings, federation, i, rows, state, server_round)
    if attack.update is honest:
        return new, loss
    old = to_vector(state).double()
    known = [_update(settings, federation, j, state, server_round) for j in _known(settings, federation, i)]
    generator = torch.Generator().manual_seed(seed_for(settings.seed, server_round, "attack"))
    view = View(to_vector(new).double() - old, torch.stack(known), generator)
    return from_vector((old + attack.update(view, settings.strength)).float(), new), loss


def trained(
    settings: Settings, federation: Federation, i: int, rows: Rows, state: State, server_round: int
) -> tuple[State, float]:
    """Honest training of hospital i on `rows`: the new state and the mean training loss."""
    model = build_model(settings.model, federation.shape, federation.classes, settings.seed)
    model.load_state_dict(state)
    loss = train(model, rows, settings.schedule, seed_for(settings.seed, server_round, i))
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}, loss


def _update(settings: Settings, federation: Federation, j: int, state: State, server_round: int) -> Tensor:
    new, _ = trained(settings, federation, j, federation.hospitals[j].train, state, server_round)
    return to_vector(new).double() - to_vector(state).double()


def _known(settings: Settings, federation: Federation, i: int) -> list[int]:
    liars = [j for j, name in enumerate(federation.names) if name in settings.malicious]
    if settings.knowledge == Knowledge.ALL.value:
        return [j for j in range(len(federation.names)) if j not in liars]
    return liars if settings.knowledge == Knowledge.COLLUDERS.value else [i]
