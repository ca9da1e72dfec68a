"""The ServerApp: plain FedAvg and ours, one after the other, on the same hospitals, attacks and seed."""

import math
from importlib.metadata import version
from pathlib import Path
from typing import cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Result
from torch import nn

from clients.datasets import FEDERATED, Federation
from clients.members import members
from clients.models import build_model
from clients.settings import Settings
from flower_robust import PeerMasking, RobustAggregation, Roster
from flower_robust.errors import RobustError
from flower_robust.protocol.report import RoundReport
from server.averaging import OrderedFedAvg
from server.evaluation import Evaluation, evaluate
from server.journal import TRUST, Journal
from server.masking import masking_of
from server.root import RootTraining
from server.rules import rule_of
from server.standardisation import Standardisation, federated_standardisation

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run every arm, write the run folder; an arm of ours that fails fails the run."""
    folder = Path(str(context.run_config.get("out") or f"runs/{context.run_id}"))
    about = {"versions": versions(), "run-id": str(context.run_id)}
    journal = Journal.start(folder, {**context.run_config, **about})
    try:
        settings = Settings.from_config(context.run_config)
        journal.configure({**settings.to_config(), **about})
        federation = settings.federation()
        roster = members(settings, federation)
        masking = masking_of(settings)
        scale = standardisation(settings, federation, roster, masking, grid)
        federation = federation if scale is None else federation.standardised(scale.mean, scale.deviation)
        arms = [Arm(name, settings, federation, roster, masking, journal) for name in settings.arms]
        metrics = {arm.name: arm.run(grid, scale) for arm in arms}
    except RobustError as error:
        journal.fail(error)
        raise
    journal.finish({**metrics, "malicious": list(settings.malicious), "rounds": settings.rounds})


class Arm:
    """One strategy from the initial model to its last round; every round becomes a line of the journal."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        federation: Federation,
        roster: Roster,
        masking: PeerMasking | None,
        journal: Journal,
    ) -> None:
        self.name, self.settings, self.federation, self.journal = name, settings, federation, journal
        self.roster, self.masking = roster, masking
        self.model = build_model(settings.model, federation.shape, federation.classes, settings.seed)
        self.reports: dict[int, RoundReport] = {}
        self.last: Evaluation = evaluate(self.model, federation)
        self.strategy = self._robust(self._fedavg()) if name == "robust" else self._fedavg()

    def run(self, grid: Grid, scale: Standardisation | None) -> dict[str, object]:
        """The arm's final metrics. The plain average may break down on the way; ours raises if it has to stop."""
        aborted = {}
        config = ConfigRecord() if scale is None else scale.config()
        try:
            result = self.strategy.start(
                grid, self._initial(), self.settings.rounds, train_config=config, evaluate_fn=self._evaluate
            )
        except RobustError:
            raise
        except Exception as error:
            if self.name == "robust":
                raise
            aborted = {"aborted": f"{type(error).__name__}: {error}"[:300]}
        else:
            self._save(result)
        return {**self.last, **aborted, **self._trust()}

    def _fedavg(self) -> FedAvg:
        n = self.settings.hospitals
        return OrderedFedAvg(
            fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=1, min_evaluate_nodes=0, min_available_nodes=n
        )

    def _robust(self, strategy: FedAvg) -> RobustAggregation:
        settings = self.settings
        strategy.min_available_nodes = 1
        return RobustAggregation(
            strategy,
            rule=rule_of(settings.rule, settings.f, settings.hospitals, settings.root_rows),
            roster=self.roster,
            norm_bound=settings.norm_bound,
            masking=self.masking,
            reference=None if self.federation.root is None else RootTraining(settings, self.federation),
            wait=settings.step_timeout,
            trust_file=settings.trust_file or self.journal.folder / TRUST,
            on_round=lambda report: self.reports.update({report.round: report}),
        )

    def _initial(self) -> ArrayRecord:
        return ArrayRecord(self.model.state_dict())

    def _evaluate(self, server_round: int, arrays: ArrayRecord) -> MetricRecord:
        self.last = evaluate(loaded(self.model, arrays), self.federation)
        report = self.reports.get(server_round)
        self.journal.round(self.name, server_round, {**self.last, **({"report": report.record()} if report else {})})
        return MetricRecord({"accuracy": self.last["accuracy"], "auc": self.last["auc"] or 0.5})

    def _save(self, result: Result) -> None:
        state = loaded(self.model, result.arrays).state_dict()
        self.journal.model(self.name, {name: cast(np.ndarray, tensor.numpy()) for name, tensor in state.items()})

    def _trust(self) -> dict[str, object]:
        if not self.reports:
            return {}
        state = self.reports[max(self.reports)].trust
        return {
            "trust": {name: state[name].mean for name in state.names},
            "quarantined": [name for name in state.names if state[name].quarantined],
        }


def standardisation(
    settings: Settings, federation: Federation, roster: Roster, masking: PeerMasking | None, grid: Grid
) -> Standardisation | None:
    """Feature statistics as private sums, where the settings ask for them."""
    if settings.standardise != FEDERATED:
        return None
    assert masking is not None, "refused when the settings were read"
    return federated_standardisation(grid, math.prod(federation.shape), roster, masking, settings.f)


def loaded(model: nn.Module, arrays: ArrayRecord) -> nn.Module:
    """The model with these weights."""
    model.load_state_dict(arrays.to_torch_state_dict())
    return model


def versions() -> dict[str, str]:
    """What ran."""
    return {name: version(name) for name in ("flower-robust", "flwr", "torch", "numpy")}
