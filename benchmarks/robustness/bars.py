"""What the default has to reach, computed from finished cells: every bar, what was found, every cell that misses."""

from collections.abc import Callable, Iterator

from benchmarks.robustness.cells import Setting
from benchmarks.robustness.loud import costly_verdicts, trust_verdicts
from benchmarks.robustness.presets import AGAINST, FIXED
from benchmarks.robustness.results import DEFAULT, Results, Verdict, framed, markdown
from benchmarks.robustness.tables import masked_pairs

NO_ATTACK = 0.01
MASKED = 0.01
SEVEN = ("sign-flip", "label-flip", "mimic", "alie-1.5", "alie-10", "foe-2", "foe-10")
WORST = {
    ("digits", "iid", 10, 2): (0.94, FIXED),
    ("digits", "dirichlet-0.5", 10, 2): (0.93, FIXED),
    ("digits", "dirichlet-0.1", 10, 2): (0.80, FIXED),
    ("digits", "dirichlet-0.5", 10, 4): (0.60, FIXED),
    ("digits", "sorted", 17, 4): (0.85, SEVEN),
    ("digits", "dirichlet-1.0", 17, 4): (0.95, SEVEN),
}
"""By data set, partition, n and f: the lowest accuracy under the worst of these threats."""
REFERENCE_WORST = {("digits", "dirichlet-0.5", 10, 4): (0.90, FIXED)}
"""The same with ReferenceTrust."""


def regret_bar(setting: Setting) -> float:
    """How far behind the best peer of a cell the default may lie."""
    return 0.02 if setting.f <= 2 else 0.05


def worst_verdicts(results: Results) -> Iterator[Verdict]:
    """The worst case over the fixed threats."""
    for bars, defence in ((WORST, DEFAULT), (REFERENCE_WORST, "reference with trust")):
        for setting in results.settings:
            bar, threats = bars.get((setting.dataset, setting.partition, setting.n, setting.f), (0.0, ()))
            worst = results.worst(setting, defence, threats) if threats else None
            if worst is not None:
                found = f"{worst[0]:.3f} ({worst[1]}, {worst[2]} seeds)"
                yield Verdict(f"worst case of {defence}: {bar:.2f}", setting.name, found, worst[0] >= bar)


def no_attack_verdicts(results: Results) -> Iterator[Verdict]:
    """Within .01 of FedAvg without attack, and nobody in quarantine."""
    for setting in results.settings:
        seeds = results.common([(setting, "fedavg", "none"), (setting, DEFAULT, "none")])
        plain, own = (results.mean(setting, name, "none", seeds) for name in ("fedavg", DEFAULT))
        if plain is None or own is None:
            continue
        gap = f"{own - plain:+.3f}"
        yield Verdict("no attack: within .01 of FedAvg", setting.name, gap, own >= plain - NO_ATTACK)
        runs = results.runs(setting, DEFAULT, "none").values()
        count = sum(map(framed, runs))
        yield Verdict("no attack: nobody in quarantine", setting.name, f"{count} of {len(runs)} seeds", not count)


def framed_verdicts(results: Results) -> Iterator[Verdict]:
    """Nobody honest in quarantine under an attack."""
    for setting, defence, threat in sorted(results.by_key):
        if defence == DEFAULT and threat != "none":
            runs = results.runs(setting, defence, threat).values()
            count = sum(map(framed, runs))
            found = f"{count} of {len(runs)} seeds"
            yield Verdict("attack: nobody honest in quarantine", f"{setting.name}, {threat}", found, not count)


def regret_verdicts(results: Results) -> Iterator[Verdict]:
    """Behind the best peer of each cell by at most .02 (f <= 2) or .05; not where a threat is made for the default."""
    for setting in results.settings:
        for threat in (threat for threat in results.threats(setting) if threat not in AGAINST):
            if best := results.best_peer(setting, threat):
                name, accuracy, seeds = best
                own = results.mean(setting, DEFAULT, threat, seeds) or 0.0
                found = f"{accuracy - own:+.4f} ({own:.3f}, {name} {accuracy:.3f}, {len(seeds)} seeds)"
                bar = regret_bar(setting)
                met = accuracy - own <= bar
                yield Verdict(f"regret: at most {bar:.2f}", f"{setting.name}, {threat}", found, met)


def masked_verdicts(results: Results) -> Iterator[Verdict]:
    """Real masked rounds end within .01 of unmasked ones."""
    for setting, defence, threat, (clear, own), seeds in masked_pairs(results):
        found = f"{own - clear:+.3f}, {seeds} seeds"
        cell = f"{setting.name}, {defence}, {threat}"
        yield Verdict("masked rounds: within .01 of unmasked", cell, found, abs(own - clear) <= MASKED)


GROUPS: tuple[tuple[str, Callable[[Results], Iterator[Verdict]]], ...] = (
    ("Worst case", worst_verdicts),
    ("Regret", regret_verdicts),
    ("No attack", no_attack_verdicts),
    ("Honest participants under attack", framed_verdicts),
    ("Trust", trust_verdicts),
    ("Trust, attacks that cost", costly_verdicts),
    ("Masked", masked_verdicts),
)


def bars_table(results: Results) -> str:
    """How many cells meet each bar."""
    rows = []
    for title, verdicts in GROUPS:
        found = list(verdicts(results))
        for bar in dict.fromkeys(verdict.bar for verdict in found):
            mine = [verdict for verdict in found if verdict.bar == bar]
            met = sum(verdict.met for verdict in mine)
            rows.append([title, bar, f"{met} of {len(mine)}" + ("" if met == len(mine) else " **misses below**")])
    return markdown(["", "bar", "cells that meet it"], rows)


def misses_table(results: Results) -> str:
    """Every cell that misses a bar."""
    checked = [verdict for _, verdicts in GROUPS for verdict in verdicts(results)]
    found = [verdict for verdict in checked if not verdict.met]
    if not found:
        return f"None of {len(checked)} cells misses."
    return markdown(["bar", "cell", "found"], [[verdict.bar, verdict.cell, verdict.found] for verdict in found])


def regret_table(results: Results) -> str:
    """Every cell in which all peers ran."""
    found = regret_verdicts(results)
    return markdown(["cell", "regret (default, best peer)", "met"], [[v.cell, v.found, str(v.met)] for v in found])
