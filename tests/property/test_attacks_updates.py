"""Update attacks against the formulas of their papers, on random updates."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.attacks import ATTACKS, Knowledge, View, alie, flip_labels, gaussian, ipm, mimic, min_max, min_sum

SEEDS = st.integers(0, 2**31 - 1)
laws = settings(deadline=None, max_examples=30)


def view(seed: int, h: int = 6, d: int = 20) -> View:
    generator = torch.Generator().manual_seed(seed)
    known = torch.randn(h, d, generator=generator, dtype=torch.float64) + 2
    return View(known[0], known, generator)


@laws
@given(seed=SEEDS)
def test_label_flip_is_its_own_inverse(seed: int) -> None:
    y = torch.randint(0, 10, (50,), generator=torch.Generator().manual_seed(seed))
    flipped = flip_labels(y, 10)
    assert torch.equal(flip_labels(flipped, 10), y) and int(flipped.min()) >= 0 and int(flipped.max()) <= 9


@laws
@given(seed=SEEDS, z=st.floats(0.1, 5))
def test_alie_lies_z_deviations_below_the_mean(seed: int, z: float) -> None:
    v = view(seed)
    distance = (v.known.mean(0) - alie(v, z)) / v.known.std(0, correction=0)
    assert torch.allclose(distance, torch.full_like(distance, z))


@laws
@given(seed=SEEDS, epsilon=st.floats(0.1, 20))
def test_ipm_opposes_the_mean(seed: int, epsilon: float) -> None:
    v = view(seed)
    mean = v.known.mean(0)
    assert torch.allclose(ipm(v, epsilon) @ mean / (mean @ mean), torch.tensor(-epsilon, dtype=torch.float64))


@laws
@given(seed=SEEDS)
def test_min_max_hides_behind_the_widest_honest_pair_and_touches_it(seed: int) -> None:
    v = view(seed)
    furthest = (v.known - min_max(v, 1.0)).norm(dim=1).max()
    assert torch.isclose(furthest, torch.cdist(v.known, v.known).max())


@laws
@given(seed=SEEDS)
def test_min_sum_hides_behind_the_widest_honest_sum_and_touches_it(seed: int) -> None:
    v = view(seed)
    spread = (v.known - min_sum(v, 1.0)).square().sum()
    assert torch.isclose(spread, torch.cdist(v.known, v.known).square().sum(1).max())


@laws
@given(seed=SEEDS)
def test_mimic_repeats_an_honest_update(seed: int) -> None:
    v = view(seed)
    assert any(torch.equal(mimic(v, 1.0), row) for row in v.known)


@laws
@given(seed=SEEDS, strength=st.floats(1, 100))
def test_noise_is_as_long_as_asked(seed: int, strength: float) -> None:
    v = view(seed, d=4000)
    assert torch.isclose(gaussian(v, strength).norm(), strength * v.own.norm(), rtol=0.1)


@laws
@given(seed=SEEDS, name=st.sampled_from(sorted(name for name, a in ATTACKS.items() if a.update is not None)))
def test_attacks_are_functions_of_what_they_see(seed: int, name: str) -> None:
    attack, first, again = ATTACKS[name], view(seed), view(seed)
    before = first.known.clone()
    assert torch.equal(attack.update(first, attack.strength), attack.update(again, attack.strength))
    assert torch.equal(first.known, before), "an attack may not write to what it saw"


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=lambda attack: attack.name)
def test_attacks_that_read_others_say_so(attack) -> None:
    blind = View(
        torch.ones(3, dtype=torch.float64), torch.full((4, 3), torch.nan, dtype=torch.float64), torch.Generator()
    )
    if attack.knowledge is Knowledge.OWN:
        assert attack.update(blind, attack.strength).isfinite().all()
