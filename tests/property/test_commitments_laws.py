"""Laws of encodings and digests: nothing two-faced, nothing that changes a bit goes unseen."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flower_robust.commitments import Identity, SignedNormCommitment, update_digest, update_norm
from flower_robust.commitments.encoding import pack, unpack, unpack_all
from flower_robust.errors import MalformedReply
from flower_robust.types import Digest

DTYPES = st.sampled_from(["<f2", "<f4", "<f8", "<i4", "<i8", "|u1", "|b1"])
ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=5),
    DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40)), st.lists(st.binary(max_size=40)))
def test_packing_is_injective(left: list[bytes], right: list[bytes]) -> None:
    assert unpack_all(pack(*left)) == left
    assert (pack(*left) == pack(*right)) == (left == right)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=120))
def test_whatever_unpacks_was_packed(encoded: bytes) -> None:
    try:
        fields = unpack_all(encoded)
    except ValueError:
        return
    assert pack(*fields) == encoded


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=9), max_size=4), st.integers(0, 5))
def test_the_count_of_fields_is_checked(fields: list[bytes], count: int) -> None:
    if count == len(fields):
        assert unpack(pack(*fields), count) == fields
    else:
        with pytest.raises(ValueError, match="fields"):
            unpack(pack(*fields), count)


@settings(max_examples=60, deadline=None)
@given(ARRAYS)
def test_the_digest_ignores_order_and_memory_layout(arrays: dict[str, Any]) -> None:
    shuffled = {name: np.asarray(arrays[name], order="F") for name in reversed(arrays)}
    assert update_digest(shuffled) == update_digest(arrays)


@settings(max_examples=60, deadline=None)
@given(ARRAYS, st.randoms(use_true_random=False))
def test_the_digest_sees_every_bit(arrays: dict[str, Any], random: Any) -> None:
    name = random.choice(sorted(arrays))
    flipped = bytearray(arrays[name].tobytes())
    if not flipped:
        return
    flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
    changed = np.frombuffer(bytes(flipped), arrays[name].dtype).reshape(arrays[name].shape)
    assert update_digest({**arrays, name: changed}) != update_digest(arrays)


@settings(max_examples=60, deadline=None)
@given(ARRAYS)
def test_the_digest_sees_names_dtypes_and_shapes(arrays: dict[str, Any]) -> None:
    name, array = next(iter(arrays.items()))
    rest = {key: value for key, value in arrays.items() if key != name}
    digests = {update_digest(arrays), update_digest(rest), update_digest({**rest, name + "_": array})}
    digests.add(update_digest({**arrays, name: array[None]}))
    digests.add(
        update_digest({**arrays, name: np.frombuffer(array.tobytes(), f"V{array.itemsize}").reshape(array.shape)})
    )
    assert len(digests) == 5


def test_arrays_of_objects_have_no_digest() -> None:
    with pytest.raises(TypeError, match="object"):
        update_digest({"w": np.array([object()])})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        hnp.arrays("<f4", st.integers(0, 200), elements=st.floats(-1.0 * 2**99, 2.0**99, width=32)),
        min_size=1,
        max_size=3,
    )
)
def test_the_norm_is_the_norm_of_the_concatenation(parts: list[Any]) -> None:
    arrays = {str(index): part for index, part in enumerate(parts)} | {"steps": np.array([9**9])}
    expected = float(np.linalg.norm(np.concatenate(parts).astype(np.float64)))
    assert update_norm(arrays) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_the_norm_of_poison_is_not_finite(poison: float) -> None:
    assert not np.isfinite(update_norm({"w": np.array([1.0, poison])}))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), st.binary(min_size=32, max_size=32))
def test_commitments_survive_the_wire(round_number: int, norm: float, digest: bytes) -> None:
    identity = Identity.from_seed("Zürich", bytes(32))
    sent = SignedNormCommitment.sign(
        identity, plan_digest=Digest(digest), round=round_number, update_digest=Digest(digest), norm=norm
    )
    assert SignedNormCommitment.decode(sent.encode(), "Zürich") == sent


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_decoding_refuses_or_is_canonical(encoded: bytes) -> None:
    try:
        decoded = SignedNormCommitment.decode(encoded, "A")
    except MalformedReply as fault:
        assert fault.culprit == "A"
    else:
        assert decoded.encode() == encoded
