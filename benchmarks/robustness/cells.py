"""What is measured: a setting (who learns what from whose rows), a threat, a defence and a seed make one cell."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import product


@dataclass(frozen=True, order=True)
class Setting:
    """Who learns what from whose rows; cells of one setting and seed are simulated together.

    partition: "iid", "dirichlet-<alpha>", "sorted" (by label) or "natural"; n participants, f of them malicious.
    """

    dataset: str
    model: str
    partition: str
    n: int
    f: int

    @property
    def name(self) -> str:
        """For a table's row."""
        return f"{self.dataset} {self.model} {self.partition} n={self.n} f={self.f}"


@dataclass(frozen=True, order=True)
class Cell:
    """One federated run."""

    setting: Setting
    threat: str
    defence: str
    seed: int

    @property
    def key(self) -> tuple[object, ...]:
        """What tells one finished cell from another."""
        return (*asdict(self.setting).values(), self.threat, self.defence, self.seed)


@dataclass(frozen=True)
class Course:
    """Rounds and local training of a dataset and model: part of the cell's definition."""

    rounds: int
    steps: int
    batch_size: int
    learning_rate: float


COURSES = {
    ("digits", "mlp"): Course(rounds=40, steps=5, batch_size=32, learning_rate=0.3),
    ("breast-cancer", "logistic"): Course(rounds=30, steps=5, batch_size=32, learning_rate=0.1),
    ("heart", "logistic"): Course(rounds=15, steps=100, batch_size=4, learning_rate=0.01),
}
"""Heart follows FLamby: 15 rounds of 100 steps of 4 rows."""

NORM_BOUNDS = {("digits", "mlp"): 2.0, ("breast-cancer", "logistic"): 1.0, ("heart", "logistic"): 1.0}
"""C: about twice the median norm of honest updates in the first rounds."""

LAST_ROUNDS = 5
"""A cell's score is the mean over its last rounds: the best round hides divergence."""


def grid(
    settings: Iterable[Setting], threats: Iterable[str], defences: Iterable[str], seeds: Iterable[int]
) -> Iterator[Cell]:
    """Every combination."""
    for setting, seed, threat, defence in product(settings, seeds, threats, defences):
        yield Cell(setting, threat, defence, seed)
