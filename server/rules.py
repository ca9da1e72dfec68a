"""The rule that a run's options name, checked against the number of hospitals."""

from flower_robust.aggregation import Rule, rule_from_text
from flower_robust.errors import ConfigurationError


def rule_of(text: str, f: int, n: int, root_rows: int = 0) -> Rule:
    """The rule, if n hospitals are enough for f liars, and the server has rows to train on where the rule needs them.

    Raises ConfigurationError naming the rule, f or the rows, what was given and what is allowed; nobody is blamed.
    """
    rule = rule_from_text(text, f)
    if n < rule.min_rows():
        allowed = [smaller for smaller in range(f) if n >= rule_from_text(text, smaller).min_rows()]
        most = f"0 to {max(allowed)}" if allowed else "another rule"
        raise ConfigurationError("f", f, f"{most} ({rule!r} needs {rule.min_rows()} hospitals, there are {n})")
    if rule.needs_reference and not root_rows:
        raise ConfigurationError("root-rows", root_rows, f"rows that the server trains on itself, for {rule!r}")
    return rule
