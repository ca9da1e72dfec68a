"""Who takes part: key files and a roster file in a deployment, keys made from the seed in a simulation.

A node whose configuration names an identity file is a real participant, whatever the run's configuration says. Loads
neither torch nor records: a real participant needs them to train and to answer private sums, for nothing else.
"""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from flwr.app import Context

from flower_robust.commitments import Identity, Roster, RosterEntry
from flower_robust.errors import ConfigurationError

if TYPE_CHECKING:
    from clients.datasets import Federation
    from clients.settings import Settings

RunOf = Callable[[Context], tuple["Settings", "Federation"]]
"""Reads a run's settings and its hospitals, which only a simulation needs to know who is who."""
SIMULATED = "simulated"
"""Value of the option `roster` that stands for hospitals whose keys anybody can compute."""


def members(settings: "Settings", federation: "Federation") -> Roster:
    """The server's roster. ConfigurationError without one, or with other names than the data set's hospitals."""
    if settings.roster == SIMULATED:
        return simulated_roster(settings, federation)
    if not settings.roster:
        required = "the path of roster.json, as `flower-robust provision` wrote it (flower-robust simulate needs none)"
        raise ConfigurationError("roster", settings.roster, required)
    if settings.attack != "none":
        raise ConfigurationError("attack", settings.attack, "none: only simulated hospitals attack on order")
    roster = Roster.load(settings.roster)
    if set(roster.names) != set(federation.names):
        found, required = ", ".join(roster.names), f"{settings.dataset}'s hospitals: {', '.join(federation.names)}"
        raise ConfigurationError("roster", found, required)
    return roster


def is_real(context: Context) -> bool:
    """Whether this node holds a key file."""
    return bool(context.node_config.get("identity"))


def identity_of(context: Context, run_of: RunOf) -> Identity:
    """The key file that the node's configuration names, else the hospital's simulated key."""
    if is_real(context):
        return Identity.load(str(context.node_config["identity"]))
    _require_simulation(context, "identity")
    settings, federation = run_of(context)
    return simulated_identity(settings, federation.names[int(context.node_config["partition-id"])])


def roster_of(context: Context, run_of: RunOf) -> Roster:
    """The roster file that the node's configuration names, else the simulated hospitals."""
    if path := context.node_config.get("roster"):
        return Roster.load(str(path))
    _require_simulation(context, "roster")
    return simulated_roster(*run_of(context))


def index_of(context: Context, federation: "Federation") -> int:
    """Which hospital this node is: its identity's name in a deployment, its partition in a simulation."""
    if not is_real(context):
        return int(context.node_config["partition-id"])
    name = Identity.load(str(context.node_config["identity"])).name
    if name not in federation.names:
        raise ConfigurationError("identity", name, f"one of {', '.join(federation.names)}")
    return federation.names.index(name)


def simulated_identity(settings: "Settings", hospital: str) -> Identity:
    """A hospital's key in a simulation: who knows the seed knows it."""
    secret = hashlib.sha256(f"flower-robust simulation {settings.seed} {hospital}".encode()).digest()
    return Identity.from_seed(hospital, secret)


def simulated_roster(settings: "Settings", federation: "Federation") -> Roster:
    """The hospitals with their simulated keys and the training rows they hold."""
    hospitals = federation.hospitals
    return Roster(
        RosterEntry.of(simulated_identity(settings, hospital.name), len(hospital.train)) for hospital in hospitals
    )


def _require_simulation(context: Context, held: str) -> None:
    if context.run_config.get("roster") != SIMULATED:
        raise ConfigurationError(f"node_config {held}", None, f"the path of this participant's {held} file")
