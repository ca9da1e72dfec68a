"""The run folder: what was asked, what happened in every round, how it ended, and the models.

config.json     the settings and the versions that ran
rounds.jsonl    one line per arm and round: metrics; for our arm geometry, weights, trust, faults with their evidence
metrics.json    the end of each arm, on the pooled test set and per hospital; the same for the same seed
model.npz       our model; model-fedavg.npz the plain average's
trust.json      every hospital's reputation after the last round
failure.json    instead of metrics.json: why the run stopped
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flower_robust.errors import ConfigurationError, CorruptFile

CONFIG, ROUNDS, METRICS, TRUST, FAILURE = "config.json", "rounds.jsonl", "metrics.json", "trust.json", "failure.json"
MODELS = {"fedavg": "model-fedavg.npz", "robust": "model.npz"}
FORMAT = "flower-robust run 1"
OURS = {CONFIG, ROUNDS, METRICS, TRUST, FAILURE, *MODELS.values()}


class Journal:
    """Writes one run folder, every line flushed as it happens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def start(cls, folder: Path, config: Mapping[str, object]) -> "Journal":
        """Write config.json into a folder that `prepare` left empty."""
        journal = cls(folder)
        folder.mkdir(parents=True, exist_ok=True)
        journal.configure(config)
        (folder / ROUNDS).touch()
        return journal

    def configure(self, config: Mapping[str, object]) -> None:
        """Write config.json: what was asked, or, once it is checked, what that came to."""
        self._write(CONFIG, {"format": FORMAT, **config})

    def round(self, arm: str, server_round: int, entry: Mapping[str, object]) -> None:
        """Append one line."""
        line = json.dumps({"arm": arm, "round": server_round, **entry}, allow_nan=False)
        with (self.folder / ROUNDS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def finish(self, metrics: Mapping[str, object]) -> None:
        """Write metrics.json: its presence says that the run came to its end."""
        self._write(METRICS, metrics)

    def fail(self, error: Exception) -> None:
        """Write failure.json: why there is no metrics.json."""
        self._write(FAILURE, {"kind": type(error).__name__, "error": str(error)})

    def model(self, arm: str, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Write an arm's final model; the same arrays give the same bytes."""
        path = self.folder / MODELS[arm]
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, **{name: np.asarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]
        partial.replace(path)

    def _write(self, name: str, content: Mapping[str, object]) -> None:
        partial = self.folder / f"{name}.partial"
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(self.folder / name)


def prepare(folder: Path, replace: bool) -> None:
    """An empty folder for a new run.

    Raises ConfigurationError where the folder holds a run and `replace` is false, or where it is no run folder at all;
    CorruptFile where its config.json is damaged. What is there is then left as it was.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError("out", str(folder), "a folder, or a path that does not exist")
    present = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if present:
        _require_ours(folder, present)
        if not replace:
            raise ConfigurationError("out", str(folder), "an empty folder (--replace overwrites an earlier run)")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def _require_ours(folder: Path, present: list[str]) -> None:
    if CONFIG not in present or (foreign := sorted(set(present) - OURS)):
        found = "no " + CONFIG if CONFIG not in present else foreign[0]
        required = "an empty folder, or one that holds a run and nothing else"
        raise ConfigurationError("out", f"{folder} ({found})", required)
    try:
        ours = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["format"] == FORMAT
    except (ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise CorruptFile(folder / CONFIG, "no run configuration", f'JSON with "format": "{FORMAT}"')
