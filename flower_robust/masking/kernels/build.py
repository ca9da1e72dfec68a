"""Compile every kernel for this CPU into one object file: `python -m flower_robust.masking.kernels.build [FILE]`.

Without FILE, into the places where clients look, also those that run a copy of this package from an app's bundle: for
images and installers, so that no first message pays for it.

numba translates each kernel behind a C signature to optimised LLVM code; llvmlite joins the modules and emits the
object. An object that needs anything but the C library's memory functions is refused: it could not be loaded alone.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import binding as llvm

from flower_robust.masking.kernels import compiled, library

numba: Any = import_module("numba")

MODULES = ("modular", "ntt", "elementwise", "sketching", "linear")
PROVIDED = {"memcpy", "memset", "memmove"}
OWNERLESS = "define void @NRT_MemInfo_call_dtor(ptr %owner) { ret void }"
"""What numba calls when an array's owner loses its last reference. Arrays here are borrowed: their owner is null."""


def wrapper_source(arguments: list[compiled.Argument], returns: bool) -> str:
    """Python source of `wrapper(pointers and shapes ...)` that calls `inner(arrays ...)`."""
    parameters, values = [], []
    for i, argument in enumerate(arguments):
        shape = [f"n{i}_{axis}" for axis in range(argument.ndim)]
        parameters += [f"a{i}", *shape]
        values.append(f"carray(a{i}, ({', '.join(shape)},))" if shape else f"a{i}")
    call = f"inner({', '.join(values)})"
    return f"def wrapper({', '.join(parameters)}):\n" + (
        f"    return {call}\n" if returns else f"    {call}\n    return 0\n"
    )


def translate(inner: Callable[..., object], signature: str, name: str) -> llvm.ModuleRef:
    """One kernel as an LLVM module whose only visible function is `name` (see `compiled.Kernel`)."""
    arguments = compiled.parse_signature(signature)
    scope: dict[str, Any] = {"inner": inner, "carray": numba.carray}
    exec(wrapper_source(arguments, signature.endswith("-> i8")), scope)
    entry = numba.cfunc(numba.int64(*_numba_types(arguments)))(scope["wrapper"])
    module = llvm.parse_assembly(entry.inspect_llvm())
    native = entry.native_name.removeprefix("cfunc.")
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != native:
            value.linkage = "internal"
    module.get_function(native).name = name
    return module


def _numba_types(arguments: list[compiled.Argument]) -> list[Any]:
    types: list[Any] = []
    for argument in arguments:
        scalar = numba.from_dtype(np.dtype(argument.dtype))
        types += [numba.types.CPointer(scalar), *[numba.int64] * argument.ndim] if argument.ndim else [scalar]
    return types


def joined() -> llvm.ModuleRef:
    """All kernels in one LLVM module, with everything removed that they do not use."""
    compiled.build = compiled.Build({})
    for name in MODULES:
        import_module(f"flower_robust.masking.kernels.{name}")
    module = llvm.parse_assembly(OWNERLESS)
    for name, (inner, signature) in compiled.build.kernels.items():
        module.link_in(translate(inner, signature, name))
    module.get_function("NRT_MemInfo_call_dtor").linkage = "internal"
    _drop_unused(module)
    missing = {f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")} - PROVIDED
    if missing:
        raise RuntimeError(f"kernels: found uses of {sorted(missing)}, required none outside the C library")
    return module


def _drop_unused(module: llvm.ModuleRef) -> None:
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(library.target_machine(), llvm.create_pipeline_tuning_options()))


def main(file: Path) -> None:
    """Write the object file for this CPU, preceded by its SHA-256, in one atomic step."""
    module = joined()
    machine = library.target_machine()
    module.triple, module.data_layout = llvm.get_process_triple(), str(machine.target_data)
    library.store(file, machine.emit_object(module))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        library.load_or_build()
        library.share()
