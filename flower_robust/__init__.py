"""flower-robust: Flower strategies for federations that cannot trust every participant.

The public names are loaded on first use, so that a client which only signs never imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flower_robust.commitments import Identity as Identity
    from flower_robust.commitments import Roster as Roster
    from flower_robust.flower.masking import PeerMasking as PeerMasking
    from flower_robust.flower.mod import robust_mod as robust_mod
    from flower_robust.flower.strategy import RobustAggregation as RobustAggregation
    from flower_robust.protocol.demands import Demands as Demands
    from flower_robust.trust import BetaTrust as BetaTrust

__version__ = "0.1.0"

_HOMES = {
    "BetaTrust": "flower_robust.trust",
    "Demands": "flower_robust.protocol.demands",
    "Identity": "flower_robust.commitments",
    "Roster": "flower_robust.commitments",
    "PeerMasking": "flower_robust.flower.masking",
    "RobustAggregation": "flower_robust.flower.strategy",
    "robust_mod": "flower_robust.flower.mod",
}

__all__ = ["BetaTrust", "Demands", "Identity", "PeerMasking", "RobustAggregation", "Roster", "robust_mod"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
