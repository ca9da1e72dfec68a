"""Laws of records: what goes in comes out, bit for bit, and nothing that claims to be an array is believed."""

import io

import numpy as np
import pytest
from flwr.app import Array
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flower_robust.errors import ConfigurationError
from flower_robust.flower.plain_round import median
from flower_robust.flower.records import (
    Layout,
    UnreadableError,
    read_array,
    read_arrays,
    write_array,
    write_arrays,
)

pytestmark = pytest.mark.window

DTYPES = st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int32, np.int64, np.uint8, np.bool_, ">f4"])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
ARRAYS = hnp.arrays(DTYPES, SHAPES)
MODELS = st.dictionaries(st.text(min_size=1, max_size=20), ARRAYS, max_size=5).map(
    lambda arrays: {"weight": np.ones((2, 3), np.float32)} | arrays
)


@given(ARRAYS, st.booleans())
def test_every_array_survives_bit_for_bit_from_us_and_from_numpy(array, fortran):
    array = np.asfortranarray(array) if fortran else array
    for written in (write_array(array), Array(array)):
        found = read_array(written)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()
    assert write_array(array).numpy().tobytes() == array.tobytes()


@given(MODELS)
def test_records_keep_names_and_their_order(arrays):
    assert list(read_arrays(write_arrays(arrays))) == list(arrays)


@given(MODELS)
def test_applying_a_row_moves_the_moving_arrays_by_it_and_sets_the_buffers(arrays):
    arrays = {name: np.nan_to_num(array, posinf=0, neginf=0) for name, array in arrays.items()}
    layout = Layout.of(arrays)
    row = np.empty(layout.d, layout.row_dtype)
    layout.write({name: np.ones_like(array) for name, array in arrays.items()}, row)
    assert (row == 1).all()
    buffers = {name: arrays[name] for name in layout.buffers}
    new = layout.applied(arrays, row, buffers)
    assert list(new) == list(arrays)
    for name, array in arrays.items():
        assert (new[name].dtype, new[name].shape) == (array.dtype, array.shape)
        expected = array if name in layout.buffers else (array + np.float64(1)).astype(array.dtype)
        np.testing.assert_allclose(new[name].astype(np.float64), expected.astype(np.float64), rtol=1e-3)


def test_integers_booleans_and_named_buffers_stay_out_of_the_row():
    arrays = {
        "w": np.zeros(3, np.float32),
        "counter": np.int64(3).reshape(()),
        "mask": np.zeros(2, bool),
        "bn.running_var": np.zeros(4, np.float32),
    }
    assert Layout.of(arrays).moving == ("w",)
    assert Layout.of(arrays, patterns=()).moving == ("w", "bn.running_var")
    assert Layout.of(arrays).row_dtype == np.float32
    assert Layout.of(arrays | {"v": np.zeros(1)}).row_dtype == np.float64


@pytest.mark.parametrize("array", [np.zeros(2, np.complex64), np.array(["a"])])
def test_a_model_of_other_things_than_real_numbers_is_refused(array):
    with pytest.raises(ConfigurationError, match="booleans, integers or real floats"):
        Layout.of({"w": np.zeros(1, np.float32), "odd": array})


def test_a_model_without_floats_is_refused():
    with pytest.raises(ConfigurationError, match="at least one float"):
        Layout.of({"n": np.zeros(1, np.int64)})


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([print], dtype=object), allow_pickle=True)
    return file.getvalue()


def headed(claim: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(claim).to_bytes(2, "little") + claim.encode() + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        pickled(),
        headed("not a dictionary\n"),
        headed("{'descr': '<f4', 'fortran_order': False, 'shape': (10**9,), }\n"),
        headed("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000000,), }\n"),
        headed("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1), }\n", bytes(4)),
        headed("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", bytes(4)),
        headed("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", bytes(8)),
        headed("{'descr': '<f3', 'fortran_order': False, 'shape': (1,), }\n", bytes(3)),
        headed("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", bytes(4)),
        headed("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n", bytes(4)),
        headed("(" * 5000),
    ],
)
def test_bytes_that_are_not_one_array_of_numbers_are_unreadable(content):
    with pytest.raises(UnreadableError):
        read_array(Array("float32", (1,), "numpy.ndarray", content))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(content):
    for body in (content, b"\x93NUMPY\x01\x00" + content, headed("{'descr': '<f4',", content)):
        with pytest.raises(UnreadableError):
            read_array(Array("float32", (1,), "numpy.ndarray", body))


def test_another_serialization_is_unreadable():
    with pytest.raises(UnreadableError, match="serialization"):
        read_array(Array("float32", (1,), "pickle", b""))


@given(st.integers(1, 9).flatmap(lambda n: hnp.arrays(st.sampled_from([np.int64, np.float32, bool]), (n, 3))))
def test_the_median_is_a_value_that_somebody_sent_and_at_most_half_lie_below(rows):
    rows = np.nan_to_num(rows)
    middle = median(list(rows))
    assert middle.dtype == rows.dtype
    for value, column in zip(middle, rows.T, strict=True):
        assert value in column
        assert (column < value).sum() <= len(rows) / 2
        assert (column > value).sum() <= len(rows) / 2
