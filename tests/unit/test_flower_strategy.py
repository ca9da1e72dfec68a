"""The wrapper around Flower's own strategies, in one process."""

import numpy as np
import pytest
import torch
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx, Strategy

from flower_robust import RobustAggregation, robust_mod
from flower_robust.aggregation import Mean, MultiKrum, NearestNeighborMixing, ReferenceTrust
from tests.flower_double import (
    FakeGrid,
    arrays_of,
    federation,
    model,
    node,
    record,
    robust_nodes,
    step,
    stock_app,
    stock_nodes,
)

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


def test_the_loop_over_rounds_stays_flowers():
    assert RobustAggregation.start is Strategy.start


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


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_take_the_models_precision_and_the_device_that_was_asked_for(dtype, device):
    identities, roster = federation(5)
    arrays = {"w": np.zeros(6, dtype)}
    strategy = wrapped(FedAvg(), roster, device=device)
    result = strategy.start(FakeGrid(robust_nodes(identities)), record(arrays), num_rounds=1)
    nodes = [step(identity.name, i)(arrays)["w"].astype(np.float64) for i, identity in enumerate(identities)]
    assert result.arrays["w"].numpy().dtype == dtype
    np.testing.assert_allclose(result.arrays["w"].numpy(), np.mean(nodes, axis=0), rtol=10 * np.finfo(dtype).eps)


def test_the_same_replies_give_the_same_bits_in_whatever_order_nodes_are_sampled():
    identities, roster = federation(5)
    found = [
        wrapped(FedAvg(), roster, rule=MultiKrum(f=1)).start(
            FakeGrid(robust_nodes(identities)), record(model()), num_rounds=2
        )
        for _ in range(3)
    ]
    assert found[0].arrays == found[1].arrays == found[2].arrays


def test_the_servers_own_update_reaches_rules_that_ask_for_one():
    identities, roster = federation(5)
    asked = []

    def reference(server_round, arrays):
        asked.append((server_round, list(arrays)))
        return record({name: -np.ones_like(a) if a.dtype.kind == "f" else a for name, a in arrays_of(arrays).items()})

    strategy = wrapped(FedAvg(), roster, rule=ReferenceTrust(), reference=reference)
    result = strategy.start(FakeGrid(robust_nodes(identities)), record(model()), num_rounds=1)
    assert asked == [(1, list(model()))]
    # Every honest update points away from this reference, so none is trusted with a step.
    np.testing.assert_array_equal(result.arrays["fc.weight"].numpy(), model()["fc.weight"])


def test_a_quarter_of_sign_flippers_does_not_turn_the_step():
    identities, roster = federation(8)
    nodes = robust_nodes(identities)
    for i in (0, 1):
        nodes[1000 + i] = node(1000 + i, stock_app(flipped, mods=[robust_mod(identities[i])]))
    grid = FakeGrid(nodes)
    strategy = wrapped(FedAvg(), roster, rule=NearestNeighborMixing(f=2) >> MultiKrum(f=2))
    result = strategy.start(grid, record(model()), num_rounds=3)
    np.testing.assert_allclose(result.arrays["fc.weight"].numpy(), model()["fc.weight"] + 0.3, atol=0.05)
    assert not any(report.faults for report in strategy.history)
    assert len(strategy.history) == 3


def flipped(old):
    return {key: (array - 5.0).astype(array.dtype) if array.dtype.kind == "f" else array for key, array in old.items()}


def test_reports_reach_the_callback_and_hold_seconds_and_bytes():
    identities, roster = federation(5)
    heard = []
    strategy = wrapped(FedAvg(), roster, on_round=heard.append)
    strategy.start(FakeGrid(robust_nodes(identities)), record(model()), num_rounds=2)
    assert heard == strategy.history
    assert [report.round for report in heard] == [1, 2]
    assert set(heard[0].received_bytes) == set(roster.names)
    assert min(heard[0].received_bytes.values()) > 200
    assert heard[0].seconds.keys() >= {"exchange", "aggregate"}
