"""What convicts a server outlives the client's process, convinces somebody else offline, and nothing less does."""

import logging
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from flower_robust.cli import main
from flower_robust.commands.verify_evidence import verdict
from flower_robust.commitments import Identity
from flower_robust.commitments.transcript import digest, sign_shown
from flower_robust.errors import ConfigurationError, CorruptFile, EquivocatingServer
from flower_robust.flower.kept_evidence import KEPT, keep_evidence
from flower_robust.flower.kept_uploads import KeptUploads
from flower_robust.flower.masked_client import _refused
from flower_robust.flower.site import Site
from flower_robust.protocol import server_open
from flower_robust.protocol.demands import Demands
from flower_robust.protocol.evidence import CHALLENGE, DECISION, Evidence, Signed
from tests.protocol_stage import N, Stage, weights_of
from tests.protocol_world import SERVER


@pytest.fixture(scope="module")
def caught() -> EquivocatingServer:
    """A strict round in which the server asks client 0 to echo a second decision."""
    stage = Stage(strict=True).decide()
    stage.client().echo(server_open.unmask_request(stage.decided))
    with pytest.raises(EquivocatingServer) as raised:
        stage.client().echo(stage.request(weights_of(0, *[255] * (N - 1))))
    return raised.value


def site_at(folder: Path) -> Site:
    return Site(Identity.from_seed("h0", bytes(32)), None, Demands(), folder)


def test_two_signatures_convict_the_server_offline(caught, tmp_path, caplog, capsys):
    with caplog.at_level(logging.WARNING, logger="flwr"):
        _refused("echo", site_at(tmp_path), caught)
    (path,) = tmp_path.rglob("*.evidence")
    assert str(path) in caplog.text and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert main(["verify-evidence", str(path)]) == 0
    said = capsys.readouterr().out
    plan = Evidence.decode(path.read_bytes()).plan
    assert SERVER.public_key.hex() in said and "signed two decisions" in said
    assert f"round {plan.round} of run {plan.run_id}, plan {plan.digest.hex()}" in said


def test_any_other_bytes_prove_nothing(caught, tmp_path, capsys):
    path = tmp_path / "x.evidence"
    for at in range(0, len(caught.evidence), 7):
        changed = bytearray(caught.evidence)
        changed[at] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises(CorruptFile, match="no evidence"):
            verdict(path)
    for cut in (b"", caught.evidence[:-1], caught.evidence + b"\0"):
        path.write_bytes(cut)
        assert main(["verify-evidence", str(path)]) == 2
    assert "no evidence" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="a readable file"):
        verdict(tmp_path / "missing")


def signed(plan, step: str, name: bytes, basis: bytes = b"", server: Identity = SERVER) -> Signed:
    shown = digest(name.decode())
    return Signed(step, shown, sign_shown(server, step, plan.digest, shown), basis)


def test_honest_statements_are_no_contradiction_and_a_stranger_convicts_nobody(caught):
    plan = Evidence.decode(caught.evidence).plan
    one, two = signed(plan, CHALLENGE, b"one"), signed(plan, CHALLENGE, b"two")
    assert "signed two challenges" in Evidence(plan, one, two).verify()
    with pytest.raises(ValueError, match="twice"):
        Evidence(plan, one, one).verify()
    with pytest.raises(ValueError, match="does not verify"):
        Evidence(plan, one, signed(plan, CHALLENGE, b"two", server=Identity.generate("another"))).verify()
    with pytest.raises(ValueError, match="a challenge or a decision"):
        Evidence(plan, one, signed(plan, "recheck", b"two")).verify()
    with pytest.raises(ValueError, match="does not verify"):
        Evidence(replace(plan, round=plan.round + 1), one, two).verify()
    with pytest.raises(ValueError, match="a field of 0 bytes"):
        Evidence(plan, one, signed(plan, DECISION, b"three")).verify()


def test_a_decision_on_the_challenge_beside_it_is_honest():
    stage = Stage().decide()
    shown, request = stage.challenged.shown, stage.decided
    basis = shown + request.weights.tobytes()
    decision = server_open.decision_of(request)
    on_it = Signed(DECISION, decision, sign_shown(SERVER, "decision", stage.plan.digest, decision), basis)
    beside = Signed(CHALLENGE, shown, stage.challenged.common.signature)
    with pytest.raises(ValueError, match="a decision on the challenge beside it"):
        Evidence(stage.plan, beside, on_it).verify()
    other = signed(stage.plan, CHALLENGE, b"another")
    assert "a decision on another one" in Evidence(stage.plan, on_it, other).verify()


def test_the_first_proofs_stay_and_uploads_do_not_push_them_out(tmp_path):
    site = site_at(tmp_path)
    said = [keep_evidence(site, b"proof %d" % k) for k in range(KEPT + 1)]
    assert "holds 16 already" in said[-1] and all("verify-evidence" in line for line in said[:-1])
    assert keep_evidence(site, b"proof 0") == said[0], "the same evidence is one file"
    stage = Stage().submit()
    uploads = KeptUploads(site.folder, "h0")
    for i in range(3):
        uploads.save(stage.submissions[0].upload, digest(f"y{i}"))
    assert len(list(tmp_path.rglob("*.evidence"))) == KEPT


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert keep_evidence(site_at(tmp_path / "file"), b"proof").startswith("but not on disk: ")
