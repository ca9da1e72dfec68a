"""The hospital's ClientApp. Everything it computes is in `clients.hospital`; its lies are in attacks and tampering.

Flower starts a process for every message: torch and the records are loaded where they are needed, which for a real
hospital is the training, and the private sums before it.
"""

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from clients import members
from flower_robust import robust_mod
from flower_robust.commitments import Identity
from flower_robust.flower.summand import BOUNDS, summand

if TYPE_CHECKING:
    from clients.attacks import Attack
    from clients.datasets import Federation
    from clients.settings import Settings

Config = tuple[tuple[str, str | int | float | bool], ...]
"""A run config that can be a key."""


def participant(context: Context) -> tuple["Settings", "Federation", int]:
    """The run's settings, its hospitals, and which of them this node is; a real one attacks nobody, ordered or not."""
    settings, federation = run_of(context)
    if members.is_real(context):
        settings = replace(settings, attack="none", malicious=())
    return settings, federation, members.index_of(context, federation)


def malice(context: Context) -> tuple["Attack", float, Identity]:
    """What this simulated hospital does to its replies, how strongly, and the key it signs with."""
    settings, _ = run_of(context)
    identity = members.identity_of(context, run_of)
    return settings.attack_of(identity.name), settings.strength, identity


def run_of(context: Context) -> tuple["Settings", "Federation"]:
    """The run's settings and its hospitals, read once."""
    return _read(tuple(sorted(context.run_config.items())))


@cache
def _read(config: Config) -> tuple["Settings", "Federation"]:
    from clients.settings import Settings

    settings = Settings.from_config(dict(config))
    return settings, settings.federation()


def lying_mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """What a simulated attacker does to its replies; a real hospital does nothing to them."""
    if members.is_real(context):
        return call_next(message, context)
    from clients.tampering import tampering_mod

    return tampering_mod(malice)(message, context, call_next)


def bounding_mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """The library's mod, with the run's momentum."""
    mod = robust_mod(
        lambda context: members.identity_of(context, run_of),
        lambda context: members.roster_of(context, run_of),
        momentum=float(context.run_config["momentum"]),
    )
    return mod(message, context, call_next)


app = ClientApp(mods=[lying_mod, bounding_mod])


@app.query("private_sums")
def private_sums(message: Message, context: Context) -> Message:
    """What this hospital adds to the sums that standardise features; the mod masks it."""
    from clients.statistics import statistics

    _, federation, i = participant(context)
    return summand(message, statistics(federation.hospitals[i].train, message.content.array_records[BOUNDS]))


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round of the hospital's training."""
    from clients.hospital import local_round

    settings, federation, i = participant(context)
    config = message.content.config_records["config"]
    if "mean" in config:
        mean, deviation = (np.array(config[key], np.float64) for key in ("mean", "deviation"))
        federation = federation.standardised(mean, deviation)
    state = message.content.array_records["arrays"].to_torch_state_dict()
    server_round = int(config["server-round"])  # type: ignore[arg-type]
    new, loss = local_round(settings, federation, i, dict(state), server_round)
    metrics = MetricRecord({"num-examples": len(federation.hospitals[i].train), "train-loss": loss})
    name = ConfigRecord({"name": federation.names[i]})
    return Message(RecordDict({"arrays": ArrayRecord(new), "metrics": metrics, "hospital": name}), reply_to=message)
