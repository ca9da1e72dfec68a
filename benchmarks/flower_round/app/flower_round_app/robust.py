"""Our side of the client: identities, roster, and the mod."""

from flower_robust import Identity, Roster, robust_mod
from flower_robust.commitments import RosterEntry

ROWS = 100


def identity(index: int) -> Identity:
    """The simulated key of a client: secret to nobody."""
    return Identity.from_seed(f"client-{index}", index.to_bytes(32, "big"))


def roster(n: int) -> Roster:
    """The roster of n clients."""
    return Roster(RosterEntry.of(identity(i), rows=ROWS) for i in range(n))


mod = robust_mod(
    lambda context: identity(int(context.node_config["partition-id"])),
    lambda context: roster(int(context.run_config["clients"])),
)
