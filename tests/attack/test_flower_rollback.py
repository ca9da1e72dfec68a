"""A client that comes back with the memory of before: Flower sends a reply first and saves the state afterwards.

It may give the same answer again; it gives no second one for the same plan and phase.
"""

import copy
import stat

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from flower_robust.errors import ConfigurationError, FaultyServer
from flower_robust.flower import answered
from flower_robust.flower.answered import answer_once
from flower_robust.flower.asked import run_config_digest
from flower_robust.flower.envelope import CHALLENGE, ECHO, ENVELOPE, PAYLOAD, REFUSED, UNMASK, envelope_of
from flower_robust.flower.kept_uploads import KeptUploads
from flower_robust.flower.masked_client import Memory, announce_key, answer, keyed
from flower_robust.flower.site import Site
from flower_robust.protocol import server_challenge
from flower_robust.protocol.demands import ANYTHING
from flower_robust.types import Digest
from tests.flower_double import federation, model, record
from tests.flower_masked import MaskedNodes, masked, phase_of
from tests.protocol_stage import Stage, weights_of


class Returning:
    """Client 0 of a strict round, whose process may die after any answer."""

    def __init__(self, stage: Stage, folder) -> None:
        self.me, self.folder = stage.client(0), folder
        self.site = Site(self.me.identity, stage.world.roster, ANYTHING, folder)
        self.context = Context(stage.plan.run_id, 1, {}, RecordDict(), {})

    def lives(self, state) -> None:
        """The SuperNode holds this state."""
        if self.me._y is not None:
            KeptUploads(self.folder, self.me.identity.name).save(self.me._y, state.dealt.upload)
        Memory(self.me._run_key, state).put(self.context)

    def asked(self, phase: str, payload: bytes) -> ConfigRecord:
        content = RecordDict({ENVELOPE: ConfigRecord({"phase": phase, PAYLOAD: payload})})
        return envelope_of(answer(phase, self.site, Message(content, 1, "train"), self.context))


def challenges(stage: Stage) -> tuple[object, bytes, bytes]:
    fewer = {i: stage.submissions[i] for i in range(6)}
    other = server_challenge.issue_challenge(stage.round, fewer)
    one, two = (server_challenge.challenge_for(challenged, 0) for challenged in (stage.challenged, other))
    return stage.client().state, one, two


def requests(stage: Stage) -> tuple[object, bytes, bytes]:
    return stage.client().state, stage.request(weights_of(*[255] * 7)), stage.request(weights_of(255, *[85] * 6))


STEPS = {
    CHALLENGE: lambda: (stage := Stage(strict=True).submit(), *challenges(stage)),
    ECHO: lambda: (stage := Stage(strict=True).decide(), *requests(stage)),
    UNMASK: lambda: (stage := Stage().decide(), *requests(stage)),
}


@pytest.mark.parametrize("phase", STEPS)
def test_a_client_with_an_old_memory_gives_the_same_answer_again_and_no_other(phase, tmp_path):
    stage, state, one, two = STEPS[phase]()
    client = Returning(stage, tmp_path)
    client.lives(state)
    first = client.asked(phase, one)
    client.lives(state)
    assert client.asked(phase, one)[PAYLOAD] == first[PAYLOAD]
    client.lives(state)
    second = client.asked(phase, two)
    assert PAYLOAD not in second and "found a second request, after one that was answered" in second[REFUSED]
    fresh = Returning(stage, tmp_path / "elsewhere")
    fresh.lives(state)
    assert PAYLOAD in fresh.asked(phase, two), "the second request alone is answered"


def test_a_client_with_an_old_memory_submits_nothing_twice(tmp_path):
    nodes, before = MaskedNodes(5, tmp_path), {}

    def remember(message, reply):
        if ENVELOPE in message.content and phase_of(message) == "enrol":
            before["state"] = copy.deepcopy(nodes.contexts[1000].state)
        return reply

    nodes.tampers["hospital-0"] = remember
    grid = nodes.grid()
    masked(nodes.roster).start(grid, record(model()), num_rounds=1)
    (train,) = [m for m in grid.sent if m.metadata.dst_node_id == 1000 and phase_of(m) == "train"]
    nodes.contexts[1000].state = before["state"]
    reply = nodes.nodes[1000](copy.deepcopy(train)).content[ENVELOPE]
    assert PAYLOAD not in reply and "a second request, after one that was answered" in reply[REFUSED]


def site_of(folder) -> Site:
    identities, roster = federation(4)
    return Site(identities[0], roster, ANYTHING, folder)


def test_markers_are_private_bounded_and_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(answered, "KEPT", 5)
    site, plans = site_of(tmp_path), [Digest(bytes([k]) * 32) for k in range(8)]
    for plan in plans:
        answer_once(site, plan, ECHO, b"answer")
    (folder,) = tmp_path.glob("*/answered")
    assert len(list(folder.iterdir())) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    answer_once(site, plans[-1], ECHO, b"answer")
    answer_once(site, plans[-1], UNMASK, b"another phase")
    with pytest.raises(FaultyServer, match="server at echo: found a second request"):
        answer_once(site, plans[-1], ECHO, b"another answer")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="audit_folder"):
        answer_once(site_of(tmp_path / "file"), plans[0], ECHO, b"answer")


def test_the_next_run_of_a_series_gets_a_new_key_and_none_of_the_old_state(tmp_path):
    site, state = site_of(tmp_path), RecordDict()
    one, two = (announce_key(site, Context(run_id, 7, {}, state, {})) for run_id in (1, 2))
    assert one != two == announce_key(site, Context(2, 7, {}, state, {}))
    _, roster = federation(5)
    other = Site(site.identity, roster, ANYTHING, tmp_path)
    assert announce_key(other, Context(2, 7, {}, state, {})) != two


def test_what_a_client_announces_goes_with_its_runs_configuration(tmp_path):
    claimed = keyed(site_of(tmp_path), Context(1, 7, {}, RecordDict(), {"lr": 0.1}))
    assert claimed["run-config"] == run_config_digest({"lr": 0.1}) != run_config_digest({"lr": np.float64(0.2)})
