"""`reference=fn` over Flower, in one process: masked rounds trust it as unmasked ones do, and ask for it in time."""

import numpy as np
import pytest
from flwr.app import Array, Context, RecordDict
from flwr.serverapp.strategy import FedAvg

from flower_robust import Demands, RobustAggregation, robust_mod
from flower_robust.aggregation import Mean, NearestNeighborMixing, ReferenceTrust
from flower_robust.errors import ConfigurationError, QuorumNotReached
from flower_robust.flower.envelope import ENVELOPE
from flower_robust.protocol.reference import PublicRow
from tests.flower_double import RUN_ID, FakeGrid, arrays_of, federation, model, record, robust_nodes, stock_app
from tests.flower_masked import C, MaskedNodes, answered, at, masked, moving, phase_of, silent, trajectory, updates

NAMES = tuple(f"hospital-{i}" for i in range(7))
BESIDE = {"masked_metrics": {"loss": 0.5}}


class Asked:
    """The server's own update: a part of the honest step, as long as it likes; notes when it was asked."""

    def __init__(self, scale: float = 0.05) -> None:
        self.scale, self.rounds, self.heard = scale, [], []

    def __call__(self, server_round, arrays):
        self.rounds.append((server_round, list(arrays)))
        self.heard.append(server_round)
        old = arrays_of(arrays)
        return record({name: np.full_like(a, self.scale) if a.dtype.kind == "f" else a for name, a in old.items()})


def plain(nodes: MaskedNodes, **options) -> RobustAggregation:
    options = {"wait": 1, "device": "cpu", **options}
    return RobustAggregation(FedAvg(), roster=nodes.roster, norm_bound=C, **options)


@pytest.mark.parametrize(("scale", "strict"), [(0.05, False), (0.05, True), (4.0, False)])
def test_four_hospitals_masked_and_unmasked_follow_the_reference_alike(scale, strict, tmp_path):
    """4.0 in each of 22 floats is beyond C = 4, as no client's update is: it shows in the result's length."""
    nodes, asked = MaskedNodes(4, tmp_path), Asked(scale)
    hidden = masked(nodes.roster, rule=ReferenceTrust(), reference=asked, masking={"strict": strict})
    models = trajectory(hidden, nodes.grid(), 2)
    shown = plain(nodes, rule=ReferenceTrust(), reference=Asked(scale))
    other = trajectory(shown, FakeGrid(robust_nodes(nodes.identities)), 2)
    assert asked.rounds == [(1, list(model())), (2, list(model()))]
    for k in (0, 1):
        ours, theirs = moving(models[k + 1]) - moving(models[k]), moving(other[k + 1]) - moving(other[k])
        assert np.linalg.norm(ours - theirs) < 0.03 * np.linalg.norm(theirs)
        assert np.linalg.norm(ours) <= 1.001 * np.linalg.norm(np.full(len(ours), scale))
    assert set(hidden.history[1].audits.values()) == {"done"}
    for mine, yours in zip(hidden.history, shown.history, strict=True):
        assert mine.reason is None and not mine.faults and mine.exchanges == 3 + strict
        assert sum(mine.weights.values()) == pytest.approx(sum(yours.weights.values()), rel=0.1)
        assert all(mine.trust[name].mean == pytest.approx(yours.trust[name].mean, abs=0.05) for name in NAMES[:4])


@pytest.mark.parametrize("norm_bound", [4.0, 40.0, 90.0])
def test_what_rides_beside_the_step_does_not_shorten_it(norm_bound, tmp_path):
    """A metric at its bound is C/64 long in the row: beside updates of 0.45, 1.4 where C = 90."""
    nodes = MaskedNodes(4, tmp_path)
    options = {"rule": ReferenceTrust(), "reference": Asked(), "norm_bound": norm_bound}
    strategy = masked(nodes.roster, masking=BESIDE, **options)
    old, new = trajectory(strategy, nodes.grid(), 1)
    length = np.linalg.norm(moving(new) - moving(old))
    assert strategy.history[0].reason is None and 0.97 < length / (0.05 * 22**0.5) < 1.001


