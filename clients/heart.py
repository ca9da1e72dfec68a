"""The UCI heart disease collection: four hospitals, read from a folder or fetched once, checked by SHA-256.

Janosi, Steinbrunn, Pfisterer, Detrano, 1988, CC BY 4.0. Preprocessing and train/test split follow FLamby's
Fed-Heart-Disease (du Terrail et al. 2022, section 4.6): the three mostly missing columns are dropped, then every row
with
a missing value; chest pain and resting ECG become dummies (13 inputs); the diagnosis is binary; 66 % of each hospital's
rows train, stratified, seed 43.
"""

import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flower_robust.errors import ConfigurationError, CorruptFile

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
SHA256 = {
    "cleveland": "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8",
    "hungarian": "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796",
    "switzerland": "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314",
    "va": "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f",
}
ADDRESS = "https://archive.ics.uci.edu/ml/machine-learning-databases/heart-disease/"
MISSING_MOSTLY = (10, 11, 12)
CATEGORIES = {2: (2.0, 3.0, 4.0), 6: (1.0, 2.0)}
"""Column -> the values that get a dummy; the lowest value is the baseline and gets none."""
DIAGNOSIS = 13

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]


def file_name(hospital: str) -> str:
    """The file's name in the collection."""
    return f"processed.{hospital}.data"


def locate(data_dir: str) -> Path:
    """The folder that holds the four files, verified; without one named, the cache, filled from UCI on first use.

    data_dir: a folder, or "" for the cache.
    Raises ConfigurationError when the folder or a file is missing or cannot be fetched, CorruptFile on a wrong
    checksum.
    """
    folder = Path(data_dir).expanduser().resolve() if data_dir else _cache()
    if data_dir and not folder.is_dir():
        raise ConfigurationError("data-dir", data_dir, "an existing folder with the four UCI heart files")
    for hospital in HOSPITALS:
        path = folder / file_name(hospital)
        if not data_dir and not path.exists():
            _fetch(hospital, path)
        _verify(hospital, path)
    return folder


def read(folder: Path) -> tuple[Matrix, Labels, Labels, NDArray[np.bool_]]:
    """All complete rows: X Float64[740, 13], y Int64[740] in {0, 1}, site Int64[740] in 0..3, is_test Bool[740]."""
    tables = [_complete_rows(folder / file_name(hospital)) for hospital in HOSPITALS]
    X = np.concatenate([_inputs(table) for table in tables])
    y = [(table[:, DIAGNOSIS] > 0).astype(np.int64) for table in tables]
    site = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    return X, np.concatenate(y), site, np.concatenate([_is_test(labels) for labels in y])


def _complete_rows(path: Path) -> Matrix:
    kept = [column for column in range(DIAGNOSIS + 1) if column not in MISSING_MOSTLY]
    rows = []
    for line in path.read_text(encoding="ascii").split():
        fields = line.split(",")
        if all(fields[column] != "?" for column in kept):
            rows.append([float(fields[c]) if c in kept else np.nan for c in range(DIAGNOSIS + 1)])
    return np.array(rows)


def _inputs(table: Matrix) -> Matrix:
    plain = [c for c in range(DIAGNOSIS) if c not in MISSING_MOSTLY and c not in CATEGORIES]
    dummies = [table[:, c] == value for c, values in CATEGORIES.items() for value in values]
    return np.column_stack([table[:, plain], *dummies]).astype(np.float64)


def _is_test(y: Labels) -> NDArray[np.bool_]:
    from sklearn.model_selection import train_test_split  # a second to import, needed by this collection only

    counts = np.bincount(y, minlength=2)
    stratify = y if counts.min() > 2 else None
    _, test = train_test_split(np.arange(len(y)), train_size=0.66, test_size=0.34, random_state=43, stratify=stratify)
    chosen = np.zeros(len(y), dtype=np.bool_)
    chosen[test] = True
    return chosen


def _verify(hospital: str, path: Path) -> None:
    if not path.is_file():
        raise ConfigurationError("data-dir", str(path.parent), f"a folder that holds {path.name}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256[hospital]:
        raise CorruptFile(path, f"SHA-256 {found[:16]}…", f"{SHA256[hospital][:16]}…")


def _fetch(hospital: str, path: Path) -> None:
    address = ADDRESS + path.name
    try:
        with urllib.request.urlopen(address, timeout=30) as reply:
            content = reply.read(1 << 20)
    except (urllib.error.URLError, TimeoutError) as error:
        raise ConfigurationError(
            "data-dir", "", f"a folder with the four UCI heart files, since {address} did not answer ({error})"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "flower-robust" / "heart"
