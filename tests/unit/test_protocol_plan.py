"""A plan that cannot work is refused before anything is sent; a plan survives the wire."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flower_robust.commitments import Identity, Roster, RosterEntry, update_digest
from flower_robust.errors import ConfigurationError, FaultyServer, TooFewRows
from flower_robust.protocol.plan import RoundPlan

ROSTER = Roster(RosterEntry.of(Identity.from_seed(f"h{n}", bytes([n]) * 32)) for n in range(8))


class Krumish:
    f = 2

    def min_rows(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "Krumish(f=2)"


def plan_of(**changes: Any) -> RoundPlan:
    options: dict[str, Any] = {
        "run_id": 1, "round": 2, "roster": ROSTER, "cohort": ROSTER.names, "rule": Krumish(), "norm_bound": 3.0,
        "model_digest": update_digest({}),
    }  # fmt: skip
    return RoundPlan.create(**{**options, **changes})


@pytest.mark.parametrize("changes", [{"cohort": ROSTER.names[:6]}, {"quorum": 6}])
def test_too_few_rows_name_n_f_and_the_rule(changes: dict[str, Any]) -> None:
    with pytest.raises(TooFewRows, match=r"found 6, required at least 7 rows for Krumish\(f=2\).* with f=2"):
        plan_of(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quorum": 9}, "quorum: found 9, required 1 to 8"),
        ({"quorum": 0}, "quorum: found 0"),
        ({"cohort": (*ROSTER.names, "stranger")}, "cohort: found 'stranger'"),
        ({"cohort": (*ROSTER.names, "h3")}, "h3 twice"),
        ({"norm_bound": 0.0}, "norm_bound"),
        ({"norm_bound": -1.0}, "norm_bound"),
        ({"norm_bound": float("nan")}, "norm_bound"),
        ({"norm_bound": float("inf")}, "norm_bound"),
        ({"run_id": -1}, "run_id"),
        ({"round": 2**64}, "round"),
        ({"model_digest": b"short"}, "model_digest"),
        ({"nonce": b"short"}, "nonce"),
    ],
)
def test_options_that_cannot_work_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        plan_of(**changes)


def test_the_quorum_is_what_the_rule_needs_or_a_majority() -> None:
    class Tolerant(Krumish):
        def min_rows(self) -> int:
            return 1

    assert plan_of().quorum == 7
    assert plan_of(rule=Tolerant()).quorum == 5


def test_plans_have_fresh_nonces() -> None:
    assert plan_of().digest != plan_of().digest


@pytest.mark.parametrize(
    "changes",
    [
        {"run_id": 2}, {"round": 3}, {"norm_bound": 3.5}, {"quorum": 8}, {"model_digest": update_digest({}) [::-1]},
        {"cohort": ROSTER.names[::-1]}, {"cohort": ROSTER.names[:7]}, {"nonce": b"y" * 16},
    ],
)  # fmt: skip
def test_every_option_is_in_the_digest(changes: dict[str, Any]) -> None:
    nonce = {"nonce": bytes(16)}
    assert plan_of(**nonce).digest != plan_of(**nonce | changes).digest


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**64 - 1), st.floats(1e-300, 1e300), st.sampled_from([7, 8]), st.binary(min_size=16, max_size=16)
)
def test_plans_survive_the_wire(run_id: int, C: float, quorum: int, nonce: bytes) -> None:
    plan = plan_of(run_id=run_id, norm_bound=C, quorum=quorum, nonce=nonce)
    assert RoundPlan.decode(plan.encode()) == plan
    assert RoundPlan.decode(plan.encode()).digest == plan.digest


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 600), st.integers(1, 255))
def test_a_changed_plan_is_refused_or_another_plan(position: int, change: int) -> None:
    plan = plan_of()
    encoded = bytearray(plan.encode())
    encoded[position % len(encoded)] ^= change
    try:
        decoded = RoundPlan.decode(bytes(encoded))
    except FaultyServer:
        return
    assert decoded.encode() == bytes(encoded)
    assert decoded.digest != plan.digest


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_blame_the_server(encoded: bytes) -> None:
    with pytest.raises(FaultyServer):
        RoundPlan.decode(encoded)