def test_the_function_is_asked_once_a_round_before_anybody_trains(tmp_path):
    nodes, asked = MaskedNodes(4, tmp_path), Asked()
    nodes.tampers = {NAMES[0]: lambda message, reply: asked.heard.append(heard_of(message)) or reply}
    masked(nodes.roster, rule=ReferenceTrust(), reference=asked).start(nodes.grid(), record(model()), num_rounds=2)
    steps = [step for step in asked.heard if step in (1, 2, "train", "unmask")]
    assert steps == [1, "train", "unmask", 2, "train", "unmask"]


@pytest.mark.parametrize("hidden", [True, False])
def test_what_the_function_writes_into_the_model_reaches_nobody(hidden, tmp_path):
    """It trains in place, as torch does, and gives back the record that it got."""
    nodes, asked = MaskedNodes(4, tmp_path), Asked()

    def in_place(server_round, arrays):
        for name, array in asked(server_round, arrays).items():
            arrays[name].data, arrays[name] = b"gone", array
        return arrays

    grid = nodes.grid() if hidden else FakeGrid(robust_nodes(nodes.identities))
    options = {"rule": ReferenceTrust(), "reference": in_place}
    strategy = masked(nodes.roster, **options) if hidden else plain(nodes, **options)
    old, new = trajectory(strategy, grid, 1)
    models = [models for message in grid.sent for models in message.content.array_records.values()]
    assert len(models) >= 4 and strategy.history[0].reason is None
    for sent in models[:4]:
        assert {name: array.data for name, array in sent.items()} == {n: a.data for n, a in record(model()).items()}
    assert 0 < np.linalg.norm(moving(new) - moving(old)) < 0.3


def heard_of(message) -> str:
    return phase_of(message) if ENVELOPE in message.content else "other"


def test_attackers_that_oppose_the_reference_have_no_weight(tmp_path):
    nodes = MaskedNodes(7, tmp_path)
    nodes.nodes |= {1000 + i: opposed(nodes, i) for i in range(3)}
    strategy = masked(nodes.roster, rule=ReferenceTrust(), reference=Asked())
    strategy.start(nodes.grid(), record(model()), num_rounds=1)
    weights = [strategy.history[0].weights[name] for name in NAMES]
    assert all(w == 0 for w in weights[:3]) and min(weights[3:]) > 0


def opposed(nodes: MaskedNodes, i: int, step: float = -0.1):
    """Participant i, who steps the other way, or as far as is said."""

    def away(old):
        return {k: (a + step).astype(a.dtype) if a.dtype.kind == "f" else a for k, a in old.items()}

    app = stock_app(away, mods=[robust_mod(nodes.identities[i], roster=nodes.roster, audit_folder=nodes.folder)])
    context = Context(RUN_ID, 1000 + i, {}, RecordDict(), {})
    return lambda message: answered(app, message, context)


def test_the_report_says_which_factors_made_the_step(tmp_path):
    """With one hospital of almost no step the decided weights, which carry it to the reference's length, are others."""
    nodes = MaskedNodes(5, tmp_path)
    nodes.nodes[1000] = opposed(nodes, 0, 1e-4)
    strategy = masked(nodes.roster, rule=ReferenceTrust(), reference=Asked())
    old, new = trajectory(strategy, nodes.grid(), 1)
    weights = strategy.history[0].weights
    rows = np.concatenate([np.full((1, 22), 1e-4), updates(5, old)[1:]])
    expected = np.array([weights[name] for name in NAMES[:5]]) @ rows
    np.testing.assert_allclose(moving(new) - moving(old), expected, atol=1e-3)
    assert sum(weights.values()) < 1 < sum(strategy.history[0].rule_weights.values())


