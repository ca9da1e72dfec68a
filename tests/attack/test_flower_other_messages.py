"""A server that asks some clients something else than the others, to read who is left: they refuse, and say why."""

from itertools import count

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.serverapp.strategy import FedAvg

from flower_robust.errors import ConfigurationError
from flower_robust.flower.asked import asked_digest, run_config_digest
from flower_robust.flower.envelope import ENVELOPE, PAYLOAD, RUN_CONFIG
from tests.flower_double import FakeGrid, arrays_of, model, record
from tests.flower_masked import MaskedNodes, masked, phase_of

pytestmark = pytest.mark.window

N, CHANGED = 7, 4
MESSAGE, CONFIGURATION = "another message than the plan's", "another run configuration than the plan's"


def envelope(**fields):
    def change(content: RecordDict) -> None:
        content[ENVELOPE] = ConfigRecord({**content[ENVELOPE], **fields})

    return change


def decoy(content: RecordDict) -> None:
    """The plan's model is there, but the app trains on another one."""
    content["decoy"], content["arrays"] = content["arrays"], record(model(seed=1))
    envelope(arrays="decoy")(content)


def reordered(content: RecordDict) -> None:
    content["arrays"] = record(dict(reversed(arrays_of(content["arrays"]).items())))


def learning_rate(content: RecordDict) -> None:
    content["config"] = ConfigRecord({**content["config"], "lr": 0.0})


def retyped(content: RecordDict) -> None:
    content["config"] = ConfigRecord({**content["config"], "lr": 1})


CHANGES = {
    "buffers": envelope(buffers=["fc.weight", "fc.bias", "half"]),
    "buffer-bound": envelope(**{"buffer-bound": 1e30}),
    "metrics": envelope(metrics=["loss"], bounds=[1e-9]),
    "decoy": decoy,
    "model": lambda content: content.update({"arrays": record(model(seed=1))}),
    "order": reordered,
    "configuration": learning_rate,
    "type": retyped,
    "another record": lambda content: content.update({"more": MetricRecord({"x": 1.0})}),
    "a record less": lambda content: content.pop("config"),
    "a field more": envelope(more=1),
    "run configuration": envelope(**{RUN_CONFIG: bytes(32)}),
}


def changing(nodes: MaskedNodes, changes) -> FakeGrid:
    """The first nodes get their train message changed, one change each."""

    def wrapped(answer, change):
        def ask(message: Message):
            if phase_of(message) == "train":
                change(message.content)
            return answer(message)

        return ask

    asked = {1000 + i: wrapped(nodes.nodes[1000 + i], change) for i, change in enumerate(changes)}
    return FakeGrid(nodes.nodes | asked)


@pytest.mark.parametrize("first", range(0, len(CHANGES), CHANGED))
def test_who_is_asked_something_else_refuses_and_says_so(first, tmp_path):
    nodes, names = MaskedNodes(N, tmp_path), list(CHANGES)[first : first + CHANGED]
    strategy = masked(nodes.roster, quorum=3)
    grid = changing(nodes, [CHANGES[name] for name in names])
    strategy.start(grid, record(model()), num_rounds=1, train_config=ConfigRecord({"lr": 1.0}))
    report = strategy.history[0]
    for i, name in enumerate(names):
        assert (CONFIGURATION if name == "run configuration" else MESSAGE) in report.refusals[f"hospital-{i}"], name
    assert report.accepted == tuple(f"hospital-{i}" for i in range(CHANGED, N)), "the honest ones go on without them"


def test_a_client_whose_run_was_configured_otherwise_refuses(tmp_path):
    nodes = MaskedNodes(5, tmp_path)
    nodes.contexts[1000].run_config = {"local-epochs": 0}
    strategy = masked(nodes.roster, quorum=4)
    strategy.start(nodes.grid(), record(model()), num_rounds=1)
    assert CONFIGURATION in strategy.history[0].refusals["hospital-0"]
    assert strategy.history[0].reason is None


class Personal(FedAvg):
    """Configures every client for itself."""

    def configure_train(self, server_round, arrays, config, grid):
        number = count()
        for message in super().configure_train(server_round, arrays, config, grid):
            content = RecordDict({"arrays": arrays, "config": ConfigRecord({"lr": self.lr(next(number))})})
            yield Message(content, message.metadata.dst_node_id, "train")


def test_a_strategy_that_configures_clients_one_by_one_is_refused_unless_it_tells_all_the_same(tmp_path):
    nodes, strategy = MaskedNodes(5, tmp_path), Personal(fraction_evaluate=0.0)
    strategy.lr = lambda i: 0.1
    masked(nodes.roster, strategy).start(nodes.grid(), record(model()), num_rounds=1)
    strategy.lr, grid = lambda i: 0.1 * i, nodes.grid()
    with pytest.raises(ConfigurationError, match="found '5 different ones', required the same for every client"):
        masked(nodes.roster, strategy).start(grid, record(model()), num_rounds=1)
    assert {phase_of(message) for message in grid.sent} == {"enrol"}, "nothing but enrolment was sent"


def content(**config) -> RecordDict:
    values = {"i": 1, "f": 1.0, "b": True, "s": "1", "y": b"1", "l": [1, 2], "none": []} | config
    return RecordDict(
        {
            "arrays": record(model()),
            "metrics": MetricRecord({"m": 0.1, "ms": [0.5, 2.0]}),
            "config": ConfigRecord(values),
            ENVELOPE: ConfigRecord({"phase": "train", PAYLOAD: b"x"}),
        }
    )


def test_the_digest_survives_flowers_wire_and_nothing_else_shares_it():
    digest = asked_digest(content(), "train", "1")
    assert asked_digest(recorddict_from_proto(recorddict_to_proto(content())), "train", "1") == digest
    others = [content(**{key: value}) for key, value in [("i", 2), ("i", 1.0), ("b", 1), ("s", b"1"), ("l", [2, 1])]]
    renamed = content()
    renamed["other"] = renamed.pop("arrays")
    shaped = content()
    shaped["arrays"]["mask"] = record({"mask": np.array([[True, False, True]])})["mask"]
    found = [asked_digest(other, "train", "1") for other in (*others, renamed, shaped)]
    found += [asked_digest(content(), "train.other", "1"), asked_digest(content(), "train", "2")]
    assert len({digest, *found}) == len(found) + 1
    offered = content()
    offered[ENVELOPE][PAYLOAD] = b"another offer"
    assert asked_digest(offered, "train", "1") == digest


def test_the_digest_of_a_runs_configuration_does_not_depend_on_its_order():
    assert run_config_digest({"a": 1, "b": 2}) == run_config_digest({"b": 2, "a": 1}) != run_config_digest({"a": 1})
