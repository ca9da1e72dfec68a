"""Tables of accuracy: by cell, worst case, no attack, adaptive threats, backdoor, parts of the default, lift of NNM."""

from collections.abc import Iterator, Sequence

from benchmarks.robustness.cells import Setting
from benchmarks.robustness.presets import ADAPTIVE, AGAINST, AIMED, BOUNDS, DECLARED, MASKED, OURS, REFERENCE
from benchmarks.robustness.results import DEFAULT, Results, framed, markdown, shown, triggered

LIFTED = ("trmean", "geomed", "multikrum")
FLAMBY = (0.731, 0.719, 0.650, 0.640, 0.748)
"""FedAvg of the published benchmark: Cleveland, Hungarian, Switzerland, VA Long Beach, pooled."""


def accuracy_table(results: Results, setting: Setting) -> str:
    """Rows: defences. Columns: threats, mean over the seeds that are there."""
    threats = results.threats(setting)
    rows = []
    for defence in results.defences(setting):
        seeds = [len(results.runs(setting, defence, t)) for t in threats if results.runs(setting, defence, t)]
        rows.append([defence, *(shown(results.mean(setting, defence, t)) for t in threats), str(min(seeds))])
    return markdown([setting.name, *threats, "seeds"], rows)


def worst_table(results: Results) -> str:
    """Worst of the nine fixed threats and no attack, the default beside the peer whose worst case is best."""
    rows = []
    for setting in results.settings:
        own = results.worst(setting, DEFAULT)
        if own is None:
            continue
        baselines = [results.worst(setting, name) for name in ("fedavg", "mean")]
        peers = [(worst, name) for name in results.peers(setting) if (worst := results.worst(setting, name))]
        best = max(peers, default=None)
        peer = "" if best is None else f"{best[0][0]:.3f} {best[1]} ({best[0][1]})"
        seeds = min(worst[2] for worst in [own, *(b for b in baselines if b), *(p for p, _ in peers)])
        first = [shown(b[0]) if b else "" for b in baselines]
        rows.append([setting.name, *first, peer, f"**{own[0]:.3f}** ({own[1]})", str(seeds)])
    return markdown(["setting", "FedAvg", "mean of bounded updates", "best peer", "default", "seeds"], rows)


def no_attack_table(results: Results) -> str:
    """The default beside FedAvg where nobody lies, and in how many seeds it ever quarantined somebody."""
    rows = []
    for setting in results.settings:
        seeds = results.common([(setting, "fedavg", "none"), (setting, DEFAULT, "none")])
        plain, own = (results.mean(setting, name, "none", seeds) for name in ("fedavg", DEFAULT))
        if plain is not None and own is not None:
            runs = results.runs(setting, DEFAULT, "none").values()
            cells = [shown(plain), shown(own), f"{own - plain:+.3f}", f"{sum(map(framed, runs))} of {len(runs)}"]
            rows.append([setting.name, *cells, str(len(seeds))])
    return markdown(["setting", "FedAvg", "default", "difference", "seeds with a quarantine", "seeds"], rows)


def hospitals_table(results: Results) -> str:
    """Accuracy of the last round on each hospital's test rows of heart, without attack."""
    names = ["", "Cleveland", "Hungarian", "Switzerland", "VA Long Beach", "pooled", "seeds"]
    rows = [["FedAvg as published (FLamby)", *map(shown, FLAMBY), ""]]
    for setting in results.settings:
        for defence in ("fedavg", "mean", DEFAULT):
            if setting.dataset == "heart" and (runs := results.runs(setting, defence, "none")):
                parts = [results.mean(setting, defence, "none", of=lambda run, i=i: run.parts[i]) for i in range(4)]
                pooled = results.mean(setting, defence, "none", of=lambda run: run.accuracy[-1])
                label = f"{defence}, n={setting.n}"
                rows.append([label, *map(shown, [*parts, pooled]), str(len(runs))])
    return markdown(names, rows)


def adaptive_table(results: Results) -> str:
    """The default under the threats that aim at it."""
    return _of_default(results, ADAPTIVE)


def aimed_table(results: Results) -> str:
    """The threats that go where the default looks least, over the seeds that every column has."""
    names = ("mean", DEFAULT, REFERENCE, "reference with trust")
    rows = []
    for setting in results.settings:
        for threat in (*AIMED, *AGAINST):
            best, seeds = results.best_peer(setting, threat), results.common([(setting, n, threat) for n in names])
            if best is not None and (shared := sorted({*seeds} & {*best[2]})):
                means = [shown(results.mean(setting, name, threat, shared)) for name in names]
                peer = f"{shown(results.mean(setting, best[0], threat, shared))} {best[0]}"
                rows.append([setting.name, threat, *means, peer, str(len(shared))])
    return markdown(["setting", "threat", *names, "best peer", "seeds"], rows)


def declared_table(results: Results) -> str:
    """The default where malicious participants boast about their rows, and the same threats without boasting."""
    rows = []
    for setting in results.settings:
        plain = [threat.split("@")[0] for threat in DECLARED]
        if seeds := results.common([(setting, DEFAULT, threat) for threat in (*DECLARED, *plain)]):
            means = [
                [shown(results.mean(setting, DEFAULT, t, seeds)) for t in threats] for threats in (DECLARED, plain)
            ]
            rows.append(
                [setting.name, *(f"{boast} ({true})" for boast, true in zip(*means, strict=True)), str(len(seeds))]
            )
    return markdown(["setting", *(threat.split("@")[0] for threat in DECLARED), "seeds"], rows)


