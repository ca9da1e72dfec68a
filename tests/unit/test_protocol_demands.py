"""What a site insists on is refused by name: the found and the required, before anything is submitted.

And what a server plans that is allowed but weak, it says once.
"""

import logging

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

from flower_robust import Demands, PeerMasking
from flower_robust.aggregation import GeometricMedian, Mean, ReferenceTrust
from flower_robust.errors import ConfigurationError, FaultyServer
from flower_robust.flower.masking import check_masking
from flower_robust.flower.site import demands_of, refuse_unmasked
from flower_robust.protocol.shown import Offer
from flower_robust.protocol.sizes import terms_of
from tests.flower_double import RUN_ID
from tests.protocol_world import SERVER, World

OTHER = bytes(range(32))


@pytest.mark.parametrize(
    ("demands", "terms", "why"),
    [
        (Demands(threshold=2), {}, "found threshold 1, required at least 2, as this site insists"),
        (Demands(min_accepted=4), {}, "found min_accepted 3, required at least 4, as this site insists"),
        (Demands(strict=True), {}, "found a round that is not strict, required a strict one, as this site insists"),
        (Demands(server_key=OTHER), {}, f"found the server key {SERVER.public_key.hex()}, required {OTHER.hex()}"),
        (
            Demands(no_reference=True),
            {"reference": np.ones(3000, np.float32)},
            "found a round with a reference, required one without, as this site insists",
        ),
        (Demands(1, 4, True, SERVER.public_key, True), {"strict": True, "min_accepted": 4}, None),
        (Demands(1, 3, False, SERVER.public_key), {"strict": True}, None),
        (Demands(), {}, None),
    ],
)
def test_a_plan_below_what_a_client_insists_on_gets_no_submission(demands, terms, why):
    world = World(n=7, t=1)
    client, plan = world.clients["h0"], world.planned(Mean(), 1, None, **({"reference": None} | terms))[0]
    client.demands = demands
    offer = Offer(plan, world.keys).encode()
    if why is None:
        client.submit(offer, world.updates()["h0"])
        return
    with pytest.raises(FaultyServer, match=why):
        client.submit(offer, world.updates()["h0"])
    assert client.state is None
    with pytest.raises(FaultyServer, match=why):
        demands.check(terms_of(plan))


def node(**config) -> Context:
    return Context(1, 1, config, RecordDict(), {})


def test_the_nodes_configuration_comes_before_what_the_app_says():
    given = Demands(threshold=1, strict=True)
    assert demands_of(node(), given) == given
    config = {"threshold": 3, "min-accepted": 8, "strict": False, "server-key": OTHER.hex(), "no-reference": True}
    assert demands_of(node(**config), given) == Demands(3, 8, False, OTHER, True)
    assert demands_of(node(**{"partition-id": 0}), given) == given


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"threshold": -1}, "threshold: found -1, required a whole number of at least 0"),
        ({"threshold": True}, "threshold: found True"),
        ({"min-accepted": 2.5}, "min-accepted: found 2.5"),
        ({"strict": 1}, "strict: found 1, required true or false"),
        ({"no-reference": "yes"}, "no-reference: found 'yes', required true or false"),
        ({"server-key": "abcd"}, "server-key: found '2 bytes', required 32 bytes"),
        ({"server-key": "key"}, "server-key: found 'key', required an Ed25519 public key, 64 hex digits"),
    ],
)
def test_demands_that_cannot_be_are_named(config, why):
    with pytest.raises(ConfigurationError, match=why):
        demands_of(node(**config), Demands())


@pytest.mark.parametrize("demands", [Demands(strict=True), Demands(min_accepted=3), Demands(server_key=OTHER)])
def test_whoever_demands_anything_takes_part_in_no_unmasked_round(demands):
    asked = Message(RecordDict(), 1, "train")
    assert asked.metadata.run_id == RUN_ID
    refuse_unmasked(asked, Demands())
    with pytest.raises(ConfigurationError, match="an unmasked round"):
        refuse_unmasked(asked, demands)


@pytest.mark.parametrize(("n", "warned"), [(4, True), (5, False)])
def test_more_poisoners_than_correctable_liars_are_warned_of_once(n, warned, caplog):
    with caplog.at_level(logging.WARNING, logger="flwr"):
        check_masking(PeerMasking(threshold=1), GeometricMedian(f=1), n, None, 1.0)
    said = [line for line in caplog.messages if "f = 1, but a masked round of n = 4 clients with t = 1" in line]
    assert len(said) == warned and len(caplog.messages) == warned
    assert all("corrects e = 0" in line for line in said)


@pytest.mark.parametrize(("threshold", "warned"), [(4, True), (3, False)])
def test_a_threshold_that_leaves_no_room_for_f_is_warned_of(threshold, warned, caplog):
    with caplog.at_level(logging.WARNING, logger="flwr"):
        check_masking(PeerMasking(threshold=threshold), GeometricMedian(f=2), 10, None, 1.0)
    said = [line for line in caplog.messages if "10 clients opens nothing, since 9 must carry" in line]
    assert len(said) == warned


@pytest.mark.parametrize(
    ("rule", "n", "warned"), [(ReferenceTrust(), 4, True), (ReferenceTrust(), 5, False), (Mean(), 4, False)]
)
def test_where_few_must_follow_the_reference_it_is_said_once(rule, n, warned, caplog):
    """t = 1: three carry a sum, of four hospitals more than a half."""
    with caplog.at_level(logging.WARNING, logger="flwr"):
        check_masking(PeerMasking(threshold=1), rule, n, None, 1.0)
    said = [
        line for line in caplog.messages if "fewer than 3 of 4 clients point the reference's way moves nothing" in line
    ]
    assert len(said) == warned and len(caplog.messages) == warned
