"""Whole unmasked rounds without a network: whoever breaks the protocol loses the round, the others go on."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from flower_robust.aggregation import Krum, Mean, Median, MultiKrum, Rule, default_rule
from flower_robust.commitments import Arrays, Identity, Roster, RosterEntry, SignedNormCommitment, update_digest
from flower_robust.errors import Certainty, ClientFault, QuorumNotReached
from flower_robust.protocol.plain import clip_update, commit_update
from flower_robust.round import Client, Outcome, RoundPlan, honest_client, run_round
from flower_robust.trust import BetaTrust, Evidence, TrustState

IDENTITIES = [Identity.from_seed(f"h{n}", bytes([n + 1]) * 32) for n in range(8)]
ROSTER = Roster(RosterEntry.of(identity) for identity in IDENTITIES)
MODEL: Arrays = {"w": np.zeros((4, 5), np.float32), "b": np.zeros(3, np.float32)}
TRUST = BetaTrust()
C = 20.0
ROWS = (100, 80, 120, 10**9, 1, 150, 100, 90)


def update_of(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: (1 + 0.3 * rng.normal(size=array.shape)).astype(np.float32) for name, array in MODEL.items()}


def plan_of(rule: Rule, round: int = 1, quorum: int | None = None) -> RoundPlan:
    return RoundPlan.create(
        run_id=5, round=round, roster=ROSTER, cohort=ROSTER.names, rule=rule, norm_bound=C,
        model_digest=update_digest(MODEL), quorum=quorum, nonce=bytes(16),
    )  # fmt: skip


def honest() -> dict[str, Client]:
    return {identity.name: honest_client(identity, update_of(n)) for n, identity in enumerate(IDENTITIES)}


def played(
    clients: dict[str, Client], rule: Rule, round: int = 1, quorum: int | None = None, state: TrustState | None = None
) -> Outcome:
    state = state or TRUST.init(ROSTER.names)
    plan = plan_of(rule, round, quorum)
    return run_round(plan, roster=ROSTER, rule=rule, model=MODEL, clients=clients, trust=TRUST, state=state)


def test_declared_rows_weigh_within_bounds_where_the_rule_weighs_by_size() -> None:
    declared = Roster(RosterEntry.of(identity, rows) for identity, rows in zip(IDENTITIES, ROWS, strict=True))
    sizes = np.clip(np.array(ROWS) / 100, 0.5, 2)
    for rule, expected in ((default_rule(1), sizes / sizes.sum()), (Mean(), np.full(8, 1 / 8))):
        plan = RoundPlan.create(
            run_id=5, round=1, roster=declared, cohort=declared.names, rule=rule, norm_bound=C,
            model_digest=update_digest(MODEL), nonce=bytes(16),
        )  # fmt: skip
        state = TRUST.init(declared.names)
        outcome = run_round(plan, roster=declared, rule=rule, model=MODEL, clients=honest(), trust=TRUST, state=state)
        assert list((outcome.report.weights or {}).values()) == pytest.approx(expected)


def flat(arrays: Arrays) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([arrays[name].reshape(-1) for name in MODEL]))


def mean_of(seeds: Sequence[int]) -> torch.Tensor:
    return torch.stack([flat(update_of(seed)) for seed in seeds]).double().mean(0).float()


def lie(identity: Identity, kind: str) -> Client:
    """A dishonest client, by the name of its lie."""
    arrays = update_of(2)

    def answer(encoded: bytes) -> tuple[bytes, Arrays] | None:
        plan = RoundPlan.decode(encoded)
        sent, digest, key = arrays, update_digest(arrays), identity
        fields: dict[str, Any] = {"plan_digest": plan.digest, "round": plan.round, "update_digest": digest}
        norm = float(np.linalg.norm(flat(arrays).numpy().astype(np.float64)))
        if kind == "silence":
            return None
        if kind == "noise":
            return b"\x01" * 64, sent
        if kind == "another key":
            key = Identity.from_seed(identity.name, bytes(32))
        if kind == "another name":
            key = IDENTITIES[5]
        if kind == "an old round":
            fields["plan_digest"] = plan_of(Mean(), round=9).digest
        if kind == "a smaller norm":
            norm /= 2
        if kind == "a larger norm":
            norm *= 2
        if kind == "altered":
            sent = {**arrays, "b": arrays["b"] + 1}
        if kind == "another shape":
            sent = {**arrays, "b": arrays["b"][:2]}
        if kind in ("poison", "too long"):
            factor = np.float32(np.nan if kind == "poison" else 1000)
            sent = {name: array * factor for name, array in arrays.items()}
            fields["update_digest"], norm = update_digest(sent), 1.0 if kind == "poison" else norm * 1000
        return SignedNormCommitment.sign(key, norm=norm, **fields).encode(), sent

    return answer


LIES = {
    "silence": "NoReply",
    "noise": "MalformedReply",
    "another key": "BadSignature",
    "another name": "ReplayedCommitment",
    "an old round": "StaleCommitment",
    "a smaller norm": "NormMismatch",
    "a larger norm": "NormMismatch",
    "altered": "DigestMismatch",
    "another shape": "MalformedReply",
    "poison": "NonFiniteUpdate",
    "too long": "NormBoundExceeded",
}


@pytest.mark.parametrize("rule", [Mean(), MultiKrum(f=2), Median(f=2)], ids=repr)
@pytest.mark.parametrize("kind", LIES)
def test_a_liar_loses_the_round_and_nobody_else_does(kind: str, rule: Rule) -> None:
    outcome = played({**honest(), "h2": lie(IDENTITIES[2], kind)}, rule)
    report = outcome.report
    assert [(fault.culprit, fault.kind) for fault in report.faults] == [("h2", LIES[kind])]
    assert report.accepted == tuple(name for name in ROSTER.names if name != "h2")
    proven = report.faults[0].certainty is Certainty.PROVEN
    assert TRUST.excluded(outcome.trust) == (("h2",) if proven else ())
    if isinstance(rule, Mean):
        torch.testing.assert_close(outcome.aggregate, mean_of([n for n in range(8) if n != 2]))


def test_all_lies_at_once() -> None:
    clients = honest()
    for index, kind in enumerate(["noise", "another key", "poison", "altered"]):
        clients[f"h{index}"] = lie(IDENTITIES[index], kind)
    outcome = played(clients, Mean(), quorum=4)
    assert [fault.culprit for fault in outcome.report.faults] == ["h0", "h1", "h2", "h3"]
    torch.testing.assert_close(outcome.aggregate, mean_of(range(4, 8)))


def test_below_the_quorum_nothing_is_aggregated() -> None:
    clients = honest()
    for name in ("h0", "h1"):
        clients[name] = lambda _: None
    with pytest.raises(QuorumNotReached, match=r"found 6 accepted of 8 expected, required quorum 7 .*h0.*h1") as caught:
        played(clients, Mean(), quorum=7)
    assert (caught.value.accepted, caught.value.quorum) == (6, 7)


def test_a_rule_that_chooses_only_the_quarantined_leaves_the_model() -> None:
    rule = Krum(f=2)
    weights = played(honest(), rule).report.rule_weights
    assert weights is not None
    distrusted = sorted(weights, key=weights.__getitem__)[-2:]
    fresh = TRUST.init(ROSTER.names)
    state = TRUST.update(fresh, [Evidence(name, Certainty.PROVEN) for name in distrusted])
    with pytest.raises(QuorumNotReached, match="only clients in quarantine"):
        played(honest(), rule, state=state)


def test_a_commitment_replayed_in_a_later_round_is_stale() -> None:
    plan = plan_of(Mean(), round=1)
    update = clip_update(update_of(2), C)
    old = commit_update(plan, IDENTITIES[2], update)
    outcome = played({**honest(), "h2": lambda _: (old, update)}, Mean(), round=2)
    assert [fault.kind for fault in outcome.report.faults] == ["StaleCommitment"]


def test_two_clients_that_swap_commitments_both_lose() -> None:
    answers: dict[str, Any] = {name: client(plan_of(Mean(), quorum=4).encode()) for name, client in honest().items()}
    clients = {name: (lambda _, reply=reply: reply) for name, reply in answers.items()}
    clients["h1"] = lambda _: (answers["h2"][0], answers["h1"][1])
    clients["h2"] = lambda _: (answers["h1"][0], answers["h2"][1])
    outcome = played(clients, Mean(), quorum=4)
    assert [(fault.culprit, fault.kind) for fault in outcome.report.faults] == [
        ("h1", "ReplayedCommitment"), ("h2", "ReplayedCommitment"),
    ]  # fmt: skip


def test_honest_clients_are_clipped_to_the_bound_not_refused() -> None:
    large = {name: array * 100 for name, array in update_of(2).items()}
    outcome = played({**honest(), "h2": honest_client(IDENTITIES[2], large)}, Mean())
    assert not outcome.report.faults
    assert outcome.report.squared_norms[2] == pytest.approx(C**2, rel=1e-4)


def test_the_report_is_one_line_of_json_with_the_evidence() -> None:
    outcome = played({**honest(), "h2": lie(IDENTITIES[2], "a smaller norm")}, MultiKrum(f=2))
    line = outcome.report.to_json()
    record = json.loads(line)
    assert "\n" not in line
    assert record["accepted"] == [name for name in ROSTER.names if name != "h2"]
    fault = record["faults"][0]
    assert (fault["culprit"], fault["kind"], fault["certainty"]) == ("h2", "NormMismatch", "proven")
    assert "committed" in fault["found"]
    assert sum(record["weights"].values()) == pytest.approx(1)
    assert len(record["geometry"]["squared_distances"]) == 7
    assert record["trust"]["h2"]["quarantined"] is True
    assert record["seconds"]["aggregate"] > 0


@pytest.mark.parametrize("kind", LIES)
def test_only_the_error_tree_comes_out(kind: str) -> None:
    clients = {identity.name: lie(identity, kind) for identity in IDENTITIES}
    with pytest.raises(QuorumNotReached) as caught:
        played(clients, Mean())
    assert all(name in str(caught.value) for name in ROSTER.names if name != "h5" or kind != "another name")
    assert not isinstance(caught.value, ClientFault)


def test_the_same_round_gives_the_same_bits() -> None:
    first, second = played(honest(), MultiKrum(f=2)), played(honest(), MultiKrum(f=2))
    assert torch.equal(first.aggregate, second.aggregate)
    assert first.trust == second.trust
