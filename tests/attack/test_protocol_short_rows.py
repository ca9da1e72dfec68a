"""Rows of almost no length: a rule that carries rows to the length of a reference gives them almost any weight."""

import numpy as np
import pytest
import torch

from flower_robust.aggregation import Mean, ReferenceTrust, Weighting
from flower_robust.protocol.decide import voices
from tests.property.test_protocol_reference import TRUSTING, clear, cosine, reference_of
from tests.property.test_protocol_round import hospital_updates
from tests.protocol_world import World


@pytest.mark.parametrize(
    ("n", "t", "short", "norm"), [(7, 1, 3, 0.01), (7, 1, 4, 0.01), (11, 2, 5, 0.01), (7, 1, 4, 0.0)]
)
def test_rows_of_almost_no_length_do_not_take_the_sum(n: int, t: int, short: int, norm: float) -> None:
    """2t + 1 carry a sum: at cosine .3 they weighed 0.3/0.9·50 times an honest one each. 0: the model unchanged."""
    for seed in range(3):
        world = World(n=n, d=8000, t=t, seed=seed)
        updates = hospital_updates(world, seed, iid=True)
        honest = np.mean([updates[name] for name in world.names[short:]], axis=0)
        reference = (0.3 * honest / np.linalg.norm(honest)).astype(np.float32)
        aside = np.random.default_rng(seed).standard_normal(world.d)
        aside -= reference * (aside @ reference) / 0.09
        lie = norm * (reference + 0.95 * aside / np.linalg.norm(aside))
        updates |= dict.fromkeys(world.names[:short], lie.astype(np.float32))
        masked = world.run(ReferenceTrust(), updates, reference=reference)
        _, aggregate = clear(world, updates, ReferenceTrust(), reference)
        weights = masked.opened.decided.weights[0].astype(int)
        assert weights[:short].max() <= 85 < weights[short:].min()
        assert cosine(masked.aggregate, reference) > 0.95
        assert 0.85 < np.linalg.norm(masked.aggregate) / np.linalg.norm(aggregate) < 1.02


@pytest.mark.parametrize("rule", [*TRUSTING, Mean()], ids=repr)
def test_voices_scale_short_rows_down_and_nothing_up(rule: Weighting) -> None:
    world = World(n=7, d=8000, t=1)
    updates = {name: np.float32(k / 4) * row for k, (name, row) in enumerate(world.updates().items())}
    reference = world.updates()["h0"]
    decision, _ = clear(world, updates, rule, reference)
    shares = voices(decision, rule) / decision.weights
    lengths = torch.arange(1, 7, dtype=torch.float64) / 4
    expected = lengths.clamp(max=1) if rule.needs_reference else torch.ones(6, dtype=torch.float64)
    torch.testing.assert_close(shares[1:], expected, rtol=1e-5, atol=0)


def test_a_row_of_almost_no_length_does_not_scale_the_others_up() -> None:
    """Its weight is |r| / |x|, a thousand times the others'; unmasked its product with so short a row is as short."""
    world = World(n=9, d=8000, t=2)
    updates = hospital_updates(world, 0, iid=True)
    reference = reference_of(world, updates, 0.3)
    updates["h0"] = (reference / 300).astype(np.float32)
    outcome = world.run(ReferenceTrust(), updates, reference=reference)
    assert outcome.decision.weights is not None and float(outcome.decision.weights.sum()) > 10
    _, aggregate = clear(world, updates, ReferenceTrust(), reference)
    assert np.linalg.norm(outcome.aggregate) <= 0.3
    assert cosine(outcome.aggregate, aggregate) > 0.95
    assert 0.8 < np.linalg.norm(outcome.aggregate) / np.linalg.norm(aggregate) < 1.02
