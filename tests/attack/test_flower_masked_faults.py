"""Liars in masked rounds over Flower, at every step: named with the step and the proof, out from the next round on."""

import logging
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from flwr.serverapp.strategy import FedAvg

from flower_robust import RobustAggregation
from flower_robust.aggregation import MultiKrum, NearestNeighborMixing
from flower_robust.errors import RoundAborted
from flower_robust.flower import masked_round, masked_train
from flower_robust.flower.envelope import ENVELOPE
from flower_robust.protocol import client_submit
from flower_robust.protocol.masked_round import MaskedOutcome
from flower_robust.protocol.replies import SharesReply, SketchReply
from flower_robust.protocol.shown import Offer
from flower_robust.protocol.sizes import Sizes
from tests.flower_double import FakeGrid, model, record, robust_nodes, step
from tests.flower_masked import C, MaskedNodes, assert_exact, at, flipped, masked, moving, phase_of, trajectory

N = 7
NAMES = tuple(f"hospital-{i}" for i in range(N))
LIAR = NAMES[0]


def run(nodes: MaskedNodes, rounds: int = 2, **options):
    """The strategy after some rounds; whatever happened, no honest client was blamed and no sum was wrong."""
    strategy = masked(nodes.roster, rule=MultiKrum(f=1), quorum=5, **({"below_quorum": "skip"} | options))
    models = trajectory(strategy, nodes.grid(), rounds)
    for report, (old, new) in zip(strategy.history, pairwise(models), strict=True):
        assert {f.culprit for f in report.faults} <= {LIAR}
        if report.weights is not None:
            assert_exact(report, old, new, N, NAMES)
    return strategy


@pytest.mark.parametrize("phase", ["train", "challenge", "unmask"])
def test_one_flipped_bit_at_any_step_is_proven_and_its_sender_is_out(phase, tmp_path):
    strategy = run(MaskedNodes(N, tmp_path, {LIAR: at(phase, 1, flipped)}))
    (fault,) = strategy.history[0].faults
    assert fault.culprit == LIAR and fault.certainty.value == "proven" and fault.step and fault.found
    assert strategy.history[0].reason is None
    assert LIAR not in strategy.history[1].expected and strategy.trust_state[LIAR].lied
    assert all(not strategy.trust_state[name].lied for name in NAMES[1:])


class Liar:
    """Signs wrong values with its own key, as a client would whose software was changed."""

    def __init__(self, nodes: MaskedNodes) -> None:
        self.identity, self.plan = nodes.identities[0], None

    def __call__(self, message, reply):
        phase = phase_of(message) if ENVELOPE in message.content else ""
        if phase == "train":
            self.plan = Offer.decode(message.content[ENVELOPE]["payload"]).plan
        if phase == "challenge":
            self.changed(reply, self.wrong_distances)
        return reply

    def changed(self, reply, change):
        record = reply.content[ENVELOPE]
        record["payload"] = change(record["payload"])

    def wrong_distances(self, payload: bytes) -> bytes:
        found = SketchReply.decode(payload, N, Sizes.of(self.plan))
        geometry = found.parts.geometry.copy()
        geometry[:, 0] ^= 1
        parts, shown = replace(found.parts, geometry=geometry), found.attestation.shown
        return SketchReply.sign(self.identity, self.plan.digest, shown, found.shown_signature, parts).encode()


def test_a_signed_wrong_share_is_corrected_and_its_sender_named(tmp_path):
    nodes = MaskedNodes(N, tmp_path)
    nodes.tampers[LIAR] = Liar(nodes)
    strategy = run(nodes)
    (fault,) = strategy.history[0].faults
    assert (fault.culprit, fault.kind, fault.step) == (LIAR, "WrongShare", "sketch-reply")
    assert LIAR not in strategy.history[1].expected


def test_a_wrong_unmask_share_is_corrected_and_its_sender_named(tmp_path):
    nodes = MaskedNodes(N, tmp_path)
    liar = Liar(nodes)

    def wrong(message, reply):
        def change(payload):
            found = SharesReply.decode("unmask-reply", payload, 1, 4096)
            shares = found.shares.copy()
            shares[0, 0, 0] ^= 1
            return SharesReply.sign(
                nodes.identities[0], "unmask-reply", liar.plan.digest, found.request, shares
            ).encode()

        if phase_of(message) == "train":
            liar.plan = Offer.decode(message.content[ENVELOPE]["payload"]).plan
        if phase_of(message) == "unmask":
            liar.changed(reply, change)
        return reply

    nodes.tampers[LIAR] = wrong
    strategy = run(nodes)
    (fault,) = strategy.history[0].faults
    assert (fault.culprit, fault.kind, fault.step) == (LIAR, "WrongShare", "unmask-reply")


def test_an_update_beyond_the_bound_is_named_by_its_opened_norm(tmp_path, monkeypatch):
    nodes = MaskedNodes(N, tmp_path)
    submission, encode = masked_train.submission, client_submit.encode

    def oversized(site, context, offer, row):
        if site.identity.name != LIAR:
            return submission(site, context, offer, row)
        with monkeypatch.context() as patched:
            patched.setattr(client_submit, "encode", lambda *given: tripled(encode(*given)))
            return submission(site, context, offer, row * np.float32(C / np.linalg.norm(row)))

    def tripled(encoded):
        return replace(encoded, x=3 * encoded.x)

    monkeypatch.setattr(masked_train, "submission", oversized)
    strategy = run(nodes)
    (fault,) = strategy.history[0].faults
    assert (fault.culprit, fault.kind) == (LIAR, "NormBoundExceeded")
    assert LIAR not in strategy.history[1].expected


