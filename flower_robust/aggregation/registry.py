"""Rules by name, and rules from the text a user types."""

import ast
import inspect
from collections.abc import Callable
from functools import reduce

from flower_robust.aggregation.bucketing import Bucketing
from flower_robust.aggregation.bulyan import Bulyan
from flower_robust.aggregation.clipping import AdaptiveClipping, CenteredClipping, NormClipping
from flower_robust.aggregation.company import CompanyFilter, default_rule
from flower_robust.aggregation.coordinate import MeanAroundMedian, Median, TrimmedMean
from flower_robust.aggregation.diameter import GreedyMinimumDiameter, MinimumDiameter
from flower_robust.aggregation.elimination import ComparativeElimination
from flower_robust.aggregation.foolsgold import FoolsGold
from flower_robust.aggregation.geometric_median import GeometricMedian
from flower_robust.aggregation.krum import Krum, MultiKrum
from flower_robust.aggregation.mean import Mean
from flower_robust.aggregation.nearest_neighbors import NearestNeighborMixing
from flower_robust.aggregation.reference_trust import ReferenceTrust
from flower_robust.aggregation.rule import Mixing, Rule
from flower_robust.aggregation.spectral import Spectral
from flower_robust.aggregation.stranger import StrangerFilter
from flower_robust.errors import ConfigurationError

RULES: dict[str, type[Rule]] = {
    "mean": Mean,
    "krum": Krum,
    "multikrum": MultiKrum,
    "minimumdiameter": MinimumDiameter,
    "greedyminimumdiameter": GreedyMinimumDiameter,
    "geometricmedian": GeometricMedian,
    "centeredclipping": CenteredClipping,
    "normclipping": NormClipping,
    "adaptiveclipping": AdaptiveClipping,
    "companyfilter": CompanyFilter,
    "strangerfilter": StrangerFilter,
    "comparativeelimination": ComparativeElimination,
    "spectral": Spectral,
    "foolsgold": FoolsGold,
    "referencetrust": ReferenceTrust,
    "nearestneighbormixing": NearestNeighborMixing,
    "bucketing": Bucketing,
    "median": Median,
    "trimmedmean": TrimmedMean,
    "meanaroundmedian": MeanAroundMedian,
    "bulyan": Bulyan,
}
"""Every rule and pre-aggregation, by its class name in lower case."""

ALIASES = {
    "fedavg": "mean",
    "mda": "minimumdiameter",
    "rfa": "geometricmedian",
    "cclip": "centeredclipping",
    "arc": "adaptiveclipping",
    "cge": "comparativeelimination",
    "dnc": "spectral",
    "fltrust": "referencetrust",
    "nnm": "nearestneighbormixing",
    "reference": "referencetrust",
    "meamed": "meanaroundmedian",
}
"""The papers' short names."""

_NAMED: dict[str, Callable[..., Rule]] = {
    **RULES,
    **{alias: RULES[name] for alias, name in ALIASES.items()},
    "default": default_rule,
}


def rule_from_text(text: str, f: int = 0) -> Rule:
    """Read a rule as a user types it: "nnm >> multikrum", or the `repr` of a rule.

    Names are those of RULES and ALIASES, whatever their case, hyphens and underscores, and "default", what a strategy
    without a rule takes; arguments may follow in brackets, `normclipping(bound=2.0)`; f is given to every part that
    takes it and does not state its own.

    Raises ConfigurationError with what is allowed: the person who typed it is at fault.
    """
    parts = [_part(part, f) for part in text.split(">>")]

    def then(before: Rule, rule: Rule) -> Rule:
        if not isinstance(before, Mixing):
            raise ConfigurationError("rule", text, f"a pre-aggregation before '>>', which {before!r} is not")
        return before >> rule

    return reduce(then, parts)


def _part(text: str, f: int) -> Rule:
    name, bracket, arguments = text.strip().partition("(")
    plain = name.strip().lower().replace("-", "").replace("_", "").replace(" ", "")
    rule = _NAMED.get(plain)
    if rule is None:
        raise ConfigurationError("rule", name.strip(), f"one of {', '.join(sorted(_NAMED))}")
    accepted = inspect.signature(rule).parameters
    given = _arguments(text, f"rule({arguments}") if bracket else {}
    if unknown := [argument for argument in given if argument not in accepted]:
        raise ConfigurationError("rule", text.strip(), f"arguments of {', '.join(accepted)}, not {', '.join(unknown)}")
    return rule(**({"f": f} if "f" in accepted else {}) | given)


def _arguments(text: str, call: str) -> dict[str, object]:
    try:
        parsed = ast.parse(call, mode="eval").body
        if isinstance(parsed, ast.Call) and not parsed.args:
            return {str(argument.arg): ast.literal_eval(argument.value) for argument in parsed.keywords}
    except (SyntaxError, ValueError):
        pass
    raise ConfigurationError("rule", text.strip(), "arguments written name=value, with plain numbers as values")
