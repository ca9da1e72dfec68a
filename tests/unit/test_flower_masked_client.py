"""What a client of masked rounds remembers, forgets and refuses."""

import copy
import stat
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from flower_robust import Demands, RobustAggregation
from flower_robust.aggregation import Krum, Mean, Median, ReferenceTrust
from flower_robust.commitments import Roster
from flower_robust.errors import ConfigurationError
from flower_robust.flower.envelope import ENVELOPE
from flower_robust.flower.kept_uploads import KEPT, KeptUploads
from flower_robust.flower.masked_client import Memory
from flower_robust.flower.masked_row import MARGIN, MaskedRow
from flower_robust.flower.records import Layout
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.protocol.client_memory import recall, remember
from flower_robust.protocol.client_states import AwaitingChallenge, AwaitingRecheck
from flower_robust.protocol.replies import upload_digest
from tests.flower_double import RUN_ID, federation, model, record, step, stock_app
from tests.flower_masked import MaskedNodes, at, masked, phase_of

NAMES = tuple(f"hospital-{i}" for i in range(5))


def test_secrets_are_erased_as_soon_as_they_are_used(tmp_path):
    nodes, seen = MaskedNodes(5, tmp_path), []

    def look(message, reply):
        context = nodes.contexts[1000]
        held = b"|".join(value for value in context.state[ENVELOPE].values() if isinstance(value, bytes))
        memory = Memory.pop(context)
        assert list(context.state[ENVELOPE]) == ["run-key"], "a popped state is still there"
        memory.put(context)
        seen.append((phase_of(message), held, memory.state))
        return reply

    nodes.tampers[NAMES[0]] = look
    masked(nodes.roster, reply_timeout=5, masking={"step_timeout": 5.0}).start(
        nodes.grid(), record(model()), num_rounds=2
    )
    assert [phase for phase, *_ in seen] == ["enrol", "train", "challenge", "unmask", "train", "challenge", "unmask"]
    entropy, unmasked = seen[1][2].dealt.entropy, seen[3][2]
    assert isinstance(seen[1][2], AwaitingChallenge) and isinstance(unmasked, AwaitingRecheck) and len(entropy) == 32
    shares = [share.tobytes()[:64] for share in unmasked.held.secrets]
    assert [entropy in held for _, held, _ in seen] == [False, True, True, False, False, False, False]
    assert all(share in seen[3][1] and share not in seen[4][1] for share in shares)


def test_every_state_survives_its_bytes(tmp_path):
    nodes, found = MaskedNodes(5, tmp_path), []

    def look(message, reply):
        memory = Memory.pop(nodes.contexts[1000])
        memory.put(nodes.contexts[1000])
        found.append((memory.state, memory.run_key))
        return reply

    nodes.tampers[NAMES[0]] = look
    masked(nodes.roster).start(nodes.grid(), record(model()), num_rounds=1)
    for state, key in found[1:]:
        again = recall(remember(state), key)
        assert type(again) is type(state) and remember(again) == remember(state)
        assert "redacted" in repr(state)


def replayed(phase: str, nodes: MaskedNodes) -> Message:
    """Run one round, then send node 1000 its message of this phase once more."""
    grid = nodes.grid()
    masked(nodes.roster).start(grid, record(model()), num_rounds=1)
    sent = [m for m in grid.sent if m.metadata.dst_node_id == 1000 and phase_of(m) == phase]
    return nodes.nodes[1000](copy.deepcopy(sent[0]))


@pytest.mark.parametrize("phase", ["challenge", "unmask", "dispute", "recheck"])
def test_no_request_is_answered_twice_or_out_of_turn(phase, tmp_path):
    nodes = MaskedNodes(5, tmp_path)
    if phase in ("challenge", "unmask"):
        reply = replayed(phase, nodes)
    else:
        masked(nodes.roster).start(nodes.grid(), record(model()), num_rounds=1)
        asked = Message(RecordDict({ENVELOPE: ConfigRecord({"phase": phase, "payload": b"x"})}), 1000, "train")
        asked.metadata.__dict__["_message_id"] = "again"
        reply = nodes.nodes[1000](asked)
    assert "payload" not in reply.content[ENVELOPE] and reply.content[ENVELOPE]["refused"].startswith("server at")


def answer_of(mod, message: Message, node_config=None) -> Message:
    context = Context(RUN_ID, 1000, node_config or {}, RecordDict(), {})
    return stock_app(step("x", 0), mods=[mod])(message, context)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"demands": Demands(threshold=2)}, "found threshold 1, required at least 2, as this site insists"),
        ({"roster": Roster.load}, None),
    ],
)
def test_a_site_that_insists_on_more_refuses_once_and_says_why(options, why, tmp_path):
    nodes = MaskedNodes(5, tmp_path)
    if why is None:
        other = Roster([*nodes.roster])
        other = Roster([nodes.roster[name] for name in reversed(nodes.roster.names)])
        options, why = {"roster": other}, "roster: found 'digest"
    nodes.nodes[1000] = nodes.node(1000, 0, **options)
    strategy = masked(nodes.roster, rule=Mean(), quorum=4, expected=5)
    strategy.start(nodes.grid(), record(model()), num_rounds=1)
    report = strategy.history[0]
    said = [*report.refusals.values(), *map(str, report.faults)]
    assert any(why in line for line in said) and report.accepted == NAMES[1:]


