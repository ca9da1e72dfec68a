"""Every lie about an update is its own fault, with the right culprit; nothing but the error tree comes out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flower_robust.commitments import Identity, Roster, RosterEntry, SignedNormCommitment, update_digest, update_norm
from flower_robust.commitments.encoding import f64, pack, u64
from flower_robust.errors import (
    BadSignature,
    ClientFault,
    DigestMismatch,
    FaultyServer,
    MalformedReply,
    NonFiniteUpdate,
    NormBoundExceeded,
    NormMismatch,
    OversizedReply,
    ReplayedCommitment,
    StaleCommitment,
    UnknownClient,
)
from flower_robust.protocol.plain import check_layout, clip_update, commit_update, verify_update
from flower_robust.protocol.plan import RoundPlan
from flower_robust.types import Signature

ALICE, BOB, EVE = (Identity.from_seed(name, bytes([n]) * 32) for n, name in enumerate(("Alice", "Bob", "Eve")))
ROSTER = Roster(RosterEntry.of(identity) for identity in (ALICE, BOB))
UPDATE = {"w": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), "steps": np.array(5)}
NORM = update_norm(UPDATE)


class AnyRule:
    f = 0

    def min_rows(self) -> int:
        return 1


def plan_of(run_id: int = 7, round: int = 3, nonce: bytes = bytes(16), C: float = 10.0) -> RoundPlan:
    model = update_digest({})
    return RoundPlan.create(
        run_id=run_id, round=round, roster=ROSTER, cohort=ROSTER.names, rule=AnyRule(), norm_bound=C,
        model_digest=model, nonce=nonce,
    )  # fmt: skip


PLAN = plan_of()


def verified(
    encoded: bytes, sender: str = "Alice", arrays: Any = UPDATE, plan: RoundPlan = PLAN
) -> SignedNormCommitment:
    return verify_update(plan, ROSTER, sender, encoded, arrays, update_norm(arrays))


def signed(identity: Identity = ALICE, plan: RoundPlan = PLAN, **changes: Any) -> bytes:
    fields = {"plan_digest": plan.digest, "round": plan.round, "update_digest": update_digest(UPDATE), "norm": NORM}
    return SignedNormCommitment.sign(identity, **{**fields, **changes}).encode()


def tampered(**changes: Any) -> bytes:
    return replace(SignedNormCommitment.decode(signed(), "Alice"), **changes).encode()


def test_an_honest_commitment_passes() -> None:
    assert verified(commit_update(PLAN, ALICE, UPDATE)).norm == NORM


@pytest.mark.parametrize(
    ("encoded", "fault"),
    [
        (signed(EVE), ReplayedCommitment),
        (signed(Identity.from_seed("Alice", bytes([9]) * 32)), BadSignature),
        (tampered(signature=Signature(bytes(64))), BadSignature),
        (tampered(norm=NORM / 2), BadSignature),
        (tampered(update_digest=PLAN.digest), BadSignature),
        (tampered(round=4), BadSignature),
        (signed(plan=plan_of(round=2)), StaleCommitment),
        (signed(plan=plan_of(run_id=8)), StaleCommitment),
        (signed(plan=plan_of(nonce=b"x" * 16)), StaleCommitment),
        (signed(plan=plan_of(C=11.0)), StaleCommitment),
        (signed(round=4), StaleCommitment),
        (signed(update_digest=PLAN.digest), DigestMismatch),
        (signed(norm=NORM / 2), NormMismatch),
        (signed(norm=NORM * 2), NormMismatch),
        (signed(norm=-NORM), NormMismatch),
        (signed(norm=0.0), NormMismatch),
        (signed(norm=NORM * (1 + 1e-3)), NormMismatch),
        (b"", MalformedReply),
        (signed()[:-1], MalformedReply),
        (signed() + b"\0", MalformedReply),
        (signed() * 3, OversizedReply),
        (bytes(401), OversizedReply),
        (b"\x02" + signed()[1:], MalformedReply),
        (pack(PLAN.digest, u64(3), b"\xff\xfe", PLAN.digest, f64(1.0), bytes(64)), MalformedReply),
        (pack(PLAN.digest, u64(3), b"Alice", PLAN.digest, f64(float("nan")), bytes(64)), MalformedReply),
        (pack(PLAN.digest, u64(3), b"Alice", PLAN.digest, f64(float("inf")), bytes(64)), MalformedReply),
        (pack(PLAN.digest, u64(3), b"Alice", PLAN.digest, f64(1.0), bytes(63)), MalformedReply),
        (pack(PLAN.digest, b"\x03", b"Alice", PLAN.digest, f64(1.0), bytes(64)), MalformedReply),
    ],
)
def test_each_lie_is_its_own_fault_of_its_sender(encoded: bytes, fault: type[ClientFault]) -> None:
    with pytest.raises(ClientFault) as caught:
        verified(encoded)
    assert (type(caught.value), caught.value.culprit) == (fault, "Alice")


def test_a_swapped_commitment_blames_who_sent_it_not_whose_it_is() -> None:
    with pytest.raises(ReplayedCommitment) as caught:
        verified(signed(BOB), sender="Alice")
    assert caught.value.culprit == "Alice"


def test_a_name_outside_the_roster_cannot_send() -> None:
    with pytest.raises(UnknownClient) as caught:
        verified(signed(EVE), sender="Eve")
    assert caught.value.culprit == "Eve"


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w + np.float32(1e-6),
        lambda w: np.where(w == w.max(), -w, w),
        lambda w: w[::-1].copy(),
        lambda w: w.astype(np.float64),
        lambda w: w.reshape(4, 3),
    ],
)
def test_an_update_altered_after_signing(change: Callable[[Any], Any]) -> None:
    with pytest.raises(DigestMismatch):
        verified(signed(), arrays={**UPDATE, "w": change(UPDATE["w"])})


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_poison_is_refused_even_when_it_is_committed_to(poison: float) -> None:
    arrays = {"w": np.array([1.0, poison])}
    with pytest.raises(NonFiniteUpdate):
        verified(signed(update_digest=update_digest(arrays), norm=1.0), arrays=arrays)


def test_an_honest_commitment_to_too_long_an_update() -> None:
    plan = plan_of(C=NORM * 0.999)
    with pytest.raises(NormBoundExceeded):
        verified(signed(plan=plan), plan=plan)


def test_arrays_of_objects_are_malformed() -> None:
    with pytest.raises(MalformedReply):
        verify_update(PLAN, ROSTER, "Alice", signed(), {"w": np.array([{}])}, 1.0)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.01, 100), st.integers(0, 2**32 - 1))
def test_what_an_honest_client_clips_is_always_within_the_bound(C: float, seed: int) -> None:
    update = {"w": np.random.default_rng(seed).normal(size=1000).astype(np.float32), "steps": np.array(3)}
    plan = plan_of(C=C)
    clipped = clip_update(update, plan.norm_bound)
    assert verified(commit_update(plan, ALICE, clipped), arrays=clipped, plan=plan).norm <= C * (1 + 1e-5)
    assert clipped["w"].dtype == np.float32
    assert clipped["steps"] == 3


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_client_sends_no_poison_of_its_own(poison: float) -> None:
    with pytest.raises(NonFiniteUpdate):
        clip_update({"w": np.array([poison])}, 1.0)


def test_a_client_commits_to_no_plan_that_did_not_ask_it() -> None:
    with pytest.raises(FaultyServer):
        commit_update(PLAN, EVE, UPDATE)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"w": UPDATE["w"]},
        {**UPDATE, "extra": np.zeros(1)},
        {**UPDATE, "w": UPDATE["w"].astype(np.float64)},
        {**UPDATE, "w": UPDATE["w"][:2]},
        {**UPDATE, "w": UPDATE["w"].astype(">f4")},
    ],
)
def test_another_layout_is_malformed(arrays: Any) -> None:
    with pytest.raises(MalformedReply) as caught:
        check_layout("Alice", arrays, UPDATE)
    assert caught.value.culprit == "Alice"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=500))
@example(b"\x01")
@example(b"\x01" + b"\xff" * 100)
def test_random_bytes_are_faults_of_their_sender(encoded: bytes) -> None:
    with pytest.raises(ClientFault) as caught:
        verified(encoded)
    assert caught.value.culprit == "Alice"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_single_changed_byte_is_a_fault(draw: st.DataObject) -> None:
    encoded = bytearray(signed())
    encoded[draw.draw(st.integers(0, len(encoded) - 1))] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(ClientFault) as caught:
        verified(bytes(encoded))
    assert caught.value.culprit == "Alice"


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 400), st.integers(0, 400), st.binary(max_size=80))
def test_cut_and_spliced_commitments_are_faults(start: int, stop: int, middle: bytes) -> None:
    encoded = signed()
    spliced = encoded[:start] + middle + encoded[stop:]
    if spliced != encoded:
        with pytest.raises(ClientFault):
            verified(spliced)
