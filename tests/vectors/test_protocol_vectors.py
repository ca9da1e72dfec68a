"""The known-answer vectors come out byte for byte, and say what they must."""

import json

import pytest

from tests.vectors import generate


@pytest.fixture(scope="module")
def regenerated() -> dict[str, str]:
    return generate.vectors()


def test_the_vectors_regenerate_without_a_difference(regenerated):
    on_disk = {path.name: path.read_text() for path in generate.FOLDER.glob("protocol-*.json")}
    assert on_disk.keys() == regenerated.keys()
    assert [name for name in on_disk if on_disk[name] != regenerated[name]] == []


KINDS = [*generate.SENT, *generate.SHOWN, *generate.AUDIT, *(f"referenced-{kind}" for kind in generate.REFERENCED)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_valid_case_is_accepted_and_every_invalid_one_blames_the_right_party(regenerated, kind):
    vector = json.loads(regenerated[f"protocol-{kind}.json"])
    valid, *invalid = vector["cases"]
    assert valid == {"case": "valid", "error": None, "culprit": None}
    for case in invalid:
        if vector["from"] == "server":
            assert case["error"] == "FaultyServer" or case["case"] in ALLOWED.get(kind, ()), case
            assert case["culprit"] is None
        else:
            assert case["error"] is not None and case["culprit"] == "h0", case


ALLOWED = {"announcement": {"empty", "one bit in the middle", "one bit at the end", "replayed in the next round"}}
"""Nothing announced is no announcement. A changed secret or digest of the sum is found by the audit, once the challenge
is drawn, and a replayed announcement is that of the last round which was opened."""