def test_a_site_with_a_threshold_never_sends_an_update_in_clear(tmp_path):
    nodes = MaskedNodes(5, tmp_path)
    nodes.nodes = {1000 + i: nodes.node(1000 + i, i, demands=Demands(threshold=1)) for i in range(5)}
    plain = RobustAggregation(
        masked(nodes.roster).strategy, rule=Mean(), roster=nodes.roster, norm_bound=1.0, wait=0.5, below_quorum="skip"
    )
    plain.start(nodes.grid(), record(model()), num_rounds=1)
    assert all("an unmasked round" in str(fault) for fault in plain.history[0].faults)
    assert not any("arrays" in reply.content for _, reply in nodes.replies if reply.has_content())


def test_a_client_without_a_roster_says_what_it_needs(tmp_path):
    nodes = MaskedNodes(5, tmp_path)
    nodes.nodes[1000] = nodes.node(1000, 0, roster=None)
    strategy = masked(nodes.roster, quorum=4)
    strategy.start(nodes.grid(), record(model()), num_rounds=1)
    assert any("node_config roster: found None" in str(fault) for fault in strategy.history[0].faults)


def spoil(path):
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(("fate", "found"), [(Path.unlink, "is gone"), (spoil, "was altered")])
def test_without_its_y_a_client_sits_the_round_out_and_a_lost_old_one_only_skips_its_audit(tmp_path, fate, found):
    nodes = MaskedNodes(5, tmp_path)
    lost = {NAMES[0]: 2, NAMES[1]: 1}

    def lose(name):
        def tamper(message, reply):
            folder = KeptUploads(tmp_path, name).folder
            if phase_of(message) == ("train" if lost[name] == 2 else "unmask"):
                for path in folder.glob("*.y"):
                    fate(path)
            return reply

        return tamper

    nodes.tampers = {NAMES[0]: at("train", 2, lose(NAMES[0])), NAMES[1]: at("unmask", 1, lose(NAMES[1]))}
    strategy = masked(nodes.roster, quorum=4)
    strategy.start(nodes.grid(), record(model()), num_rounds=2)
    second = strategy.history[1]
    assert f"this round's y, which {found}" in second.refusals[NAMES[0]]
    assert second.audits[NAMES[1]].startswith("own row skipped") and second.audits[NAMES[2]] == "done"
    assert second.reason is None


def test_kept_uploads_are_private_bounded_and_checked(tmp_path):
    uploads = KeptUploads(tmp_path, "../odd name")
    ys = [np.full((2, 1, PARAMETERS.N), k, np.uint32) for k in range(KEPT + 3)]
    for y in ys:
        uploads.save(y, upload_digest(y))
    files = list(uploads.folder.iterdir())
    assert len(files) == KEPT and {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(uploads.folder.stat().st_mode) == 0o700 and uploads.folder.parent == tmp_path
    last = upload_digest(ys[-1])
    assert (uploads.load(last, 1) == ys[-1]).all() and uploads.intact(last, 1)
    kept = next(path for path in files if last.hex() in path.name)
    kept.write_bytes(ys[0].tobytes())
    assert not uploads.intact(last, 1)
    for length in (kept.stat().st_size - 1, 2 * kept.stat().st_size):
        kept.write_bytes(bytes(length))
        assert uploads.load(last, 1) is None and not uploads.intact(last, 1)
    uploads.forget(last)
    assert uploads.load(last, 1) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masking": {"threshold": 3}}, "threshold: found 3, required 1 <= t and 2t \\+ 1 <= 5"),
        ({"masking": {"min_accepted": 2}}, "min_accepted: found 2, required at least t \\+ 2"),
        ({"rule": Krum(f=1)}, "rule: found 'Krum\\(f=1\\)', required a rule whose sum 3 clients carry"),
        ({"rule": Median(f=1)}, "PeerMasking\\(groups\\): found 1, required at least 3"),
        ({"masking": {"groups": 2}}, "min_accepted: found 3, required at most 5 clients in 2 groups"),
        ({"quorum": 2}, "quorum: found 2, required at least 3"),
        ({"rule": ReferenceTrust()}, "reference: found None, required a function that gives the server's own update"),
        ({"masking": {"step_timeout": 0.0}}, "PeerMasking\\(step_timeout\\): found 0.0"),
        ({"masking": {"masked_metrics": {"loss": -1.0}}}, "masked_metrics\\['loss'\\]"),
    ],
)
def test_options_that_cannot_work_are_found_before_the_first_message(options, message):
    _, roster = federation(5)
    with pytest.raises(ConfigurationError, match=message):
        masked(roster, **options)


def test_what_is_beside_the_step_cannot_move_the_geometry_by_more_than_its_margin():
    layout = Layout.of(model())
    row = MaskedRow(layout, {"loss": 1.0, "count": 5.0}, 10.0)
    step_ = {name: np.zeros(layout.shapes[name], np.float32) for name in (*layout.moving, *row.float_buffers)}
    shouted = {name: np.full(layout.shapes[name], 1e9) for name in row.float_buffers}
    written = row.write(step_ | shouted, {"loss": -1e9, "count": 1e9}, 1.0, 2.0)
    assert np.linalg.norm(written) <= 2.0 * MARGIN * (1 + 1e-6)
    far = {name: np.full(layout.shapes[name], 1e3, np.float32) for name in layout.moving}
    assert np.linalg.norm(row.write(far | shouted, {"loss": 1, "count": 5}, 1.0, 2.0)) <= 2.0 * (1 + 1e-6)
