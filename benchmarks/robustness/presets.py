"""The grids that the documentation quotes."""

from benchmarks.robustness.cells import Setting
from benchmarks.robustness.peers import PEERS
from benchmarks.robustness.threats import THREATS

SKEWS = ("iid", "dirichlet-0.5", "dirichlet-0.1")
MAIN = tuple(
    Setting(dataset, model, skew, 10, f)
    for dataset, model in (("digits", "mlp"), ("breast-cancer", "logistic"))
    for f in (2, 4)
    for skew in SKEWS
)
CORNER = (Setting("digits", "mlp", "sorted", 17, 4), Setting("digits", "mlp", "dirichlet-1.0", 17, 4))
HEART = (Setting("heart", "logistic", "natural", 4, 1), Setting("heart", "logistic", "natural", 12, 3))
SINGLE = (
    Setting("digits", "mlp", "dirichlet-0.5", 5, 1),
    Setting("digits", "mlp", "dirichlet-0.1", 10, 1),
    Setting("digits", "mlp", "sorted", 17, 1),
    Setting("breast-cancer", "logistic", "dirichlet-0.1", 6, 1),
)
SETTINGS: dict[str, tuple[Setting, ...]] = {"main": MAIN, "corner": CORNER, "heart": HEART, "single": SINGLE}

FIXED = ("none", "sign-flip", "label-flip", "mimic", "alie-1.5", "alie-10", "foe-0.5", "foe-2", "foe-10", "min-max")
AIMED = ("sideways", "ascent")
"""Made to go where company alone does not look."""
AGAINST = ("hidden",)
"""Made against the default as it is now: reported, but no bar of regret, since no peer has such a threat of its own."""
ADAPTIVE = ("opt-alie", "opt-foe", "slow-poison", "on-off", "lone", "sybil", "vouching", "min-sum", "label-shift",
            "label-single", "backdoor", "gaussian", "sign-flip-10", *AIMED)  # fmt: skip
QUIET = ("mimic", "alie-1.5", "min-max", "min-sum", "sybil", "vouching", "opt-alie", "opt-foe", "slow-poison",
         "backdoor", "lone", "on-off", "hidden")  # fmt: skip
"""Threats made to stay within the spread or the number of honest updates, or not to attack in every round."""
MASKED = tuple(name for name in THREATS if name.endswith(("@colluders", "@sketch")))
DECLARED = tuple(name for name in THREATS if name.endswith("@declared"))
THREAT_SETS: dict[str, tuple[str, ...]] = {
    "fixed": FIXED,
    "adaptive": ADAPTIVE,
    "masked": MASKED,
    "declared": DECLARED,
    "against": AGAINST,
}

BOUNDS = ("default", "default at C/2", "default at C/4")
BASELINES = ("fedavg", "mean")
REFERENCE = "default with reference"
ABSENT = "sign-flip"
"""The threat under which `honest only` runs: it hears nobody who lies, so one threat is as good as another."""
OURS = ("default", "default without sizes", "default without trust", "default without momentum", "reference with trust",
        REFERENCE)  # fmt: skip
DEFENCE_SETS: dict[str, tuple[str, ...]] = {
    "baselines": BASELINES,
    "peers": tuple(PEERS),
    "ours": OURS,
    "bounds": BOUNDS,
}
