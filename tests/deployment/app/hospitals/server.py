"""The ServerApp: FedAvg, wrapped; it writes what every round came to, and every model."""

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from flower_robust import PeerMasking, RobustAggregation, Roster
from flower_robust.aggregation import GeometricMedian
from hospitals.task import NORM_BOUND

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds; everything that a test needs to judge them lies in the folder `out`."""
    config = context.run_config
    out = Path(str(config["out"]))
    roster = Roster.load(str(config["roster"]))

    def write_report(report) -> None:
        with (out / "rounds.jsonl").open("a") as file:
            file.write(report.to_json() + "\n")

    def write_model(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        np.save(out / f"model-{server_round}.npy", arrays.to_numpy_ndarrays()[0])
        while server_round and server_round == int(config["hold-after"]) and not (out / "go").exists():
            time.sleep(0.2)
        return MetricRecord({})

    threshold, timeout = int(config["threshold"]), float(config["reply-timeout"])
    masking = PeerMasking(threshold=threshold or None, step_timeout=timeout, strict=bool(config["strict"]))
    strategy = RobustAggregation(
        FedAvg(fraction_evaluate=1.0 if config["evaluate"] else 0.0, min_available_nodes=2, min_train_nodes=2),
        rule=GeometricMedian(f=1),
        roster=roster,
        norm_bound=NORM_BOUND,
        quorum=3,
        below_quorum="skip",
        wait=float(config["wait"]),
        masking=masking if threshold else None,
        reply_timeout=timeout,
        on_round=write_report,
    )
    zero = ArrayRecord({"w": Array(np.zeros(int(config["parameters"]), np.float32))})
    strategy.start(grid, zero, num_rounds=int(config["rounds"]), evaluate_fn=write_model)
    faults = {str(r): [fault.culprit for fault in found] for r, found in strategy.evaluation_faults.items()}
    (out / "finished.json").write_text(json.dumps({"evaluation-faults": faults}))
