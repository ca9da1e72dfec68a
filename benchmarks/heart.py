"""Four real hospitals, plain FedAvg and ours, without attack and with one liar: python -m benchmarks.heart DATA_DIR

Runs the hospitals' own code and the whole unmasked round (plan, signed commitments, rule, trust) in one process. Prints
FLamby's per-hospital accuracies beside ours, the AUC on the pooled test set under attack, and what it costs
Switzerland.
"""

import argparse
import statistics
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clients.hospital import local_round
from clients.members import simulated_identity
from clients.models import build_model, from_vector, to_vector
from clients.settings import Settings
from flower_robust.commitments import Roster, RosterEntry, update_digest
from flower_robust.round import RoundPlan, honest_client, run_round
from flower_robust.trust import BetaTrust, TrustState
from server.evaluation import Evaluation, evaluate
from server.rules import rule_of

ROOT = Path(__file__).parents[1]
FLAMBY = {"cleveland": 0.731, "hungarian": 0.719, "switzerland": 0.650, "va": 0.640, "pooled": 0.748}
"""FedAvg of the published benchmark: 15 rounds of 100 steps of 4 rows, rate 0.001, each hospital's own statistics."""

State = dict[str, Tensor]
Step = Callable[[list[State], State, int], State]


@dataclass
class Training:
    """A run in one process: what it ended with."""

    settings: Settings
    state: State
    trust: TrustState | None

    def evaluate(self, settings: Settings | None = None) -> Evaluation:
        """The final model on the test sets of `settings`, by default its own."""
        federation = (settings or self.settings).federation()
        model = build_model(self.settings.model, federation.shape, federation.classes, 0)
        model.load_state_dict(self.state)
        return evaluate(model, federation)


def settings_for(data_dir: Path, **options: str | int | float) -> Settings:
    """The app's defaults on heart, with these options."""
    defaults = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    given = {key.replace("_", "-"): value for key, value in options.items()}
    return Settings.from_config({**defaults, "dataset": "heart", "data-dir": str(data_dir), **given})


def train_fedavg(settings: Settings) -> Training:
    """Weighted by the hospitals' rows, as Flower's FedAvg does it."""
    rows = torch.tensor([len(hospital.train) for hospital in settings.federation().hospitals])

    def step(news: list[State], old: State, server_round: int) -> State:
        weights = (rows / rows.sum()).float()
        return from_vector(weights @ torch.stack([to_vector(new) for new in news]), old)

    return Training(settings, _rounds(settings, step), None)


def train_robust(settings: Settings) -> Training:
    """The whole unmasked round, trust carried from round to round."""
    federation, trust = settings.federation(), BetaTrust()
    identities = [simulated_identity(settings, name) for name in federation.names]
    roster = Roster(
        RosterEntry.of(one, len(hospital.train)) for one, hospital in zip(identities, federation.hospitals, strict=True)
    )
    rule, carried = rule_of(settings.rule, settings.f, settings.hospitals), [trust.init(federation.names)]

    def step(news: list[State], old: State, server_round: int) -> State:
        base = to_vector(old)
        updates = [{"update": (to_vector(new) - base).numpy()} for new in news]
        plan = RoundPlan.create(
            run_id=1, round=server_round, roster=roster, cohort=federation.names, rule=rule,
            norm_bound=settings.norm_bound, model_digest=update_digest({"model": base.numpy()}),
        )  # fmt: skip
        clients = {one.name: honest_client(one, update) for one, update in zip(identities, updates, strict=True)}
        outcome = run_round(
            plan, roster=roster, rule=rule, model=updates[0], clients=clients, trust=trust, state=carried[-1]
        )
        carried.append(outcome.trust)
        return from_vector(base + outcome.aggregate, old)

    return Training(settings, _rounds(settings, step), carried[-1])


def _rounds(settings: Settings, step: Step) -> State:
    federation = settings.federation()
    state = build_model(settings.model, federation.shape, federation.classes, settings.seed).state_dict()
    for server_round in range(1, settings.rounds + 1):
        hospitals = range(settings.hospitals)
        news = [local_round(settings, federation, i, state, server_round)[0] for i in hospitals]
        state = step(news, state, server_round)
    return state


def flamby(data_dir: Path, seeds: Sequence[int]) -> dict[str, float]:
    """FedAvg without attack as FLamby runs it; the pooled test set is standardised by pooled statistics."""
    found: dict[str, list[float]] = {name: [] for name in FLAMBY}
    for seed in seeds:
        run = train_fedavg(settings_for(data_dir, learning_rate=0.001, standardise="hospital", seed=seed))
        for name, score in run.evaluate()["hospitals"].items():
            found[name].append(score["accuracy"])
        found["pooled"].append(run.evaluate(settings_for(data_dir, seed=seed))["accuracy"])
    return {name: statistics.mean(values) for name, values in found.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, help="folder with the four UCI heart files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rule", default="auto", help="ours: the recipe's rule (auto), 'default', or another")
    args = parser.parse_args()
    reproduced = flamby(args.data_dir, range(42, 42 + args.seeds))
    print(f"FedAvg without attack, accuracy over {args.seeds} seeds (published):")
    print("  " + "  ".join(f"{name} {value:.3f} ({FLAMBY[name]:.3f})" for name, value in reproduced.items()))
    print(f"\nPooled test set, {args.seeds} seeds: AUC (lowest), Switzerland's accuracy, trust at the end")
    for attack, liar in [("none", ""), *((a, h) for a in ("label-flip", "sign-flip", "ipm") for h in list(FLAMBY)[:4])]:
        _compare(args.data_dir, range(args.seeds), attack, liar, args.rule)


def _compare(data_dir: Path, seeds: Sequence[int], attack: str, liar: str, rule: str) -> None:
    print(f"{attack} {liar}")
    for title, train in (("fedavg", train_fedavg), ("ours", train_robust)):
        runs = [
            train(settings_for(data_dir, attack=attack, malicious=liar or 0, f=1, seed=seed, rule=rule))
            for seed in seeds
        ]
        scores = [run.evaluate() for run in runs]
        areas = [score["auc"] or 0.5 for score in scores]
        swiss = statistics.mean(score["hospitals"]["switzerland"]["accuracy"] for score in scores)
        state = runs[-1].trust
        trust = (
            [f"{name} {state[name].mean:.2f}{'*' * state[name].quarantined}" for name in state.names] if state else []
        )
        print(f"  {title:7} {statistics.mean(areas):.3f} ({min(areas):.3f})  {swiss:.3f}  {', '.join(trust)}")


if __name__ == "__main__":
    main()
