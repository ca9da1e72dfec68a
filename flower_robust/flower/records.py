"""ArrayRecord <-> named numpy arrays <-> one row of floats. numpy only, so that clients need no torch."""

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from flower_robust.errors import ConfigurationError

NamedArrays = Mapping[str, NDArray[Any]]

BUFFERS = ("*running_mean", "*running_var", "*num_batches_tracked")
"""Names of BatchNorm's buffers as PyTorch writes them: statistics of local records, not steps of an optimiser."""

_NUMPY = "numpy.ndarray"
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<>|][biufc]\d{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18},?)?)\), \} *\n",
    re.DOTALL,
)
"""The header as numpy writes it: numpy's own reader evaluates it as Python, which an attacker may write."""


class UnreadableError(ValueError):
    """Arrays are not laid out as the model is; whoever made them is at fault."""

    def __init__(self, found: str, required: str) -> None:
        self.found, self.required = found, required
        super().__init__(f"found {found}, required {required}")


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model's arrays lie in a row of length d, and which arrays stay out of it.

        row = concatenation of the moving arrays, raveled in C order, in the model's order

    `shapes` and `dtypes` cover every array. `moving` arrays enter norm, geometry and weighted sum; `buffers` (integers,
    booleans, and floats whose names match a pattern) travel beside them as values, not differences.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, np.dtype[Any]]
    buffers: frozenset[str]

    @classmethod
    def of(cls, arrays: NamedArrays, patterns: Sequence[str] = BUFFERS) -> Self:
        """The layout of a model. Raises ConfigurationError on arrays that are not numbers or leave nothing to move."""
        for name, array in arrays.items():
            if array.dtype.kind not in "biuf":
                raise ConfigurationError(f"array {name!r}", str(array.dtype), "booleans, integers or real floats")
        named = {name for name in arrays if any(fnmatchcase(name, pattern) for pattern in patterns)}
        return cls.with_buffers(arrays, named | {name for name, a in arrays.items() if a.dtype.kind != "f"})

    @classmethod
    def with_buffers(cls, arrays: NamedArrays, buffers: Iterable[str]) -> Self:
        """The layout of a model whose buffers somebody else named."""
        layout = cls(
            {name: array.shape for name, array in arrays.items()},
            {name: array.dtype for name, array in arrays.items()},
            frozenset(buffers),
        )
        if not layout.d:
            raise ConfigurationError("arrays", "no float array outside the buffers", "at least one float to aggregate")
        return layout

    @property
    def moving(self) -> tuple[str, ...]:
        """The names in a row, in order."""
        return tuple(name for name in self.shapes if name not in self.buffers)

    @property
    def d(self) -> int:
        """Floats in a row."""
        return sum(self.size(name) for name in self.moving)

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """float64 if the model holds any, float32 otherwise."""
        return np.result_type(np.float32, *(self.dtypes[name] for name in self.moving))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, without headers."""
        return sum(self.size(name) * dtype.itemsize for name, dtype in self.dtypes.items())

    def size(self, name: str) -> int:
        """Elements of one array."""
        return int(np.prod(self.shapes[name], dtype=np.int64))

    def reachable(self, C: float) -> float:
        """The bound to clip to, so that rounding to the narrowest dtype does not lead above C again."""
        return C * (1 - max(float(np.finfo(self.dtypes[name]).eps) for name in self.moving))

    def moved(self, arrays: NamedArrays) -> dict[str, NDArray[Any]]:
        """The arrays that enter the row, alone."""
        return {name: arrays[name] for name in self.moving}

    def write(self, arrays: NamedArrays, row: NDArray[Any]) -> None:
        """Copy the moving arrays into `row` Float[d]."""
        start = 0
        for name in self.moving:
            stop = start + self.size(name)
            row[start:stop] = arrays[name].reshape(-1)
            start = stop

    def applied(self, old: NamedArrays, row: NDArray[Any], buffers: NamedArrays) -> dict[str, NDArray[Any]]:
        """The model after the step `row` Float[d]: old + row for moving arrays, else `buffers`; dtypes kept."""
        start, new = 0, dict(buffers)
        for name in self.moving:
            stop = start + self.size(name)
            new[name] = (old[name] + row[start:stop].reshape(self.shapes[name])).astype(self.dtypes[name], copy=False)
            start = stop
        return {name: new[name] for name in self.shapes}


def read_array(array: Array) -> NDArray[Any]:
    """The array as a read-only view of its bytes: nothing is copied, evaluated or unpickled, whatever it claims.

    Raises UnreadableError on bytes that are not one .npy array (version 1.0) of numbers of exactly the announced size.
    """
    if array.stype != _NUMPY:
        raise UnreadableError(f"serialization {array.stype[:40]!r}", _NUMPY)
    if (header := _HEADER.match(array.data)) is None:
        raise UnreadableError(f"{len(array.data)} bytes without a header", "one .npy array of numbers")
    descr, fortran, lengths = (group.decode() for group in header.groups())
    shape = tuple(int(length) for length in lengths.split(",") if length.strip())
    start = 10 + int.from_bytes(array.data[8:10], "little")
    try:
        dtype = np.dtype(descr)
    except TypeError:
        raise UnreadableError(f"dtype {descr!r}", "numbers") from None
    if header.end() != start or len(array.data) - start != math.prod(shape) * dtype.itemsize:
        raise UnreadableError(f"{len(array.data) - start} bytes for {descr} {lengths[:40]}", "the announced size")
    return np.frombuffer(array.data, dtype, offset=start).reshape(shape, order="F" if fortran == "True" else "C")


def write_array(array: NDArray[Any]) -> Array:
    """The array in Flower's serialization, with one copy."""
    file = io.BytesIO()
    array = np.asarray(array, order="C")
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    content = b"".join((file.getvalue(), array.reshape(-1).view(np.uint8).data))
    return Array(dtype=str(array.dtype), shape=tuple(array.shape), stype=_NUMPY, data=content)


def read_arrays(record: Mapping[str, Array]) -> dict[str, NDArray[Any]]:
    """Every array of a record, as `read_array` gives it."""
    return {name: read_array(array) for name, array in record.items()}


def write_arrays(arrays: NamedArrays) -> ArrayRecord:
    """A record of the arrays, names and order kept."""
    return ArrayRecord({name: write_array(array) for name, array in arrays.items()})


def restored(arrays: ArrayRecord, model: NamedArrays, layout: Layout) -> ArrayRecord:
    """A strategy's arrays with the model's own buffers and dtypes: a server step knows nothing of either."""
    for name, array in arrays.items():
        if name in layout.buffers:
            arrays[name] = write_array(model[name])
        elif array.dtype != str(layout.dtypes[name]):
            arrays[name] = write_array(array.numpy().astype(layout.dtypes[name]))
    return arrays
