"""Whether trust tells who attacks: by the kind of threat, and among the attacks that cost something."""

from collections.abc import Iterator

from benchmarks.robustness.presets import ABSENT, QUIET, REFERENCE
from benchmarks.robustness.results import DEFAULT, Results, Verdict, framed, honest_count, markdown, score, separated
from benchmarks.robustness.simulate import Run

SEPARATED = 0.95
HEART = "heart"
PLACES = ("digits and breast-cancer", HEART)
COSTLY = 0.05
"""Accuracy that a mean of bounded updates loses to an attack from which on the attack counts as costly."""
BANDS = (("0.05 and more", COSTLY, 1.0), ("0.02 to 0.05", 0.02, COSTLY), ("less, or nothing", -1.0, 0.02))


def is_loud(threat: str) -> bool:
    """Whether the threat is of a kind that neither hides nor pauses."""
    return threat.split("@")[0] not in QUIET


def cost(results: Results, run: Run) -> float | None:
    """What the run's attack costs whoever averages: the accuracy of the honest participants alone, less that of all.

    Both are means of updates bounded by C, all alike, from the run's seed; None where either cell is missing. Liars who
    boast about rows gain nothing in such a mean: the same threat without boasting is looked up.
    """
    cell = run.cell
    alone = results.runs(cell.setting, "honest only", ABSENT).get(cell.seed)
    everybody = results.runs(cell.setting, "mean", cell.threat.removesuffix("@declared")).get(cell.seed)
    return score(alone) - score(everybody) if alone and everybody else None


def trust_verdicts(results: Results) -> Iterator[Verdict]:
    """After ten rounds every malicious participant below every honest one, in 95 % of the runs of a loud threat."""
    for threat in filter(is_loud, results.threats()):
        for where, runs in attacked(results, DEFAULT, threat).items():
            if runs:
                bar = "loud: attackers' trust last after ten rounds"
                yield _verdict(bar, f"{threat}, {where}", runs)


def costly_verdicts(results: Results) -> Iterator[Verdict]:
    """The same among the runs of loud threats in which averaging would lose .05 or more."""
    for defence in (DEFAULT, REFERENCE):
        for where in PLACES:
            runs = [run for lost, run in costs(results, defence, where) if lost >= COSTLY]
            if runs:
                bar = f"loud, and a mean loses {COSTLY:.2f}: attackers' trust last after ten rounds"
                yield _verdict(bar, f"{defence}, {where}", runs)


def trust_table(results: Results) -> str:
    """By threat: runs in which every malicious participant's trust is below every honest one's after ten rounds."""
    rows = []
    for threat in results.threats():
        groups = list(attacked(results, DEFAULT, threat).values())
        if any(groups):
            aided = attacked(results, REFERENCE, threat)[HEART]
            everybody = [run for runs in groups for run in runs]
            framings = f"{sum(map(framed, everybody))}/{len(everybody)}"
            kind = "loud" if is_loud(threat) else "quiet"
            rows.append([threat, kind, *map(_share, [*groups, aided]), framings])
    header = ["threat", "", "digits and breast-cancer", "heart", "heart, with a reference"]
    return markdown([*header, "an honest one quarantined"], rows)


def cost_table(results: Results) -> str:
    """Runs of loud threats on heart by what the attack costs a mean, and in how many trust tells who it was."""
    rows, found = [], [costs(results, defence, HEART) for defence in (DEFAULT, REFERENCE)]
    for label, low, high in BANDS:
        rows.append([label, *(_share([run for lost, run in pairs if low <= lost < high]) for pairs in found)])
    return markdown(["a mean loses", DEFAULT, REFERENCE], rows)


def costs(results: Results, defence: str, where: str) -> list[tuple[float, Run]]:
    """Every run of a loud threat there, after what its attack costs a mean; those that are not known are left out."""
    runs = [run for threat in filter(is_loud, results.threats()) for run in attacked(results, defence, threat)[where]]
    return [(lost, run) for run in runs if (lost := cost(results, run)) is not None]


def attacked(results: Results, defence: str, threat: str) -> dict[str, list[Run]]:
    """The defence's runs under this threat, of dealt rows and of heart."""
    runs = [run for setting in results.settings for run in results.runs(setting, defence, threat).values()]
    runs = [run for run in runs if run.early_trust and honest_count(run) < run.cell.setting.n]
    heart = [run for run in runs if run.cell.setting.dataset == "heart"]
    return dict(zip(PLACES, ([run for run in runs if run.cell.setting.dataset != "heart"], heart), strict=True))


def _verdict(bar: str, cell: str, runs: list[Run]) -> Verdict:
    count = sum(map(separated, runs))
    return Verdict(bar, cell, f"{count} of {len(runs)} runs", count >= SEPARATED * len(runs))


def _share(runs: list[Run]) -> str:
    return f"{sum(map(separated, runs))}/{len(runs)}" if runs else ""
