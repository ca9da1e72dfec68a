"""Options of the wrapper, checked before the first message."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from flwr.app import Array, ArrayRecord

from flower_robust.aggregation import Rule, default_rule
from flower_robust.commitments import Roster
from flower_robust.errors import ConfigurationError
from flower_robust.flower.records import NamedArrays, UnreadableError, read_arrays
from flower_robust.protocol.plan import RoundPlan, RuleBound
from flower_robust.trust import BetaTrust, TrustState, load_trust
from flower_robust.types import Digest

Reference = Callable[[int, ArrayRecord], ArrayRecord]
"""The server's own update, from the round and the model that it starts from."""


def check_quorum(rule: RuleBound, roster: Roster, norm_bound: float, expected: int, quorum: int) -> None:
    """Raises ConfigurationError, or TooFewRows if the rule can never have enough rows."""
    if not 1 <= expected <= len(roster):
        raise ConfigurationError("expected", expected, f"1 to {len(roster)}, the size of the roster")
    # The plan's own checks, on a cohort as large as it can be expected: rule, quorum, norm bound.
    RoundPlan.create(
        run_id=0,
        round=0,
        roster=roster,
        cohort=roster.names[:expected],
        rule=rule,
        norm_bound=norm_bound,
        model_digest=Digest(bytes(32)),
        quorum=quorum,
    )


def chosen_rule(rule: Rule | None, f: int | None, expected: int) -> Rule:
    """The rule that was given, or the default rule at f: max(1, expected // 5) where f is not given either.

    Raises ConfigurationError where both are given, or f is not below half of the expected clients.
    """
    if rule is not None and f is not None:
        raise ConfigurationError("f", f, f"no f beside a rule, which has its own: {rule!r}")
    if rule is not None:
        return rule
    most = max(0, (expected - 1) // 2)
    chosen = min(max(1, expected // 5), most) if f is None else f
    if isinstance(chosen, bool) or not isinstance(chosen, int) or not 0 <= chosen <= most:
        raise ConfigurationError(
            "f", f, f"a whole number from 0 to {most}, less than half of {expected} expected clients"
        )
    return default_rule(chosen)


def check_reference(rule: Rule, reference: Reference | None) -> None:
    """Raises ConfigurationError where the rule asks for the server's own update and there is none."""
    if rule.needs_reference and reference is None:
        raise ConfigurationError("reference", None, f"a function that gives the server's own update, for {rule!r}")


def asked_reference(reference: Reference, server_round: int, model: ArrayRecord) -> NamedArrays:
    """The server's own update of this round, by name of the model's arrays; the function gets a copy of the model.

    Raises ConfigurationError unless it gives an ArrayRecord of readable arrays, and whatever the function raises.
    """
    given = ArrayRecord({name: Array(a.dtype, tuple(a.shape), a.stype, a.data) for name, a in model.items()})
    update = reference(server_round, given)
    if not isinstance(update, ArrayRecord):
        found = None if update is None else type(update).__name__
        raise ConfigurationError("reference", found, "an ArrayRecord, of what training adds to the model")
    try:
        return read_arrays(update)
    except UnreadableError as error:
        raise ConfigurationError("reference", error.found, error.required) from None


def check_waiting(below_quorum: str, wait: float, reply_timeout: float) -> None:
    """Raises ConfigurationError unless every wait ends and it is known what follows."""
    if below_quorum not in ("abort", "skip"):
        raise ConfigurationError("below_quorum", below_quorum, "'abort' or 'skip'")
    for option, seconds in (("wait", wait), ("reply_timeout", reply_timeout)):
        if not (math.isfinite(seconds) and seconds > 0):
            raise ConfigurationError(option, seconds, "a finite number of seconds above 0")


def chosen_device(device: str | torch.device | None) -> torch.device:
    """The device that was asked for, or CUDA where there is one. Raises ConfigurationError if it is not there."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError("device", str(device), f"a device of this machine ({error})") from None


def restored_trust(trust: BetaTrust, roster: Roster, path: Path | None) -> TrustState:
    """What the file says, or the prior where there is no file; names new to the roster start at the prior."""
    if path is not None and not path.parent.is_dir():
        raise ConfigurationError("trust_file", str(path), "a path in a folder that exists")
    state = load_trust(path) if path is not None and path.exists() else TrustState()
    return trust.join(state, roster.names)
