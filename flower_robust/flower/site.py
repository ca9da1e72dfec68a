"""What a participant brings to a run, from the mod's arguments or from its node's configuration. Loads no masking."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from flwr.app import Context, Message, MessageType

from flower_robust.commitments import Identity, Roster
from flower_robust.errors import ConfigurationError
from flower_robust.flower.summand import ACTION
from flower_robust.protocol.demands import Demands

IdentitySource = Identity | Callable[[Context], Identity] | None
RosterSource = Roster | Callable[[Context], Roster] | None

Held = TypeVar("Held", Identity, Roster)

NODE_KEYS = {
    "threshold": "threshold",
    "min-accepted": "min_accepted",
    "strict": "strict",
    "server-key": "server_key",
    "no-reference": "no_reference",
}
"""What a node's configuration may demand, and how `Demands` calls it."""


PRIVATE_SUMS = f"{MessageType.QUERY}.{ACTION}"


@dataclass(frozen=True, slots=True)
class Site:
    """One participant: its identity, the roster it holds, what it insists on, and where it keeps masked updates."""

    identity: Identity
    pinned: Roster | None
    demands: Demands
    folder: Path

    @classmethod
    def resolve(
        cls,
        context: Context,
        identity: IdentitySource,
        roster: RosterSource,
        demands: Demands,
        folder: str | Path | None,
    ) -> "Site":
        """The site of this node. Raises ConfigurationError or CorruptFile where something does not fit."""
        signer, pinned = _held(identity, Identity, context), _held(roster, Roster, context)
        if signer is None:
            path = context.node_config.get("identity")
            raise ConfigurationError("node_config identity", path, "the path of this participant's identity file")
        given = context.node_config.get("audit-folder", folder)
        kept = default_folder() if given is None else Path(str(given))
        return cls(signer, pinned, demands_of(context, demands), kept)

    @property
    def roster(self) -> Roster:
        """The roster, which a masked round needs: without it the server could invent this client's peers."""
        if self.pinned is None:
            required = "the path of the roster file (or robust_mod(identity, roster)), which a masked round needs"
            raise ConfigurationError("node_config roster", None, required)
        return self.pinned

    @property
    def durable(self) -> bool:
        """Whether somebody chose the folder, so that what is noted there must outlive a power failure."""
        return self.folder != default_folder()

    def check_roster(self, digest: bytes) -> None:
        """ConfigurationError if the server holds another roster than this site."""
        if self.pinned is not None and self.pinned.digest != digest:
            required = f"{self.pinned.digest.hex()}, as here"
            raise ConfigurationError("roster", f"digest {digest.hex()} at the server", required)


def default_folder() -> Path:
    """Where a site that configures nothing keeps y: a folder of this user alone among the temporary files."""
    return Path(tempfile.gettempdir()) / f"flower-robust-{os.getuid()}"


def _held(source: Held | Callable[[Context], Held] | None, kind: type[Held], context: Context) -> Held | None:
    if isinstance(source, kind):
        return source
    if source is not None:
        return source(context)  # type: ignore[operator]
    path = context.node_config.get(kind.__name__.lower())
    return kind.load(path) if isinstance(path, str) else None


def demands_of(context: Context, given: Demands) -> Demands:
    """What this site insists on: its node's configuration before what the app says. ConfigurationError names a key."""
    node = context.node_config
    found: dict[str, Any] = {field: node[key] for key, field in NODE_KEYS.items() if key in node}
    if "server_key" in found:
        found["server_key"] = _key(found["server_key"])
    return replace(given, **found)


def _key(given: object) -> bytes:
    try:
        return bytes.fromhex(str(given))
    except ValueError:
        raise ConfigurationError("server-key", given, "an Ed25519 public key, 64 hex digits") from None


def refuse_unmasked(message: Message, demands: Demands) -> None:
    """ConfigurationError if this site insists on masked rounds, or if the app's answer only exists to be masked."""
    if message.metadata.message_type == PRIVATE_SUMS:
        raise ConfigurationError("plan", "private sums without masks", "a masked round: nobody's part is shown")
    if demands.masked:
        raise ConfigurationError("plan", "an unmasked round", f"a masked round with {demands}, as this site insists")
