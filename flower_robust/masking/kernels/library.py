"""The object file of the kernels: where it lies, how it is checked, built and mapped. Needs llvmlite, not numba.

The file's name carries a digest of the kernels' source, of llvmlite's version and of this CPU's name and features, so
that an update or another machine on a shared home never meets old code. Its first 32 bytes are the digest of the rest.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import llvmlite
from llvmlite import binding as llvm

_FIRST_USE = Lock()


def address(symbol: str) -> int:
    """The address of one kernel; the first call of a machine builds all of them, which takes some ten seconds."""
    with _FIRST_USE:
        found: int = _engine().get_function_address(symbol)
    if not found:
        raise RuntimeError(f"kernels: found no {symbol} in {file_name()}")
    return found


@cache
def _engine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    code = load_or_build()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def target_machine() -> Any:
    """This CPU, with every vector unit it has."""
    target = llvm.Target.from_triple(llvm.get_process_triple())
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True)


def file_name() -> str:
    """`kernels-<digest>.bin` for this source, this llvmlite and this CPU."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    digest.update(f"{llvmlite.__version__} {llvm.get_process_triple()} {llvm.get_host_cpu_name()}".encode())
    digest.update(llvm.get_host_cpu_features().flatten().encode())
    return f"kernels-{digest.hexdigest()[:32]}.bin"


def folders() -> Iterator[Path]:
    """Where the file may lie, best first: the package's bytecode, the user's cache, a private temporary folder."""
    yield Path(__file__).parent / "__pycache__"
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flower-robust"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    yield Path(tempfile.gettempdir()) / f"flower-robust-{user}"


def trusted(folder: Path) -> bool:
    """Whether nobody but this user (or root) can have put code there."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return not hasattr(os, "getuid") or (found.st_uid in (os.getuid(), 0) and not found.st_mode & 0o022)


def load_or_build() -> bytes:
    """The object code from the first trusted folder that has it, or built into the first that can be written."""
    name = file_name()
    for folder in folders():
        if trusted(folder) and (code := read(folder / name)) is not None:
            return code
    for folder in folders():
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if trusted(folder) and os.access(folder, os.W_OK | os.X_OK):
                return built(folder / name)
    with tempfile.TemporaryDirectory(prefix="flower-robust-") as folder_of_this_process:
        return built(Path(folder_of_this_process) / name)


def share() -> None:
    """Put the object file where every copy of this package finds it: Flower runs apps from a copy."""
    _, cache, *_ = folders()
    with contextlib.suppress(OSError):
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        if trusted(cache) and read(cache / file_name()) is None:
            store(cache / file_name(), load_or_build())


def read(file: Path) -> bytes | None:
    """The object code of a file, or None where it is missing, cut short or altered."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    return content[32:] if content[:32] == hashlib.sha256(content[32:]).digest() else None


def store(file: Path, code: bytes) -> None:
    """Write object code with its digest; a reader sees the whole file or none."""
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=file.name, delete=False) as part:
        part.write(hashlib.sha256(code).digest() + code)
    Path(part.name).chmod(0o644)
    Path(part.name).replace(file)


def built(file: Path) -> bytes:
    """Build in a process of its own, so that this one never loads the compiler; one at a time per folder."""
    with _exclusive(file.with_suffix(".lock")):
        if (code := read(file)) is not None:
            return code
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
        command = [sys.executable, "-m", "flower_robust.masking.kernels.build", str(file)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    code = read(file)
    if done.returncode or code is None:
        raise RuntimeError(f"kernels: building {file} failed:\n{done.stderr}")
    return code


@contextlib.contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    try:
        from fcntl import LOCK_EX, flock
    except ImportError:
        yield
        return
    with lock.open("w") as held:
        flock(held, LOCK_EX)
        yield
