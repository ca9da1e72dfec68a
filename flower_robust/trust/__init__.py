"""Evidence in, reputations out, weights for the next sum. Knows no keys, no tensors and no network."""

from flower_robust.trust.beta import BetaTrust as BetaTrust
from flower_robust.trust.evidence import Evidence as Evidence
from flower_robust.trust.state import Reputation as Reputation
from flower_robust.trust.state import TrustState as TrustState
from flower_robust.trust.storage import load_trust as load_trust
from flower_robust.trust.storage import save_trust as save_trust

__all__ = ["BetaTrust", "Evidence", "Reputation", "TrustState", "load_trust", "save_trust"]
