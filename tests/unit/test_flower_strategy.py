"""The wrapper around Flower's own strategies, in one process."""

import numpy as np
import pytest
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx

from flower_robust import RobustAggregation
from flower_robust.aggregation import Mean
from tests.flower_double import FakeGrid, arrays_of, federation, model, record, robust_nodes, stock_nodes

pytestmark = pytest.mark.window

STRATEGIES = {
    "FedAvg": lambda: FedAvg(),
    "FedProx": lambda: FedProx(proximal_mu=0.1),
    "FedAvgM": lambda: FedAvgM(server_learning_rate=0.5, server_momentum=0.9),
    "FedAdam": lambda: FedAdam(eta=0.01),
}


def wrapped(strategy, roster, **options):
    options = {"rule": Mean(), "norm_bound": 100.0, "wait": 2.0, "reply_timeout": 2.0, "device": "cpu"} | options
    return RobustAggregation(strategy, roster=roster, **options)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_wrapped_strategy_steps_as_the_stock_one_on_honest_clients(name):
    identities, roster = federation(5)
    robust, stock = wrapped(STRATEGIES[name](), roster), STRATEGIES[name]()
    ours = robust.start(FakeGrid(robust_nodes(identities)), record(model()), num_rounds=3)
    theirs = stock.start(FakeGrid(stock_nodes(5)), record(model()), num_rounds=3)
    for key in ("fc.weight", "fc.bias", "scale"):
        np.testing.assert_allclose(ours.arrays[key].numpy(), theirs.arrays[key].numpy(), atol=1e-4)


@pytest.mark.parametrize("name", STRATEGIES)
def test_names_order_shapes_and_dtypes_survive_every_strategy(name):
    identities, roster = federation(5)
    result = wrapped(STRATEGIES[name](), roster).start(
        FakeGrid(robust_nodes(identities)), record(model()), num_rounds=2
    )
    found, old = arrays_of(result.arrays), model()
    assert list(found) == list(old)
    assert {k: (a.dtype, a.shape) for k, a in found.items()} == {k: (a.dtype, a.shape) for k, a in old.items()}
    assert found["bn.num_batches_tracked"] == 9
    assert (found["mask"] == old["mask"]).all()
