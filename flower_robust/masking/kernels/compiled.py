"""One decorator for every compiled kernel, and a place on disk for what it compiles."""

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _private_folder() -> Path:
    """A folder in the temporary directory that only this user can write: cached code is executed when it is loaded."""
    folder = Path(tempfile.gettempdir()) / f"flower-robust-kernels-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    owned = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    if stat.S_ISLNK(found.st_mode) or not owned or stat.S_IMODE(found.st_mode) & 0o022:
        return Path(tempfile.mkdtemp(prefix="flower-robust-kernels-"))
    return folder


def choose_cache_folder() -> None:
    """Leave numba its own choice (the package's __pycache__, then the user's cache) unless neither can be written."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    beside = Path(__file__).parent / "__pycache__"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if not _writable(beside) and not _writable(home):
        os.environ["NUMBA_CACHE_DIR"] = str(_private_folder())


choose_cache_folder()


def kernel(function: Kernel) -> Kernel:
    """`function` compiled at its first call, without the interpreter lock, and kept on disk for the next process."""
    from numba import njit

    return cast(Kernel, njit(nogil=True, cache=True, error_model="numpy")(function))
