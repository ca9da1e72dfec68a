"""The options of masked rounds that a run's settings name: the same for the training and the sums before it."""

from dataclasses import replace

from clients.settings import Settings
from flower_robust import PeerMasking
from flower_robust.commitments import Identity
from flower_robust.errors import ConfigurationError


def masking_of(settings: Settings) -> PeerMasking | None:
    """What every masked round of the run has in common; None where nothing is masked.

    Raises ConfigurationError or CorruptFile where the server's identity file does not fit; nobody is blamed.
    """
    if not settings.threshold:
        return None
    masking = PeerMasking(
        settings.threshold, settings.min_accepted, settings.strict, step_timeout=settings.step_timeout
    )
    path = settings.server_identity
    return replace(masking, server=server_identity(path)) if path else masking


def server_identity(path: str) -> Identity:
    """The key that signs what the hospitals are shown; those whose configuration names it take no other."""
    try:
        return Identity.load(path)
    except ConfigurationError as error:
        required = error.required + ", as `flower-robust identity --name server` makes one"
        raise ConfigurationError("server-identity", path, required) from None
