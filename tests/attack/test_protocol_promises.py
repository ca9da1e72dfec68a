"""What a server announces and plans: clients check the sum one round later, and every plan before they answer."""

from dataclasses import replace

import numpy as np
import pytest

from flower_robust.aggregation import Mean
from flower_robust.commitments.keys import RunKey
from flower_robust.errors import (
    ConfigurationError,
    FaultyServer,
)
from flower_robust.protocol import server_challenge
from flower_robust.protocol.announcement import announce, announcement_digest
from flower_robust.protocol.audit import auditor
from flower_robust.protocol.shown import Offer
from flower_robust.protocol.sizes import terms_of
from tests.protocol_liars import plus
from tests.protocol_stage import N, Stage
from tests.protocol_world import World


@pytest.mark.parametrize("cheat", ["sum", "secret", "row", "withheld"])
def test_a_wrong_announced_result_is_caught_by_the_audit(cheat):
    world = World(n=N, t=1)
    opened = world.run(Mean()).opened
    if cheat == "sum":
        opened = replace(opened, sums=opened.sums + (np.arange(opened.sums.shape[1]) == 7))
    if cheat == "secret":
        opened = replace(opened, secrets=plus(opened.secrets, (0, 0)))
    stage = Stage(world=world, previous=opened, round=2).submit()
    watcher = auditor(stage.challenged.challenge, stage.challenged.accepted)
    caught = {}
    for i, name in enumerate(world.names):
        message = server_challenge.challenge_for(stage.challenged, i)
        if cheat == "withheld":
            message = stage.shown(i, audited_sum=b"")
        if cheat == "row":
            audit = bytearray(stage.challenged.common.audit)
            audit[200] ^= 1
            message = stage.shown(i, audit=bytes(audit))
        try:
            world.clients[name].answer_challenge(message)
        except FaultyServer as error:
            caught[i] = error.step
    assert caught == ({watcher: "audit"} if cheat == "withheld" else dict.fromkeys(range(N), "audit"))


def test_an_honest_result_passes_the_audit_and_a_lost_y_only_skips_it():
    world = World(n=N, t=1)
    opened = world.run(Mean()).opened
    world.clients["h3"]._uploads.clear()
    outcome = world.run(Mean(), previous=opened, round=2)
    assert not outcome.faults and not outcome.alarms


def test_an_announcement_that_the_plan_does_not_bind_is_refused():
    world = World(n=N, t=1)
    opened = world.run(Mean()).opened
    stage = Stage(world=world, previous=opened, round=2)
    other = replace(stage.offer, announcement=announce(replace(opened, sums=opened.sums + 1)))
    assert announcement_digest(other.announcement) != terms_of(stage.plan).previous
    with pytest.raises(FaultyServer, match="announcement"):
        stage.client().submit(other.encode(), world.updates()["h0"])


def test_unsafe_plans_are_refused_by_the_client_and_by_whoever_makes_them():
    world = World(n=N, t=1)
    plan = world.plan(Mean())
    update = world.updates()["h0"]
    for change in ({"threshold": 4}, {"min_accepted": 2}, {"weight_cap": 0}, {"parameter_set": 9}, {"min_accepted": 8}):
        unsafe = replace(plan, masking=replace(terms_of(plan), **change))
        with pytest.raises(FaultyServer):
            world.clients["h0"].submit(Offer(unsafe, world.keys).encode(), update)
    with pytest.raises(ConfigurationError, match="2t"):
        World(n=N, t=4).plan(Mean())
    with pytest.raises(ConfigurationError, match="min_accepted"):
        world.plan(Mean(), min_accepted=2)


def test_other_run_keys_or_another_roster_are_refused():
    world, other = World(n=N, t=1), World(n=N, t=1, seed=1)
    plan, update = world.plan(Mean()), world.updates()["h0"]
    with pytest.raises(FaultyServer):
        world.clients["h0"].submit(Offer(plan, other.keys).encode(), update)
    swapped = (world.keys[0], world.keys[2], world.keys[1], *world.keys[3:])
    with pytest.raises(FaultyServer):
        world.clients["h0"].submit(Offer(plan, swapped).encode(), update)
    with pytest.raises(FaultyServer, match="another roster"):
        other.clients["h0"].submit(Offer(plan, world.keys).encode(), update)
    renewed = RunKey.create(world.identities["h1"], world.run_id, world.roster.digest, b"\x05" * 32).announcement
    with pytest.raises(FaultyServer, match="run keys"):
        world.clients["h0"].submit(Offer(plan, (world.keys[0], renewed, *world.keys[2:])).encode(), update)
