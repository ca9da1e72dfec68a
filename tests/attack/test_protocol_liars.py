"""Every way a client can lie in a masked round: the right one is blamed, and the others get the right result."""

from dataclasses import replace

import numpy as np
import pytest

from flower_robust.aggregation import Mean, MultiKrum
from flower_robust.commitments.keys import RunKey
from flower_robust.errors import (
    BadEnvelope,
    Certainty,
    DigestMismatch,
    FalseComplaint,
    InconsistentShares,
    NonZeroSharing,
    NormBoundExceeded,
    NormMismatch,
    NotEnoughShares,
    RoundAborted,
    TooFewRows,
    WrongPadKey,
    WrongShare,
)
from flower_robust.protocol.client import MaskedClient
from flower_robust.protocol.masked_round import MaskedOutcome
from tests import protocol_liars as liars
from tests.protocol_world import World, entropy_of

RULE = MultiKrum(f=1)


class CopiedKey(MaskedClient):
    """Signs the run key of client 0 as its own: what others seal to it, it cannot open."""

    def __init__(self, identity, roster, run_id, entropy):
        super().__init__(identity, roster, run_id, entropy)
        copied = RunKey.create(identity, run_id, roster.digest, entropy_of("0/h0")())
        self._run_key = replace(copied, secret=entropy())


def culprits(outcome: MaskedOutcome) -> dict[str, type]:
    return {fault.culprit: type(fault) for fault in outcome.faults}


def check_sum(world: World, outcome: MaskedOutcome, updates: dict[str, np.ndarray]) -> None:
    """The aggregate is the announced integer weights' mean of the honest updates."""
    weights = outcome.opened.decided.weights[0].astype(np.float64)
    expected = sum(w * updates[name] for w, name in zip(weights, world.names, strict=True) if w) / weights.sum()
    steps = np.abs(outcome.aggregate - expected) / (world.norm_bound / 2**22)
    assert steps.max() <= 0.5 + 8 + 2, "rounding, noise of at most 8 steps, float32"


@pytest.mark.parametrize(
    ("liar", "blame"),
    [
        (liars.fraction_of_q(2, slice(0, 1500)), NormBoundExceeded),
        (liars.fraction_of_q(2, slice(0, 1)), NormBoundExceeded),
        (liars.fraction_of_q(3), NormBoundExceeded),
        (type("Higher", (liars.NormLiar,), {"factor": 3.0}), NormMismatch),
        (type("Lower", (liars.NormLiar,), {"factor": 0.1}), NormMismatch),
        (type("TooHigh", (liars.NormLiar,), {"factor": 30.0}), NormBoundExceeded),
        (liars.ChangedMind, DigestMismatch),
        (liars.misdealer(0), InconsistentShares),
        (liars.misdealer(0, 1, 3), InconsistentShares),
        (liars.misdealer(1, words="zeros"), NonZeroSharing),
        (liars.NonZero, NonZeroSharing),
        (type("One", (liars.UnreadableTo,), {"to": (1,)}), BadEnvelope),
        (type("All", (liars.UnreadableTo,), {"to": (0, 1, 3, 4, 5, 6)}), BadEnvelope),
        (type("AllButOne", (liars.both(liars.Stubborn, liars.UnreadableTo),), {"to": (0, 1, 3, 4, 5)}), BadEnvelope),
        (liars.FalseComplainer, FalseComplaint),
        (type("Shouter", (liars.FalseComplainer,), {"about": (0, 1, 3, 4, 5, 6)}), FalseComplaint),
        (CopiedKey, FalseComplaint),
        (liars.WrongTests, WrongShare),
        (type("WrongAboutAll", (liars.WrongTests,), {"about": (0, 1, 3, 4, 5, 6)}), WrongShare),
        (liars.WrongDistances, WrongShare),
        (liars.WrongPads, WrongShare),
        (type("PadsOfAll", (liars.WrongPads,), {"about": (0, 1, 3, 4, 5, 6)}), WrongShare),
        (liars.wrong_keys(0), InconsistentShares),
        (liars.wrong_keys(0, 1, 3, 4, 5, 6), InconsistentShares),
        (liars.both(liars.Stubborn, liars.wrong_keys(0, 1)), InconsistentShares),
        (liars.both(liars.Opener, liars.wrong_keys(0)), WrongPadKey),
        (liars.WrongUnmask, WrongShare),
    ],
)
def test_each_lie_is_its_liars_and_the_round_goes_on(liar, blame):
    world = World(n=7, t=1, make={2: liar})
    updates = world.updates()
    outcome = world.run(RULE, updates)
    assert culprits(outcome) == {"h2": blame}
    assert not outcome.alarms
    assert all(fault.certainty is Certainty.PROVEN for fault in outcome.faults)
    if liar is not liars.WrongUnmask:
        assert outcome.opened.decided.weights[0][2] == 0
        check_sum(world, outcome, updates)


