"""From finished cells to tables: accuracy per cell, worst cases, regret, lift of NNM, trust. Markdown."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from benchmarks.robustness.cells import LAST_ROUNDS, Setting
from benchmarks.robustness.presets import FIXED, OURS
from benchmarks.robustness.simulate import Run

Key = tuple[Setting, str, str]
Paired = dict[tuple[Setting, str], dict[str, dict[int, float]]]
LIFTED = ("trmean", "geomed", "multikrum")


def score(run: Run) -> float:
    """Mean accuracy over the last rounds."""
    return fmean(run.accuracy[-LAST_ROUNDS:])


def scores(runs: Iterable[Run]) -> dict[Key, list[float]]:
    """The scores of all seeds by setting, defence and threat."""
    found: dict[Key, list[float]] = defaultdict(list)
    for run in runs:
        found[run.cell.setting, run.cell.defence, run.cell.threat].append(score(run))
    return found


def accuracy_table(setting: Setting, found: dict[Key, list[float]]) -> str:
    """Rows: defences, worst case last. Columns: threats, mean over seeds."""
    threats = _ordered(t for s, _, t in found if s == setting)
    lines = [f"| {setting.name} | " + " | ".join(threats) + " | worst | seeds |", "|---" * (len(threats) + 3) + "|"]
    for defence in _defences(setting, found):
        cells = [found.get((setting, defence, threat), []) for threat in threats]
        means = [fmean(cell) for cell in cells if cell]
        shown = [f"{fmean(cell):.3f}" if cell else "" for cell in cells]
        seeds = min((len(cell) for cell in cells if cell), default=0)
        lines.append(f"| {defence} | " + " | ".join(shown) + f" | **{min(means):.3f}** | {seeds} |")
    return "\n".join(lines)


def regret_table(runs: Iterable[Run], ours: str = "default") -> str:
    """How far the default lies behind the best peer of each cell, over the seeds that all ran; bold beyond the bar."""
    by_cell: Paired = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        by_cell[run.cell.setting, run.cell.threat][run.cell.defence][run.cell.seed] = score(run)
    lines = ["| setting | threat | default | best peer | its accuracy | regret | seeds |", "|---" * 7 + "|"]
    for (setting, threat), cell in sorted(by_cell.items()):
        peers = {name: by_seed for name, by_seed in cell.items() if _is_peer(name)}
        seeds = set(cell.get(ours, {})).intersection(*peers.values()) if peers else set()
        if not seeds:
            continue
        means = {name: fmean(by_seed[seed] for seed in seeds) for name, by_seed in peers.items()}
        own, best = fmean(cell[ours][seed] for seed in seeds), max(means, key=lambda name: means[name])
        regret, bar = means[best] - own, 0.02 if setting.f <= 2 else 0.05
        mark = "**" if regret > bar else ""
        shown = (
            setting.name,
            threat,
            f"{own:.3f}",
            best,
            f"{means[best]:.3f}",
            f"{mark}{regret:+.3f}{mark}",
            f"{len(seeds)}",
        )
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def worst_table(found: dict[Key, list[float]]) -> str:
    """The worst case over the fixed threats of every defence in every setting, that threat and the number of seeds."""
    settings = sorted({setting for setting, _, _ in found})
    defences = list(dict.fromkeys(d for s in settings for d in _defences(s, found)))
    lines = ["| defence | " + " | ".join(s.name for s in settings) + " |", "|---" * (len(settings) + 1) + "|"]
    for defence in defences:
        row = []
        for setting in settings:
            worst = [(fmean(found[setting, defence, t]), t) for t in FIXED if found.get((setting, defence, t))]
            complete = len(worst) == len(FIXED)
            seeds = min((len(found[setting, defence, t]) for _, t in worst), default=0)
            row.append(f"{min(worst)[0]:.3f} ({min(worst)[1]}, {seeds})" if complete else "")
        lines.append(f"| {defence} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def lift_table(found: dict[Key, list[float]]) -> str:
    """What NNM adds to a rule's worst case (ByzFL's rules)."""
    lines = ["| setting | rule | worst alone | worst after NNM | lift |", "|---|---|---|---|---|"]
    for setting in sorted({setting for setting, _, _ in found}):
        for rule in LIFTED:
            alone, mixed = (_worst(found, setting, f"byzfl {name}") for name in (rule, f"nnm+{rule}"))
            if alone is not None and mixed is not None:
                lines.append(f"| {setting.name} | {rule} | {alone:.3f} | {mixed:.3f} | {mixed - alone:+.3f} |")
    return "\n".join(lines)


def trust_table(runs: Sequence[Run], ours: str = "default") -> str:
    """By threat: in how many runs all malicious end below all honest, and in how many an honest one was quarantined."""
    below, framed, total = defaultdict(int), defaultdict(int), defaultdict(int)
    for run in runs:
        if run.cell.defence != ours:
            continue
        honest = run.cell.setting.n - (0 if run.cell.threat == "none" else run.cell.setting.f)
        total[run.cell.threat] += 1
        below[run.cell.threat] += max(run.trust[honest:], default=0.0) < min(run.trust[:honest])
        framed[run.cell.threat] += any(run.quarantined[:honest])
    lines = ["| threat | runs | attackers end below all honest | an honest one was quarantined |", "|---|---|---|---|"]
    for threat in _ordered(total):
        share = "" if threat == "none" else f"{below[threat]}/{total[threat]}"
        lines.append(f"| {threat} | {total[threat]} | {share} | {framed[threat]} |")
    return "\n".join(lines)


def report(runs: Sequence[Run]) -> str:
    """All tables."""
    found = scores(runs)
    parts = ["## Worst case over the fixed threats", worst_table(found), "## Regret", regret_table(runs)]
    parts += ["## Lift of NNM", lift_table(found), "## Trust", trust_table(runs), "## Accuracy in the last five rounds"]
    parts += [accuracy_table(setting, found) for setting in sorted({setting for setting, _, _ in found})]
    return "\n\n".join(parts) + "\n"


def _worst(found: dict[Key, list[float]], setting: Setting, defence: str) -> float | None:
    means = [fmean(found[setting, defence, threat]) for threat in FIXED if found.get((setting, defence, threat))]
    return min(means) if len(means) == len(FIXED) else None


def _is_peer(defence: str) -> bool:
    return defence.startswith(("byzfl ", "flower "))


def _defences(setting: Setting, found: dict[Key, list[float]]) -> list[str]:
    present = {d for s, d, _ in found if s == setting}
    first = [d for d in ("fedavg", "mean", *OURS) if d in present]
    return first + sorted(present - set(first))


def _ordered(threats: Iterable[str]) -> list[str]:
    present = set(threats)
    return [t for t in FIXED if t in present] + sorted(present - set(FIXED))
