"""Compiled kernels without a compiler in the process: built once per machine, kept on disk, called by ctypes.

A deployed client is a fresh process per message, and importing numba and reloading its cache costs it half a second.
So `build` runs once in a process of its own, writes one object file for this CPU, and clients only map that file.

    @inline                        a function that kernels call; plain Python here, inlined machine code there
    @kernel("u4[:,:] u4[:] u4")    a function Python calls: C-contiguous arrays, and scalars without brackets;
                                   `-> i8` at the end where it returns a number
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np

Function = TypeVar("Function", bound=Callable[..., object])

SCALARS: dict[str, Any] = {
    "u4": ctypes.c_uint32,
    "u8": ctypes.c_uint64,
    "i8": ctypes.c_int64,
    "f8": ctypes.c_double,
}


@dataclass(frozen=True)
class Argument:
    """One argument: a dtype, and the dimensions of an array or 0 for a scalar."""

    dtype: str
    ndim: int

    @property
    def c_types(self) -> list[Any]:
        """What C sees: a pointer and the shape, or the scalar."""
        return [ctypes.c_void_p, *[ctypes.c_int64] * self.ndim] if self.ndim else [SCALARS[self.dtype]]


def parse_signature(signature: str) -> list[Argument]:
    """`u4[:,:] u8` -> a two-dimensional uint32 array and a 64-bit scalar."""
    parts = [text.partition("[") for text in signature.removesuffix("-> i8").split()]
    return [Argument(dtype, shape.count(":")) for dtype, _, shape in parts]


class Kernel:
    """A compiled function: `int32 name(int64 *returned, void **unused, pointers, shapes and scalars)`, 0 for success.

    Arrays of another dtype, dimension or layout than declared are refused with TypeError.
    """

    def __init__(self, function: Callable[..., object], signature: str) -> None:
        self.name = symbol(function)
        self._arguments = [(np.dtype(a.dtype), a.ndim) for a in parse_signature(signature)]
        flat = [c_type for argument in parse_signature(signature) for c_type in argument.c_types]
        self._prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *flat)
        self._native: Callable[..., int] | None = None

    def __call__(self, *given: Any) -> int:
        if self._native is None:
            from flower_robust.masking.kernels.library import address

            self._native = self._prototype(address(self.name))
        flat: list[Any] = []
        for (dtype, ndim), value in zip(self._arguments, given, strict=True):
            if ndim == 0:
                flat.append(float(value) if dtype.kind == "f" else int(value))
            elif value.dtype == dtype and value.ndim == ndim and value.flags.c_contiguous:
                flat += (_address(value), *value.shape)
            else:
                raise TypeError(
                    f"{self.name}: found {value.dtype}{value.shape}, required contiguous {dtype}, ndim {ndim}"
                )
        returned, unused = ctypes.c_int64(), ctypes.c_void_p()
        if self._native(ctypes.addressof(returned), ctypes.addressof(unused), *flat) != 0:
            raise RuntimeError(f"{self.name}: failed, although kernels raise nothing")
        return returned.value


def _address(array: Any) -> int:
    """Where an array lies; `ndarray.ctypes` takes five times as long, and a message may call a thousand kernels."""
    if array.flags.writeable and array.size:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    return int(array.ctypes.data)


def symbol(function: Callable[..., object]) -> str:
    """The name of a kernel in the object file."""
    return f"flower_robust_{function.__module__.rpartition('.')[2]}_{function.__name__}"


@dataclass
class Build:
    """What the build process collects: kernels by symbol, with their signatures. None in every other process."""

    kernels: dict[str, tuple[Callable[..., object], str]]


build: Build | None = None


def inline(function: Function) -> Function:
    """A function for kernels to call."""
    return cast(Function, _jit(function)) if build else function


def kernel(signature: str) -> Callable[[Function], Function]:
    """A function for Python to call, and for other kernels. Returns an int64 or nothing, raises nothing."""

    def decorate(function: Function) -> Function:
        if build is None:
            return cast(Function, Kernel(function, signature))
        build.kernels[symbol(function)] = (_jit(function), signature)
        return cast(Function, build.kernels[symbol(function)][0])

    return decorate


def _jit(function: Callable[..., object]) -> Callable[..., object]:
    from numba import njit

    return cast(Callable[..., object], njit(error_model="numpy")(function))
