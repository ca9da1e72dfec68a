"""Finished cells by setting, defence, threat and seed, and what is counted on them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.robustness.cells import LAST_ROUNDS, Setting
from benchmarks.robustness.presets import FIXED, OURS
from benchmarks.robustness.simulate import Run

DEFAULT = "default"
DATASETS = ("digits", "breast-cancer", "heart")
PARTITIONS = ("natural", "iid", "dirichlet-1.0", "dirichlet-0.5", "dirichlet-0.1", "sorted")
Key = tuple[Setting, str, str]


@dataclass(frozen=True)
class Verdict:
    """One bar in one cell: what was found, and whether that is enough."""

    bar: str
    cell: str
    found: str
    met: bool


def score(run: Run) -> float:
    """Mean accuracy over the last rounds."""
    return fmean(run.accuracy[-LAST_ROUNDS:])


def triggered(run: Run) -> float:
    """Share of the test rows with a trigger that land in the target class."""
    return run.triggered


class Results:
    """Every finished run; means are over the seeds that are there, or over given ones."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.by_key: dict[Key, dict[int, Run]] = defaultdict(dict)
        for run in runs:
            self.by_key[run.cell.setting, run.cell.defence, run.cell.threat][run.cell.seed] = run

    @property
    def settings(self) -> list[Setting]:
        """Every setting, in the order of the tables."""
        found = {setting for setting, _, _ in self.by_key}
        return sorted(found, key=lambda s: (DATASETS.index(s.dataset), s.n, s.f, PARTITIONS.index(s.partition)))

    def runs(self, setting: Setting, defence: str, threat: str) -> dict[int, Run]:
        """By seed; empty where nothing is finished."""
        return self.by_key.get((setting, defence, threat), {})

    def mean(
        self,
        setting: Setting,
        defence: str,
        threat: str,
        seeds: Iterable[int] | None = None,
        of: Callable[[Run], float] = score,
    ) -> float | None:
        """Mean over the seeds, None where one is missing."""
        runs = self.runs(setting, defence, threat)
        chosen = list(runs if seeds is None else seeds)
        return fmean(of(runs[seed]) for seed in chosen) if chosen and set(chosen) <= set(runs) else None

    def worst(self, setting: Setting, defence: str, threats: Sequence[str] = FIXED) -> tuple[float, str, int] | None:
        """The lowest mean over the threats, its threat, the seeds that every threat has; None if one is missing."""
        seeds = self.common([(setting, defence, threat) for threat in threats])
        means = [(self.mean(setting, defence, threat, seeds), threat) for threat in threats]
        whole = [(mean, threat) for mean, threat in means if mean is not None]
        return (*min(whole), len(seeds)) if seeds and len(whole) == len(threats) else None

    def common(self, keys: Iterable[Key]) -> list[int]:
        """The seeds that all of the keys have."""
        sets = [set(self.by_key.get(key, {})) for key in keys]
        return sorted(set.intersection(*sets)) if sets else []

    def defences(self, setting: Setting) -> list[str]:
        """Baselines, ours, then the peers."""
        present = {defence for s, defence, _ in self.by_key if s == setting}
        first = [d for d in ("fedavg", "mean", *OURS) if d in present]
        return first + sorted(present - set(first))

    def peers(self, setting: Setting) -> list[str]:
        """ByzFL's and Flower's rules that ran in this setting."""
        return [defence for defence in self.defences(setting) if defence.startswith(("byzfl ", "flower "))]

    def threats(self, setting: Setting | None = None) -> list[str]:
        """The fixed ones first, then the others by name."""
        present = {threat for s, _, threat in self.by_key if setting in (None, s)}
        return [t for t in FIXED if t in present] + sorted(present - set(FIXED))

    def best_peer(self, setting: Setting, threat: str) -> tuple[str, float, list[int]] | None:
        """The peer with the highest mean over the seeds that every peer and the default have."""
        peers = self.peers(setting)
        seeds = self.common([(setting, name, threat) for name in [*peers, DEFAULT]])
        if not peers or not seeds:
            return None
        means = {name: self.mean(setting, name, threat, seeds) or 0.0 for name in peers}
        best = max(means, key=lambda name: means[name])
        return best, means[best], seeds


def honest_count(run: Run) -> int:
    """How many participants of the run were honest; they come first."""
    return run.cell.setting.n - (0 if run.cell.threat == "none" else run.cell.setting.f)


def framed(run: Run) -> bool:
    """Whether an honest participant was ever in quarantine."""
    return any(run.quarantined[: honest_count(run)])


def separated(run: Run) -> bool:
    """Whether after ten rounds every malicious participant's trust is below every honest one's."""
    honest = honest_count(run)
    return max(run.early_trust[honest:], default=0.0) < min(run.early_trust[:honest])


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def shown(mean: float | None) -> str:
    """Three digits, or nothing."""
    return "" if mean is None else f"{mean:.3f}"
