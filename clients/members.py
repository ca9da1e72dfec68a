"""Who takes part: key files and a roster file in a deployment, keys made from the seed in a simulation.

A node whose configuration names an identity file is a real participant, whatever the run's configuration says.
"""

import hashlib

from flwr.app import Context

from clients.datasets import Federation
from clients.settings import Settings
from flower_robust.commitments import Identity, Roster, RosterEntry
from flower_robust.errors import ConfigurationError

SIMULATED = "simulated"
"""Value of the option `roster` that stands for hospitals whose keys anybody can compute."""


def members(settings: Settings, federation: Federation) -> Roster:
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


def identity_of(context: Context, settings: Settings, federation: Federation) -> Identity:
    """The key file that the node's configuration names, else the hospital's simulated key."""
    if is_real(context):
        return Identity.load(str(context.node_config["identity"]))
    _require_simulation(settings, "identity")
    return simulated_identity(settings, federation.names[int(context.node_config["partition-id"])])


def roster_of(context: Context, settings: Settings, federation: Federation) -> Roster:
    """The roster file that the node's configuration names, else the simulated hospitals."""
    if path := context.node_config.get("roster"):
        return Roster.load(str(path))
    _require_simulation(settings, "roster")
    return simulated_roster(settings, federation)


def index_of(context: Context, federation: Federation) -> int:
    """Which hospital this node is: its identity's name in a deployment, its partition in a simulation."""
    if not is_real(context):
        return int(context.node_config["partition-id"])
    name = Identity.load(str(context.node_config["identity"])).name
    if name not in federation.names:
        raise ConfigurationError("identity", name, f"one of {', '.join(federation.names)}")
    return federation.names.index(name)


def simulated_identity(settings: Settings, hospital: str) -> Identity:
    """A hospital's key in a simulation: who knows the seed knows it."""
    secret = hashlib.sha256(f"flower-robust simulation {settings.seed} {hospital}".encode()).digest()
    return Identity.from_seed(hospital, secret)


def simulated_roster(settings: Settings, federation: Federation) -> Roster:
    """The hospitals with their simulated keys and the training rows they hold."""
    hospitals = federation.hospitals
    return Roster(
        RosterEntry.of(simulated_identity(settings, hospital.name), len(hospital.train)) for hospital in hospitals
    )


def _require_simulation(settings: Settings, held: str) -> None:
    if settings.roster != SIMULATED:
        raise ConfigurationError(f"node_config {held}", None, f"the path of this participant's {held} file")
