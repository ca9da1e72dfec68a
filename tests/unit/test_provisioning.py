"""Keys, certificates and the folder of a federation."""

import argparse
import datetime
import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key, load_ssh_public_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from flower_robust.commands import identity as identity_command
from flower_robust.commands import provision as provision_command
from flower_robust.commitments import Identity, Roster
from flower_robust.errors import ConfigurationError, CorruptFile
from flower_robust.provisioning import Participant, PublicPart, provision
from flower_robust.provisioning.certificates import Authority


def cli(command: object, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    cli(provision_command, "--names", "hospital-A=303, hospital-B", "--out", str(tmp_path / "federation"))
    return tmp_path / "federation"


def test_the_roster_lists_the_identities_and_its_digest_is_pinned(out: Path) -> None:
    digest = bytes.fromhex((out / "roster.digest").read_text().strip())
    roster = Roster.load(out / "roster.json", digest)
    assert [(entry.name, entry.rows) for entry in roster] == [("hospital-A", 303), ("hospital-B", 0)]
    for name in roster.names:
        own = out / "participants" / name
        assert Identity.load(own / "identity.json").public_key == roster[name].public_key
        assert Roster.load(own / "roster.json").digest == digest


def test_secrets_are_readable_by_their_owner_alone(out: Path) -> None:
    secret = {path for path in out.rglob("*") if path.suffix in {".key", ".secret"} or path.name == "identity.json"}
    assert len(secret) == 2 + 2 + 3
    for path in out.rglob("*"):
        if path.is_file():
            assert mode(path) == (0o600 if path in secret else 0o644), path


def test_supernode_keys_are_p384_in_openssh_form_and_registered_as_such(out: Path) -> None:
    for name in ("hospital-A", "hospital-B"):
        own = out / "participants" / name
        key = load_ssh_private_key((own / "supernode.key").read_bytes(), None)
        line = (out / "superlink" / "supernodes" / f"{name}.pub").read_bytes()
        assert isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1)
        assert load_ssh_public_key(line) == key.public_key()
        assert line == (own / "supernode.pub").read_bytes()


@pytest.mark.parametrize(("host", "accepted"), [("localhost", True), ("link.example.org", False)])
def test_the_certificate_verifies_for_its_hosts_alone(out: Path, host: str, accepted: bool) -> None:
    root = x509.load_pem_x509_certificate((out / "superlink" / "ca.crt").read_bytes())
    server = x509.load_pem_x509_certificate((out / "superlink" / "server.crt").read_bytes())
    key = load_pem_private_key((out / "superlink" / "server.key").read_bytes(), None)
    assert server.public_key() == key.public_key()
    verifier = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName(host))
    if accepted:
        assert verifier.verify(server, [])[-1] == root
    else:
        with pytest.raises(VerificationError):
            verifier.verify(server, [])


def test_a_certificate_of_another_federation_does_not_verify() -> None:
    server = x509.load_pem_x509_certificate(Authority.create().server_certificate(["localhost"]).certificate)
    store = Store([x509.load_pem_x509_certificate(Authority.create().certified.certificate)])
    with pytest.raises(VerificationError):
        PolicyBuilder().store(store).build_server_verifier(x509.DNSName("localhost")).verify(server, [])
    assert server.not_valid_after_utc > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=365)


def test_nothing_is_overwritten_and_a_refusal_writes_nothing(out: Path) -> None:
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "roster.json").unlink()
    with pytest.raises(ConfigurationError, match="nothing is overwritten"):
        cli(provision_command, "--names", "hospital-C", "--out", str(out))
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert after == {
        path: content for path, content in before.items() if path.name != "roster.json" or path.parent != out
    }


def test_keys_made_by_participants_never_reach_the_coordinator(tmp_path: Path) -> None:
    publics = []
    for name in ("hospital-A", "hospital-B"):
        cli(identity_command, "--name", name, "--rows", "9", "--out", str(tmp_path / name))
        publics.append(str(tmp_path / name / f"{name}.public.json"))
    cli(provision_command, "--participants", *publics, "--hosts", "127.0.0.1", "--out", str(tmp_path / "federation"))
    roster = Roster.load(tmp_path / "federation" / "roster.json")
    secrets = [json.loads((tmp_path / name / "identity.json").read_text())["secret_key"] for name in roster.names]
    written = b"".join(path.read_bytes() for path in (tmp_path / "federation").rglob("*") if path.is_file())
    assert roster.names == ("hospital-A", "hospital-B") and roster["hospital-A"].rows == 9
    assert not any(secret.encode() in written for secret in secrets)
    assert not list((tmp_path / "federation" / "participants").rglob("*.key"))


def test_secrets_do_not_print() -> None:
    participant = Participant.create("hospital-A")
    assert participant.supernode_key.decode() not in repr(participant) and "redacted" in repr(participant)
    assert "PRIVATE" not in repr(Authority.create().certified)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--names", ""], "at least one participant"),
        (["--names", "../escape"], "name"),
        (["--names", "a/b"], "name"),
        (["--names", "hospital-A,hospital-A"], "twice"),
        (["--names", "hospital-A=many"], "whole number"),
        (["--names", "hospital-A=-3"], "whole number"),
        (["--names", "hospital-A", "--hosts", ""], "hosts"),
        (["--names", "hospital-A", "--hosts", "not a host"], "hosts"),
        (["--participants", "absent.public.json"], "absent.public.json"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    out = tmp_path / "federation"
    with pytest.raises(ConfigurationError, match=complaint) as refusal:
        cli(provision_command, *arguments, "--out", str(out))
    assert "\n" not in str(refusal.value) and not out.exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"name": 1}'])
def test_a_file_that_is_no_public_part_is_refused_as_such(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.public.json"
    path.write_bytes(content)
    with pytest.raises(CorruptFile):
        PublicPart.load(path)


def test_a_public_part_with_a_weaker_key_is_refused(tmp_path: Path) -> None:
    fields = json.loads(Participant.create("hospital-A").public.encode())
    fields["supernode_key"] = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIDL5yI1C1zqBzqBzqBzqBzqBzqBzqBzqBzqBzqBzqBz"
    path = tmp_path / "a.public.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(ConfigurationError, match="P-384"):
        PublicPart.load(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="a place to write to"):
        provision(tmp_path / "file" / "federation", ["localhost"], [Participant.create("hospital-A")], [])
