"""The hospital's ClientApp. Everything it computes is in `clients.hospital`; its lies are in attacks and tampering."""

from functools import cache

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from clients.attacks import Attack
from clients.datasets import Federation
from clients.hospital import local_round
from clients.settings import Settings
from clients.statistics import statistics
from clients.tampering import ARRAYS, CONFIG, COUNT, METRICS, tampering_mod
from flower_robust import robust_mod
from flower_robust.commitments import Identity, Roster
from flower_robust.flower.summand import BOUNDS, summand

Config = tuple[tuple[str, str | int | float | bool], ...]
"""A run config that can be a key."""


def identity_of(context: Context) -> Identity:
    """The key file that the node's configuration names, else the hospital's simulated key."""
    if path := context.node_config.get("identity"):
        return Identity.load(str(path))
    settings, federation, i = participant(context)
    return settings.identity(federation.names[i])


def roster_of(context: Context) -> Roster:
    """The roster file that the node's configuration names, else the simulated hospitals."""
    if path := context.node_config.get("roster"):
        return Roster.load(str(path))
    return _roster(tuple(sorted(context.run_config.items())))


def participant(context: Context) -> tuple[Settings, Federation, int]:
    """The run's settings, its hospitals, and which of them this node is."""
    settings, federation = _read(tuple(sorted(context.run_config.items())))
    return settings, federation, int(context.node_config["partition-id"])


def malice(context: Context) -> tuple[Attack, float, Identity]:
    """What this node does to its replies, how strongly, and the key it signs with."""
    settings, federation, i = participant(context)
    return settings.attack_of(federation.names[i]), settings.strength, identity_of(context)


@cache
def _roster(config: Config) -> Roster:
    settings, federation = _read(config)
    return settings.roster(federation)


@cache
def _read(config: Config) -> tuple[Settings, Federation]:
    settings = Settings.from_config(dict(config))
    return settings, settings.federation()


def bounding_mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """The library's mod, with the run's momentum."""
    settings, _ = _read(tuple(sorted(context.run_config.items())))
    return robust_mod(identity_of, roster_of, momentum=settings.momentum)(message, context, call_next)


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