@pytest.mark.parametrize(
    "liar", [liars.WrongTests, liars.FalseComplainer, liars.misdealer(0), liars.WrongPads, liars.wrong_keys(0)]
)
def test_a_liar_is_named_even_where_nothing_can_be_corrected(liar):
    """n = 4, t = 1 corrects no wrong answer; the dealer's defence names the liar, and the other three finish."""
    world = World(n=4, t=1, make={2: liar})
    updates = world.updates()
    outcome = world.run(Mean(), updates)
    assert set(culprits(outcome)) == {"h2"}
    assert (outcome.opened.decided.weights[0] > 0).tolist() == [True, True, False, True]
    check_sum(world, outcome, updates)


def test_two_liars_frame_nobody_where_one_could_be_corrected():
    """No polynomial fits honest dealer 0's shares; it clears itself, convicts both liars and stays in the sum."""
    wrong = type("Wrong", (liars.WrongTests,), {"about": (0,)})
    world = World(n=5, t=1, make={3: wrong, 4: wrong})
    updates = world.updates()
    outcome = world.run(Mean(), updates)
    assert culprits(outcome) == {"h3": WrongShare, "h4": WrongShare}
    assert (outcome.opened.decided.weights[0] > 0).tolist() == [True, True, True, False, False]
    check_sum(world, outcome, updates)


def test_an_unresolved_contradiction_voids_the_round_below_the_threshold_and_frames_nobody():
    """n = 4, t = 1: dealer 2 cheats client 0 and falls silent; both leave, and two are too few."""
    liar = liars.both(liars.silent_from("echo"), liars.misdealer(0))
    with pytest.raises(RoundAborted) as aborted:
        World(n=4, t=1, make={2: liar}).run(Mean())
    assert isinstance(aborted.value.reason, NotEnoughShares)
    assert (aborted.value.reason.needed, aborted.value.reason.had) == (3, 2)
    assert {(fault.culprit, fault.certainty) for fault in aborted.value.faults} == {("h2", Certainty.SILENT)}


@pytest.mark.parametrize(("liar", "limit"), [(liars.WrongDistances, 2), (liars.WrongUnmask, 3)])
def test_wrong_shares_up_to_the_limit_and_one_beyond(liar, limit):
    """n = 9, t = 2 corrects two wrong answers of degree 4 and three of degree 2."""
    wrong = dict.fromkeys((5, 6, 7, 8)[:limit], liar)
    outcome = World(n=9, t=2, make=wrong).run(RULE)
    assert culprits(outcome) == {f"h{i}": WrongShare for i in wrong}
    with pytest.raises(RoundAborted) as aborted:
        World(n=9, t=2, make={**wrong, 5 + limit: liar}).run(RULE)
    assert isinstance(aborted.value.reason, NotEnoughShares)
    assert not aborted.value.faults


def test_liars_at_every_step_at_once():
    makers = {1: liars.misdealer(0), 4: liars.WrongDistances, 7: liars.WrongUnmask, 9: liars.NormLiar}
    makers |= {11: liars.wrong_keys(0, 2, 4), 13: liars.WrongPads}
    world = World(n=17, t=2, make=makers)
    updates = world.updates()
    outcome = world.run(RULE, updates)
    expected = {"h1": InconsistentShares, "h4": WrongShare, "h7": WrongShare, "h9": NormMismatch}
    expected |= {"h11": InconsistentShares, "h13": WrongShare}
    assert culprits(outcome) == expected
    check_sum(world, outcome, updates)


def test_a_silent_misdealer_of_many_is_still_convicted():
    liar = liars.both(liars.silent_from("echo"), liars.misdealer(0, 1, 3, 4))
    outcome = World(n=9, t=1, make={2: liar}).run(RULE)
    assert InconsistentShares in {type(fault) for fault in outcome.faults if fault.culprit == "h2"}


@pytest.mark.parametrize("lie", [liars.misdealer(0), liars.wrong_keys(0)])
def test_a_silent_misdealer_of_one_frames_nobody(lie):
    liar = liars.both(liars.silent_from("echo"), lie)
    outcome = World(n=9, t=1, make={2: liar}).run(RULE)
    assert {fault.culprit for fault in outcome.faults} == {"h2"}
    assert {fault.certainty for fault in outcome.faults} == {Certainty.SILENT}


def test_a_round_that_cannot_be_decided_still_names_the_proven_liars():
    """n = 7, f = 1: three liars about their norm leave four rows, one too few for Multi-Krum."""
    liar = type("Higher", (liars.NormLiar,), {"factor": 3.0})
    with pytest.raises(RoundAborted) as aborted:
        World(n=7, t=1, make=dict.fromkeys((4, 5, 6), liar)).run(RULE)
    assert isinstance(aborted.value.reason, TooFewRows)
    blamed = {(fault.culprit, type(fault), fault.certainty) for fault in aborted.value.faults}
    assert blamed == {(name, NormMismatch, Certainty.PROVEN) for name in ("h4", "h5", "h6")}
