"""Keys, certificates and folders of a federation, before its first run. cryptography only."""

from flower_robust.provisioning.folder import provision as provision
from flower_robust.provisioning.participant import Participant as Participant
from flower_robust.provisioning.participant import PublicPart as PublicPart

__all__ = ["Participant", "PublicPart", "provision"]
