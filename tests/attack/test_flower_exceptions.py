"""What an app raises may quote its records: the class leaves the site, the text stays in the site's own log."""

import logging

import numpy as np
import pytest
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

from flower_robust import Demands, RobustAggregation, robust_mod
from flower_robust.aggregation import Mean, MultiKrum
from flower_robust.errors import ConfigurationError
from flower_robust.flower.failures import CLIENT_LOG, AppFailedError, shown_reason
from tests.flower_double import RUN_ID, FakeGrid, arrays_of, federation, model, node, record, robust_nodes, stock_nodes
from tests.flower_masked import C, MaskedNodes, masked, trajectory

pytestmark = pytest.mark.window

N = 7
ROWS = np.array([[61.0, 1.0, 134.5], [58.0, 0.0, 171.25]])
QUOTES = [str(ROWS), "134.5", "171.25"]


def quoting_app(*mods) -> ClientApp:
    """An app that fails as pandas or a data loader does: with the rows in the exception's text."""
    app = ClientApp(mods=list(mods))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        update = arrays_of(message.content["arrays"])["fc.weight"] + 0.125
        raise ValueError(f"cannot convert rows {ROWS} with update {update.tolist()}")

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        raise KeyError(f"no column in {ROWS}")

    return app


def left_the_sites(caplog, strategy, replies: list[Message]) -> str:
    """Every log but the sites' own, every report, and the text of every error that was sent."""
    logs = [entry.getMessage() + str(entry.exc_info or "") for entry in caplog.records if entry.name != CLIENT_LOG]
    reports = [report.to_json() for report in strategy.history]
    faults = [str(fault) for found in strategy.evaluation_faults.values() for fault in found]
    sent = [str(reply.error.reason) if reply.has_error() else repr(reply.content) for reply in replies]
    return "\n".join([*logs, *reports, *faults, *sent])


@pytest.mark.parametrize("masking", [False, True])
def test_rows_and_updates_in_an_exception_stay_at_the_site(masking, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    nodes, replies = MaskedNodes(N, tmp_path), []
    grid = nodes.grid()
    mod = robust_mod(nodes.identities[0], nodes.roster, audit_folder=tmp_path)
    grid.nodes[1000] = node(1000, quoting_app(mod), lambda message, reply: replies.append(reply) or reply)
    options = {"rule": MultiKrum(f=1), "quorum": 5, "strategy": FedAvg(fraction_evaluate=1.0)}
    if masking:
        strategy = masked(nodes.roster, **options)
    else:
        strategy = RobustAggregation(**options, roster=nodes.roster, norm_bound=C, wait=1, device="cpu")
    trajectory(strategy, grid, 1)
    found = left_the_sites(caplog, strategy, replies)
    update = model()["fc.weight"] + np.float32(0.125)
    assert not any(quote in found for quote in [*QUOTES, *(repr(float(value)) for value in update[0])])
    (fault,) = strategy.history[0].faults
    assert (fault.culprit, fault.kind, fault.certainty.value) == ("hospital-0", "ClientError", "silent")
    assert "app at train: found ValueError" in fault.found
    own = [entry for entry in caplog.records if entry.name == CLIENT_LOG]
    assert own and str(ROWS) in str(own[0].exc_info[1]), "the site itself sees nothing of its app's failure"


def test_an_app_without_the_mod_that_leaks_rows_to_flower_is_not_quoted(caplog):
    caplog.set_level(logging.DEBUG)
    identities, roster = federation(N)
    grid = FakeGrid(robust_nodes(identities))

    def leaking(message: Message, reply: Message) -> Message:
        reason = f"<class 'pandas.errors.ParserError'>:<'cannot convert rows {ROWS}'>"
        return Message(Error(2, reason), reply_to=message)

    grid.nodes[1000] = node(1000, quoting_app(robust_mod(identities[0])), leaking)
    strategy = RobustAggregation(
        FedAvg(fraction_evaluate=0.0), rule=Mean(), roster=roster, norm_bound=C, quorum=5, wait=1, device="cpu"
    )
    trajectory(strategy, grid, 1)
    found = left_the_sites(caplog, strategy, [])
    assert not any(quote in found for quote in QUOTES)
    assert "error 2 (ParserError)" in found


def test_the_grep_finds_what_flowers_own_strategy_is_told(caplog):
    nodes, replies = stock_nodes(3), []
    nodes[1000] = node(1000, quoting_app(), lambda message, reply: replies.append(reply) or reply)
    FedAvg(fraction_evaluate=0.0).start(FakeGrid(nodes), record(model()), num_rounds=1)
    assert any(QUOTES[0] in str(reply.error.reason) for reply in replies if reply.has_error())


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("<class 'flower_robust.errors.ConfigurationError'>:<'roster: found 'x', required 'y''>", "roster: found 'x'"),
        (str(AppFailedError("ValueError", "train")), "app at train: found ValueError"),
        ("<class 'ValueError'>:<'row 61 1 134.5'>", " (ValueError)"),
        ("<class 'flwr.clientapp.client_app.ClientAppException'>:<'\nException: row 61 1 134.5'>", ""),
        ("row 61 1 134.5", ""),
    ],
)
def test_of_a_reason_only_our_own_sentences_and_class_names_are_shown(reason, shown):
    found = shown_reason(reason)
    assert shown in found and "134.5" not in found and (shown or not found)


def test_a_site_with_a_threshold_trains_for_no_server_that_asks_in_clear():
    identities, roster = federation(1)
    trained: list[Message] = []
    app = ClientApp(mods=[robust_mod(identities[0], roster, demands=Demands(threshold=1))])
    app.train()(lambda message, context: trained.append(message))
    message = Message(RecordDict({"arrays": record(model())}), 7, "train")
    with pytest.raises(ConfigurationError, match="found 'an unmasked round', required a masked round"):
        app(message, Context(RUN_ID, 7, {}, RecordDict(), {}))
    assert not trained
