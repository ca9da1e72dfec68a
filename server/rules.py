"""The rule that a run's options name, checked against the number of hospitals."""

from flower_robust.aggregation import Rule, rule_from_text
from flower_robust.errors import ConfigurationError


def rule_of(text: str, f: int, n: int) -> Rule:
    """The rule, if n hospitals are enough for f liars.

    Raises ConfigurationError naming the rule or f, what was given and what is allowed; nobody is blamed.
    """
    rule = rule_from_text(text, f)
    if n < rule.min_rows():
        allowed = [smaller for smaller in range(f) if n >= rule_from_text(text, smaller).min_rows()]
        most = f"0 to {max(allowed)}" if allowed else "another rule"
        raise ConfigurationError("f", f, f"{most} ({rule!r} needs {rule.min_rows()} hospitals, there are {n})")
    return rule
