"""Evidence against a server on disk, beside the kept uploads: what a client raises must outlive its process.

A file holds two signed statements, about 1 kB (`protocol.evidence`), mode 0600. Of one participant the `KEPT` oldest
remain: a server that goes on contradicting itself cannot push out the first proof.
"""

import hashlib
import os

from flower_robust.errors import ConfigurationError
from flower_robust.flower.kept_uploads import own_folder
from flower_robust.flower.site import Site

KEPT = 16
SUFFIX = ".evidence"


def keep_evidence(site: Site, evidence: bytes) -> str:
    """Write it once, and say where; if it cannot be written, say why: the client refuses either way."""
    try:
        folder = own_folder(site.folder, site.identity.name) / "evidence"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / (hashlib.sha256(evidence).hexdigest()[:32] + SUFFIX)
        if not path.exists() and len(list(folder.glob("*" + SUFFIX))) >= KEPT:
            return f"but not these: {folder} holds {KEPT} already"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(evidence)
    except (OSError, ConfigurationError) as error:
        return f"but not on disk: {error}"
    return f"see `flower-robust verify-evidence {path}`"
