"""The hospital's ClientApp. Everything it computes is in `clients.hospital`; its lies are in attacks and tampering."""

from functools import cache

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from clients import members
from clients.attacks import ATTACKS, Attack
from clients.datasets import Federation
from clients.hospital import local_round
from clients.settings import Settings
from clients.statistics import statistics
from clients.tampering import ARRAYS, CONFIG, COUNT, METRICS, tampering_mod
from flower_robust import robust_mod
from flower_robust.commitments import Identity
from flower_robust.flower.summand import BOUNDS, summand

Config = tuple[tuple[str, str | int | float | bool], ...]
"""A run config that can be a key."""


def participant(context: Context) -> tuple[Settings, Federation, int]:
    """The run's settings, its hospitals, and which of them this node is."""
    settings, federation = run_of(context)
    return settings, federation, members.index_of(context, federation)


def malice(context: Context) -> tuple[Attack, float, Identity]:
    """What this node does to its replies, how strongly, and the key it signs with; nothing where the key is real."""
    settings, federation = run_of(context)
    identity = members.identity_of(context, settings, federation)
    attack = ATTACKS["none"] if members.is_real(context) else settings.attack_of(identity.name)
    return attack, settings.strength, identity


def run_of(context: Context) -> tuple[Settings, Federation]:
    """The run's settings and its hospitals, read once."""
    return _read(tuple(sorted(context.run_config.items())))


@cache
def _read(config: Config) -> tuple[Settings, Federation]:
    settings = Settings.from_config(dict(config))
    return settings, settings.federation()


def bounding_mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """The library's mod, with the run's momentum."""
    settings, federation = run_of(context)
    mod = robust_mod(
        lambda context: members.identity_of(context, settings, federation),
        lambda context: members.roster_of(context, settings, federation),
        momentum=settings.momentum,
    )
    return mod(message, context, call_next)


app = ClientApp(mods=[tampering_mod(malice), bounding_mod])


@app.query("private_sums")
def private_sums(message: Message, context: Context) -> Message:
    """What this hospital adds to the sums that standardise features; the mod masks it."""
    _, federation, i = participant(context)
    return summand(message, statistics(federation.hospitals[i].train, message.content.array_records[BOUNDS]))


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round of the hospital's training."""
    settings, federation, i = participant(context)
    config = message.content.config_records[CONFIG]
    if "mean" in config:
        mean, deviation = (np.array(config[key], np.float64) for key in ("mean", "deviation"))
        federation = federation.standardised(mean, deviation)
    state = message.content.array_records[ARRAYS].to_torch_state_dict()
    server_round = int(config["server-round"])  # type: ignore[arg-type]
    new, loss = local_round(settings, federation, i, dict(state), server_round)
    metrics = MetricRecord({COUNT: len(federation.hospitals[i].train), "train-loss": loss})
    name = ConfigRecord({"name": federation.names[i]})
    return Message(RecordDict({ARRAYS: ArrayRecord(new), METRICS: metrics, "hospital": name}), reply_to=message)