def test_a_replayed_submission_is_stale(tmp_path):
    nodes, first = MaskedNodes(N, tmp_path), {}

    def replay(message, reply):
        if phase_of(message) == "train":
            reply.content[ENVELOPE]["payload"] = first.setdefault("payload", reply.content[ENVELOPE]["payload"])
        return reply

    nodes.tampers[LIAR] = replay
    strategy = run(nodes)
    assert strategy.history[0].faults == ()
    assert [fault.kind for fault in strategy.history[1].faults] == ["StaleCommitment"]


def test_every_wrong_announcement_of_the_last_sum_is_refused_by_all(tmp_path, monkeypatch):
    nodes = MaskedNodes(N, tmp_path)
    finish = masked_round.finish_masked_round

    def cheating(*args, **options) -> MaskedOutcome:
        outcome = finish(*args, **options)
        outcome.opened.sums[0, 0] += 1 << 20
        return outcome

    monkeypatch.setattr(masked_round, "finish_masked_round", cheating)
    strategy = masked(nodes.roster, below_quorum="skip")
    trajectory(strategy, nodes.grid(), 2)
    second = strategy.history[1]
    assert set(second.refusals) == set(NAMES) and second.reason is not None
    assert all("audit" in why for why in second.refusals.values())


def test_a_server_that_sends_one_client_another_model_gets_no_update_from_it(tmp_path):
    nodes = MaskedNodes(N, tmp_path)
    honest = nodes.nodes[1000]

    def other_model(message):
        if "arrays" in message.content:
            message.content["arrays"] = record(model(1))
        return honest(message)

    nodes.nodes[1000] = other_model
    strategy = run(nodes, 1)
    assert "another message than the plan's (model" in strategy.history[0].refusals[LIAR]


def test_a_plan_that_changes_in_mid_round_is_refused_by_whoever_sees_it(tmp_path):
    nodes = MaskedNodes(N, tmp_path)
    honest, sent = nodes.nodes[1000], {}

    def swapped(message):
        if phase_of(message) == "challenge":
            sent.setdefault("first", message.content[ENVELOPE]["payload"])
            message.content[ENVELOPE]["payload"] = sent["first"]
        return honest(message)

    nodes.nodes[1000] = swapped
    strategy = run(nodes)
    assert "server at challenge" in strategy.history[1].refusals[LIAR]


def test_a_liar_cannot_end_the_run_and_a_crowd_of_them_can_only_stop_it(tmp_path):
    nodes = MaskedNodes(N, tmp_path, {name: at("challenge", 1, flipped) for name in NAMES[:5]})
    strategy = masked(nodes.roster, quorum=4)
    with pytest.raises(Exception, match="quorum 4") as ended:
        strategy.start(nodes.grid(), record(model()), num_rounds=2)
    assert not isinstance(ended.value, RoundAborted)
    assert {fault.culprit for fault in strategy.history[0].faults} == set(NAMES[:5])
    assert "found 2 shares" in strategy.history[0].reason


def windows(content: bytes, width: int = 8) -> list[bytes]:
    return [content[start : start + width] for start in range(0, len(content) - width, 4)]


def test_no_message_log_or_file_holds_any_part_of_an_update(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    nodes = MaskedNodes(N, tmp_path / "y")
    reports = []
    strategy = masked(
        nodes.roster,
        rule=NearestNeighborMixing(f=1) >> MultiKrum(f=1),
        trust_file=tmp_path / "trust.json",
        on_round=lambda report: reports.append(report.to_json()),
    )
    old = trajectory(strategy, nodes.grid(), 1)[0]
    replies = b"".join(
        value if isinstance(value, bytes) else repr(value).encode()
        for _, reply in nodes.replies
        for entry in reply.content.values()
        for value in entry.values()
    )
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    haystack = replies + files + caplog.text.encode() + "".join(reports).encode()
    for i in range(N):
        new = step("anybody", i)(dict(old))
        update = (moving(new) - moving(old)).astype(np.float32)
        for held in (update, moving(new).astype(np.float32)):
            assert not any(window in haystack for window in windows(held.tobytes()))
            assert not any(repr(float(value))[:9].encode() in haystack for value in held[:6])


def test_the_grep_finds_an_update_that_is_sent_in_clear(tmp_path):
    nodes = MaskedNodes(N, tmp_path)
    clear, seen = FakeGrid(robust_nodes(nodes.identities)), []
    inner = clear.nodes[1000]
    clear.nodes[1000] = lambda message: seen.append(inner(message)) or seen[-1]
    strategy = FedAvg(fraction_evaluate=0.0)
    plain = RobustAggregation(strategy, rule=MultiKrum(f=1), roster=nodes.roster, norm_bound=C, wait=1)
    plain.start(clear, record(model()), num_rounds=1)
    sent = [reply.content["arrays"] for reply in seen if "arrays" in reply.content]
    haystack = b"".join(array.data for arrays in sent for array in arrays.values())
    old = model()
    update = step("anybody", 0)(dict(old))["fc.weight"] - old["fc.weight"]
    assert any(window in haystack for window in windows(update.tobytes()))
