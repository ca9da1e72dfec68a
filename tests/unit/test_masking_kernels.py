"""The compiled library: what it refuses, what it trusts on disk, and what a client's process never loads."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flower_robust.masking.kernels import elementwise, library
from flower_robust.masking.kernels.compiled import Argument, parse_signature

CLIENT = """
import sys
import numpy as np
from flower_robust.masking import fixed_point, masks, public, sharing, sketch, squares
seed = bytes(32)
x = fixed_point.encode(np.ones(5000, np.float32), 1.0, seed).x
s = masks.draw_secret(seed)
a = public.PublicElements(seed, 2)
y = masks.mask(x, s, a, seed)
P = sketch.sketch_map(seed, 2)
u = sketch.sketch_shares(P, sketch.public_sums(P, a), sketch.sketches(P, [y] * 3), sharing.share(s, 1, 3, seed))
squares.gram(u.reshape(3, 2, -1), np.zeros((2, 3, 3), np.uint32))
print(sorted({"torch", "numba", "flwr", "scipy"} & set(sys.modules)))
"""


def test_a_client_loads_neither_torch_nor_a_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", CLIENT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_signatures() -> None:
    assert parse_signature("u4[:,:] f8 i1[:] -> i8") == [Argument("u4", 2), Argument("f8", 0), Argument("i1", 1)]


@pytest.mark.parametrize(
    "wrong", [np.zeros(4, np.int64), np.zeros((2, 2), np.uint32), np.zeros(8, np.uint32)[::2]], ids=str
)
def test_kernels_refuse_other_arrays_than_declared(wrong: np.ndarray) -> None:  # type: ignore[type-arg]
    right = np.zeros(4, np.uint32)
    with pytest.raises(TypeError, match="sum_lanes"):
        elementwise.sum_lanes(wrong, right, right, np.uint32(7))


def test_a_stored_file_is_read_back_and_any_change_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "kernels.bin"
    library.store(file, b"code")
    assert library.read(file) == b"code"
    assert file.stat().st_mode & 0o777 == 0o644
    assert file.read_bytes()[:32] == hashlib.sha256(b"code").digest()
    for content in (file.read_bytes()[:-1], b"", bytes(32) + b"code"):
        file.write_bytes(content)
        assert library.read(file) is None


def test_a_folder_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert library.trusted(tmp_path)
    tmp_path.chmod(0o777)
    assert not library.trusted(tmp_path)
    assert not library.trusted(tmp_path / "missing")


def test_the_first_trusted_folder_that_holds_the_file_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_to_all, private, later = (tmp_path / name for name in ("open", "private", "later"))
    for folder, mode in ((open_to_all, 0o777), (private, 0o700), (later, 0o700)):
        folder.mkdir()
        folder.chmod(mode)
        library.store(folder / library.file_name(), folder.name.encode())
    monkeypatch.setattr(library, "folders", lambda: iter([open_to_all, private, later]))
    assert library.load_or_build() == b"private"


def test_a_missing_file_is_built_in_the_first_folder_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked, fresh = tmp_path / "file", tmp_path / "fresh"
    blocked.write_text("a file where a folder should be")
    monkeypatch.setattr(library, "folders", lambda: iter([blocked / "cache", fresh]))
    monkeypatch.setattr(library, "built", lambda file: str(file).encode())
    assert library.load_or_build() == str(fresh / library.file_name()).encode()
    assert library.trusted(fresh)
    monkeypatch.setattr(library, "folders", lambda: iter([blocked / "cache"]))
    assert library.load_or_build().endswith(library.file_name().encode())


def test_a_failing_build_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false" if Path("/bin/false").exists() else "false")
    with pytest.raises(RuntimeError, match="building"):
        library.built(tmp_path / "kernels.bin")


def test_the_build_command_serves_copies_of_the_package_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flower_robust.masking.kernels.build"]
    subprocess.run(command, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)}, check=True)
    assert library.read(tmp_path / "flower-robust" / library.file_name())
