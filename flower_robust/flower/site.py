"""What a participant brings to a run, from the mod's arguments or from its node's configuration. Loads no masking."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from flwr.app import Context

from flower_robust.commitments import Identity, Roster
from flower_robust.errors import ConfigurationError

IdentitySource = Identity | Callable[[Context], Identity] | None
RosterSource = Roster | Callable[[Context], Roster] | None

Held = TypeVar("Held", Identity, Roster)


@dataclass(frozen=True, slots=True)
class Site:
    """One participant: its identity, the roster it holds, what it insists on, and where it keeps masked updates.

    `threshold`: the smallest privacy threshold t that it accepts; 0 accepts unmasked rounds too.
    """

    identity: Identity
    pinned: Roster | None
    threshold: int
    folder: Path

    @classmethod
    def resolve(
        cls,
        context: Context,
        identity: IdentitySource,
        roster: RosterSource,
        threshold: int,
        folder: str | Path | None,
    ) -> "Site":
        """The site of this node. Raises ConfigurationError or CorruptFile where something does not fit."""
        signer, pinned = _held(identity, Identity, context), _held(roster, Roster, context)
        if signer is None:
            path = context.node_config.get("identity")
            raise ConfigurationError("node_config identity", path, "the path of this participant's identity file")
        given = context.node_config.get("audit-folder", folder)
        kept = default_folder() if given is None else Path(str(given))
        return cls(signer, pinned, least_threshold(context, threshold), kept)

    @property
    def roster(self) -> Roster:
        """The roster, which a masked round needs: without it the server could invent this client's peers."""
        if self.pinned is None:
            required = "the path of the roster file (or robust_mod(identity, roster)), which a masked round needs"
            raise ConfigurationError("node_config roster", None, required)
        return self.pinned

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


def least_threshold(context: Context, given: int) -> int:
    """The smallest privacy threshold that this site accepts: its node's configuration before what the app says."""
    found = context.node_config.get("threshold", given)
    if not isinstance(found, int) or found < 0:
        raise ConfigurationError("threshold", found, "a whole number of at least 0")
    return found


def refuse_unmasked(threshold: int) -> None:
    """ConfigurationError if this site insists on masked rounds."""
    if threshold > 0:
        required = f"a masked round with threshold {threshold} or more, as this site insists"
        raise ConfigurationError("plan", "an unmasked round", required)