def test_the_reference_takes_the_place_of_the_step_in_the_row_under_a_fresh_salt(tmp_path, monkeypatch):
    given, of = [], PublicRow.of
    monkeypatch.setattr(PublicRow, "of", lambda *arguments: given.append(arguments) or of(*arguments))

    def rising(server_round, arrays):
        floats = {n: a for n, a in arrays_of(arrays).items() if a.dtype.kind == "f"}
        return record({n: np.arange(a.size).reshape(a.shape) / 100 + 0.01 for n, a in floats.items()})

    nodes = MaskedNodes(4, tmp_path)
    strategy = masked(nodes.roster, rule=ReferenceTrust(), reference=rising, masking=BESIDE)
    strategy.start(nodes.grid(), record(model()), num_rounds=3)
    salts = {salt for _, _, salt in given}
    assert len(salts) == 3 and all(len(salt) == 32 and any(salt) for salt in salts)
    for row, terms, _ in given:
        assert len(row) == terms.d > 22 and not row[22:].any()
        np.testing.assert_allclose(row[:22], moving(arrays_of(rising(1, record(model())))), rtol=1e-6)


def test_a_round_that_opens_nothing_loses_nothing(tmp_path):
    nodes = MaskedNodes(5, tmp_path, {name: at("unmask", 1, silent) for name in NAMES[:4]})
    asked = Asked()
    strategy = masked(nodes.roster, rule=ReferenceTrust(), reference=asked, below_quorum="skip")
    models = trajectory(strategy, nodes.grid(), 2)
    assert (moving(models[1]) == moving(models[0])).all() and strategy.history[0].reason is not None
    assert strategy.history[1].reason is None and strategy.history[1].accepted == NAMES[:5]
    assert [server_round for server_round, _ in asked.rounds] == [1, 2]


def test_a_round_that_nobody_follows_moves_nothing_and_the_run_goes_on(tmp_path):
    """Nobody is at fault: as unmasked, where the sum of no rows is zero; the round after announces the one before."""

    def turning(server_round, arrays):
        return Asked(-0.05 if server_round == 2 else 0.05)(server_round, arrays)

    nodes = MaskedNodes(4, tmp_path)
    metrics = {"masked_metrics": {"loss": 1.0}}
    hidden = masked(nodes.roster, rule=ReferenceTrust(), reference=turning, masking=metrics)
    models = trajectory(hidden, nodes.grid(), 3)
    shown = plain(nodes, rule=ReferenceTrust(), reference=turning)
    other = trajectory(shown, FakeGrid(robust_nodes(nodes.identities)), 3)
    assert (moving(models[2]) == moving(models[1])).all() and (moving(other[2]) == moving(other[1])).all()
    assert np.linalg.norm(moving(models[3]) - moving(models[2])) > 0.2
    still, after = hidden.history[1:]
    assert still.reason == "ReferenceTrust(): found 0 clients that point the reference's way, required 3 for a sum"
    assert [hidden.history[k].reason for k in (0, 2)] == [None, None] and not still.faults
    assert still.accepted == NAMES[:4] and set(still.weights.values()) == {0.0} and still.exchanges == 2
    assert set(after.audits.values()) == {"done"}
    for mine, yours in zip(hidden.history, shown.history, strict=True):
        assert all(mine.trust[name].mean == pytest.approx(yours.trust[name].mean, abs=0.02) for name in NAMES[:4])


def test_a_site_that_wants_no_reference_says_so(tmp_path):
    nodes = MaskedNodes(5, tmp_path, demands=Demands(no_reference=True))
    with pytest.raises(QuorumNotReached):
        masked(nodes.roster, rule=ReferenceTrust(), reference=Asked()).start(nodes.grid(), record(model()), 1)
    strategy = masked(nodes.roster, rule=ReferenceTrust(), reference=Asked(), below_quorum="skip")
    strategy.start(nodes.grid(), record(model()), num_rounds=1)
    (why,) = set(strategy.history[0].refusals.values())
    assert why.endswith("found a round with a reference, required one without, as this site insists")
    without = masked(nodes.roster)
    without.start(nodes.grid(), record(model()), num_rounds=1)
    assert without.history[0].reason is None


