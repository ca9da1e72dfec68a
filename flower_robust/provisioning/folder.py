"""The folder of a federation: what the coordinator keeps, what the SuperLink gets, what each participant gets."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from flower_robust.commitments import Roster
from flower_robust.provisioning.certificates import Authority
from flower_robust.provisioning.files import Content, write_all
from flower_robust.provisioning.participant import Participant, PublicPart

SECRET_BYTES = 32


def provision(out: Path, hosts: Sequence[str], made: Sequence[Participant], brought: Sequence[PublicPart]) -> Roster:
    """Write the folder of a federation and return its roster.

        out/roster.json, roster.digest        everybody; the digest is read out over another channel
        out/authority/                        the certificate authority: stays with the coordinator, off line
        out/superlink/                        TLS certificate and key, SuperExec's secret, supernodes/NAME.pub
        out/participants/NAME/                ca.crt, roster.json and, for those `made` here, their secret keys

    `made` are participants whose keys were made here, `brought` the public parts of those who made their own; the
    roster lists `made` first. Raises ConfigurationError on duplicates, a bad host, or a file that exists: then nothing
    is written.
    """
    publics = [participant.public for participant in made] + list(brought)
    roster, authority = Roster(public.entry for public in publics), Authority.create()
    shared: dict[str, Content] = {"ca.crt": authority.certified.certificate, "roster.json": roster}
    contents = _coordinator(out, roster, authority) | _superlink(out / "superlink", hosts, publics, authority)
    for public in publics:
        folder = out / "participants" / public.entry.name
        contents |= {folder / name: content for name, content in shared.items()}
    for participant in made:
        contents |= participant.files(out / "participants" / participant.public.entry.name)
    write_all("out", contents)
    return roster


def _coordinator(out: Path, roster: Roster, authority: Authority) -> dict[Path, Content]:
    return {
        out / "roster.json": roster,
        out / "roster.digest": roster.digest.hex().encode() + b"\n",
        out / "authority" / "ca.crt": authority.certified.certificate,
        out / "authority" / "ca.key": authority.certified.key,
    }


def _superlink(
    folder: Path, hosts: Sequence[str], publics: Sequence[PublicPart], authority: Authority
) -> dict[Path, Content]:
    server = authority.server_certificate(hosts)
    keys: dict[Path, Content] = {
        folder / "supernodes" / f"{p.entry.name}.pub": p.supernode_key + b"\n" for p in publics
    }
    return keys | {
        folder / "ca.crt": authority.certified.certificate,
        folder / "server.crt": server.certificate,
        folder / "server.key": server.key,
        folder / "superexec.secret": secrets.token_hex(SECRET_BYTES).encode(),
    }