def modelled_table(results: Results) -> str:
    """The default where attackers know only themselves, and under modelled sketch errors."""
    return _of_default(results, MASKED)


def masked_table(results: Results) -> str:
    """Real masked rounds beside unmasked ones, cell by cell."""
    rows = []
    for setting, defence, threat, (clear, masked), seeds in masked_pairs(results):
        cells = [defence, shown(clear), shown(masked), f"{masked - clear:+.3f}", str(seeds)]
        rows.append([setting.name, threat, *cells])
    return markdown(["setting", "threat", "defence", "unmasked", "masked", "difference", "seeds"], rows)


def masked_pairs(results: Results) -> Iterator[tuple[Setting, str, str, tuple[float, float], int]]:
    """Setting, defence, threat, its accuracy unmasked and masked, seeds: wherever both have finished."""
    for setting, name, threat in sorted(results.by_key):
        defence = name.removesuffix(" masked")
        seeds = results.common([(setting, defence, threat), (setting, name, threat)])
        if defence != name and seeds:
            clear, masked = (results.mean(setting, d, threat, seeds) or 0.0 for d in (defence, name))
            yield setting, defence, threat, (clear, masked), len(seeds)


def backdoor_table(results: Results) -> str:
    """Share of triggered test rows in the target class, (accuracy): FedAvg, mean, the lowest peer, the default."""
    rows = []
    for setting in results.settings:
        seeds = results.common([(setting, DEFAULT, "backdoor"), (setting, "mean", "backdoor")])
        peers = [name for name in results.peers(setting) if set(seeds) <= set(results.runs(setting, name, "backdoor"))]
        if not seeds:
            continue
        found = {n: results.mean(setting, n, "backdoor", seeds, triggered) or 0.0 for n in peers}
        lowest = min(peers, key=lambda name: found[name], default="")
        names = ["fedavg", "mean", *([lowest] if lowest else []), DEFAULT]
        cells = [
            f"{shown(results.mean(setting, name, 'backdoor', seeds, triggered))} "
            f"({shown(results.mean(setting, name, 'backdoor', seeds))})" + (f" {name}" if name == lowest else "")
            for name in names
        ]
        rows.append([setting.name, *cells[:2], cells[2] if lowest else "", cells[-1], str(len(seeds))])
    return markdown(["setting", "FedAvg", "mean", "lowest peer", "default", "seeds"], rows)


def bounds_table(results: Results) -> str:
    """What a tighter norm bound does to the backdoor and to accuracy without attack."""
    rows = []
    for setting in results.settings:
        keys = [(setting, name, threat) for name in BOUNDS for threat in ("none", "backdoor")]
        if seeds := results.common(keys):
            pairs = [
                f"{shown(results.mean(setting, name, 'backdoor', seeds, triggered))} "
                f"({shown(results.mean(setting, name, 'none', seeds))})"
                for name in BOUNDS
            ]
            rows.append([setting.name, *pairs, str(len(seeds))])
    return markdown(["setting", "C", "C/2", "C/4", "seeds"], rows)


def parts_table(results: Results) -> str:
    """Worst of the fixed threats for the default and its variants."""
    rows = []
    for setting in results.settings:
        found = [results.worst(setting, name) for name in OURS]
        if sum(worst is not None for worst in found) > 1:
            cells = [f"{worst[0]:.3f} ({worst[1]})" if worst else "" for worst in found]
            rows.append([setting.name, *cells, str(min(worst[2] for worst in found if worst))])
    return markdown(["setting", *OURS, "seeds"], rows)


def lift_table(results: Results) -> str:
    """What NNM adds to the worst case of ByzFL's rules."""
    rows = []
    for setting in results.settings:
        for rule in LIFTED:
            alone, mixed = (results.worst(setting, f"byzfl {name}") for name in (rule, f"nnm+{rule}"))
            if alone and mixed:
                lift = f"{mixed[0] - alone[0]:+.3f}"
                rows.append([setting.name, rule, shown(alone[0]), shown(mixed[0]), lift, str(min(alone[2], mixed[2]))])
    return markdown(["setting", "rule", "worst alone", "worst after NNM", "lift", "seeds"], rows)


def worst_of_all(results: Results) -> str:
    """Worst of the fixed threats, every defence in every setting."""
    settings = results.settings
    names = list(dict.fromkeys(name for setting in settings for name in results.defences(setting)))
    cells = {(s, name): results.worst(s, name) for s in settings for name in names}
    rows = [[n, *(f"{w[0]:.3f} ({w[1]}, {w[2]})" if (w := cells[s, n]) else "" for s in settings)] for n in names]
    return markdown(["defence", *(setting.name for setting in settings)], rows)


def _of_default(results: Results, threats: Sequence[str]) -> str:
    rows = []
    for setting in results.settings:
        seeds = results.common([(setting, DEFAULT, threat) for threat in threats])
        if seeds:
            means = [shown(results.mean(setting, DEFAULT, threat, seeds)) for threat in threats]
            rows.append([setting.name, *means, str(len(seeds))])
    return markdown(["setting", *threats, "seeds"], rows)