class OutOfRootRowsError(Exception):
    """What a user's function may raise."""


def failing(server_round, arrays):
    raise OutOfRootRowsError("no rows left")


def missing(server_round, arrays):
    return record({name: a for name, a in arrays_of(arrays).items() if name != "scale"})


def reshaped(server_round, arrays):
    return record({name: a.reshape(-1)[:2] if name == "fc.bias" else a for name, a in arrays_of(arrays).items()})


def infinite(server_round, arrays):
    return record({n: np.full_like(a, np.inf) if a.dtype.kind == "f" else a for n, a in arrays_of(arrays).items()})


def nothing(server_round, arrays):
    return None


def plain_dictionary(server_round, arrays):
    return arrays_of(arrays)


def imaginary(server_round, arrays):
    return record({n: a * 1j if a.dtype.kind == "f" else a for n, a in arrays_of(arrays).items()})


def too_long(server_round, arrays):
    return record({n: np.full(a.shape, 1e200) for n, a in arrays_of(arrays).items()})


def in_text(server_round, arrays):
    arrays["fc.bias"] = Array(dtype="str", shape=(4,), stype="text", data=b"much")
    return arrays


@pytest.mark.parametrize(
    ("reference", "error", "why"),
    [
        (failing, OutOfRootRowsError, "no rows left"),
        (missing, ConfigurationError, r"reference\['scale'\]: found None, required an update of shape \(\)"),
        (reshaped, ConfigurationError, r"reference\['fc.bias'\]: found \(2,\), required an update of shape \(4,\)"),
        (infinite, ConfigurationError, "reference: found 'NaN or Inf', required 22 finite values"),
        (too_long, ConfigurationError, "reference: found 'NaN or Inf', required 22 finite values"),
        (nothing, ConfigurationError, "reference: found None, required an ArrayRecord"),
        (plain_dictionary, ConfigurationError, "reference: found 'dict', required an ArrayRecord"),
        (imaginary, ConfigurationError, r"reference\['fc.weight'\]: found 'complex64', required an update of shape"),
        (in_text, ConfigurationError, "reference: found \"serialization 'text'\", required numpy.ndarray"),
    ],
)
@pytest.mark.parametrize("hidden", [True, False])
def test_a_reference_that_fails_ends_the_run_masked_or_not(reference, error, why, hidden, tmp_path):
    nodes = MaskedNodes(4, tmp_path)
    options = {"rule": ReferenceTrust(), "reference": reference}
    strategy = masked(nodes.roster, masking=BESIDE, **options) if hidden else plain(nodes, **options)
    grid = nodes.grid() if hidden else FakeGrid(robust_nodes(nodes.identities))
    with pytest.raises(error, match=why):
        strategy.start(grid, record(model()), num_rounds=1)


def test_a_rule_without_its_reference_is_found_before_the_first_message():
    _, roster = federation(4)
    rule = NearestNeighborMixing(f=1) >> ReferenceTrust()
    assert rule.needs_reference and not Mean().needs_reference and not NearestNeighborMixing(f=1).needs_reference
    with pytest.raises(ConfigurationError, match="reference: found None, required a function that gives"):
        RobustAggregation(FedAvg(), rule=rule, roster=roster, norm_bound=C)


def test_a_rule_that_looks_at_no_reference_sums_as_without_one(tmp_path):
    steps = []
    for given in (None, Asked()):
        nodes = MaskedNodes(5, tmp_path)
        old, new = trajectory(masked(nodes.roster, reference=given), nodes.grid(), 1)
        steps.append(moving(new) - moving(old))
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-3)
