"""Flower's own SecAgg+ round as its documentation drives it: DefaultWorkflow, LegacyContext, secaggplus_mod, unchanged.

The workflow is of Flower's older API, and so are its strategy, its messages and its answers.
"""

from collections.abc import Callable

import numpy as np
from flwr.app import Context, Message
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.compat.common.recorddict_compat import fitres_to_recorddict, recorddict_to_fitins
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.serverapp import Grid

Measure = Callable[[Callable[[], object]], None]


def secagg_plus_round(grid: Grid, context: Context, n: int, d: int, measure: Measure) -> None:
    """One round: all n share with all, threshold 0.6. `measure` gets the round itself, without the set-up before it."""
    workflow = SecAggPlusWorkflow(num_shares=1.0, reconstruction_threshold=0.6)
    zeros = ndarrays_to_parameters([np.zeros(d, np.float32)])
    strategy = FedAvg(fraction_evaluate=0.0, min_fit_clients=n, min_available_clients=n, initial_parameters=zeros)
    legacy = LegacyContext(context, config=ServerConfig(num_rounds=1), strategy=strategy)
    DefaultWorkflow(fit_workflow=lambda grid, context: measure(lambda: workflow(grid, context)))(grid, legacy)


def trained(message: Message, update: Callable[[int], np.ndarray], rows: int) -> Message:
    """What a client of the older API returns: its weights, and how many rows they come from."""
    old = parameters_to_ndarrays(recorddict_to_fitins(message.content, keep_input=False).parameters)
    new = ndarrays_to_parameters([array + update(array.size) for array in old])
    result = FitRes(Status(Code.OK, ""), new, rows, {})
    return Message(fitres_to_recorddict(result, keep_input=False), reply_to=message)
