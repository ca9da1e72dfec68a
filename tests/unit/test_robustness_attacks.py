"""The adaptive attacks do what they say; the company signal finds minorities and nobody else."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.robustness.threats import THREATS, Scene
from clients.attacks import View
from clients.attacks_adaptive import (
    POISONS,
    TARGET,
    TRIGGER,
    TRIGGER_VALUE,
    ascent,
    in_turns,
    most_damaging,
    sideways,
    slow_poison,
    sybil_cluster,
    vouching_chain,
)
from flower_robust.aggregation import CompanyFilter, Geometry, Mean, StrangerFilter, company, default_rule, joint_excess
from flower_robust.aggregation.company import camp
from flower_robust.commitments.roster import capped_sizes
from flower_robust.errors import ConfigurationError
from flower_robust.flower.options import chosen_rule
from flower_robust.trust import BetaTrust, Evidence


def rows_of(n: int, d: int, seed: int, common: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return rows + common * torch.randn(d, generator=generator, dtype=torch.float64)


def view_of(known: torch.Tensor) -> View:
    return View(known[0], known, torch.Generator().manual_seed(1))


def test_poisons_change_what_they_say_and_leave_the_caller_alone() -> None:
    X, y = torch.zeros(10, 5), torch.arange(10) % 3
    kept = X.clone()
    assert POISONS["label-flip"](X, y, 3)[1].tolist() == (2 - y).tolist()
    assert POISONS["label-shift"](X, y, 3)[1].tolist() == ((y + 1) % 3).tolist()
    assert set(POISONS["label-single"](X, y, 3)[1].tolist()) == {TARGET}
    worn_X, worn_y = POISONS["backdoor"](X, y, 3)
    assert (worn_X[:5, list(TRIGGER)] == TRIGGER_VALUE).all() and (worn_X[5:] == 0).all()
    assert (worn_y[:5] == TARGET).all() and worn_y[5:].tolist() == y[5:].tolist()
    assert torch.equal(X, kept)


def test_the_search_finds_the_most_damaging_strength() -> None:
    mean, direction = torch.zeros(3), torch.ones(3)
    beyond = lambda x: torch.where(x.norm() > 4, mean, x)  # noqa: E731  a defence that drops what lies beyond 4
    assert torch.equal(most_damaging(mean, direction, (0.5, 1.0, 2.0, 8.0), beyond), 2 * direction)


def test_slow_poison_starts_honest_and_ends_at_the_attack() -> None:
    view = view_of(rows_of(6, 8, 0, 1.0))
    assert torch.allclose(slow_poison(view, 2.0, 0.0), view.own)
    assert torch.allclose(slow_poison(view, 2.0, 1.0), -2 * view.known.mean(0))


def test_sybils_are_closer_together_than_any_honest_pair_and_vouchers_walk_away() -> None:
    known = rows_of(8, 50, 0, 0.3)
    assert torch.pdist(sybil_cluster(view_of(known), 0.5, 4)).max() < torch.pdist(known).min()
    far = (vouching_chain(view_of(known), 3.0, 4) - known.mean(0)).norm(dim=1)
    assert torch.allclose(far, far[-1] * torch.tensor([0.25, 0.5, 0.75, 1.0], dtype=torch.float64))


def test_who_goes_sideways_is_no_company_and_beyond_any_bound() -> None:
    view = view_of(rows_of(8, 400, 0, 0.3))
    sent = torch.stack([sideways(view, 0.6) for _ in range(4)])
    cosines = torch.nn.functional.cosine_similarity(sent[:, None], sent[None], dim=2)
    assert torch.allclose(cosines[~torch.eye(4, dtype=torch.bool)], torch.tensor(0.36).double(), atol=0.15)
    to_mean = torch.cosine_similarity(sent, view.known.mean(0)[None])
    assert torch.allclose(to_mean, torch.tensor(-0.6).double(), atol=1e-6) and sent.norm(dim=1).min() > 100


def test_ascent_finds_the_steepest_way_that_is_against_nobody() -> None:
    known, uphill = rows_of(8, 50, 0, 0.3), rows_of(1, 50, 1, 0.0)[0]
    found = ascent(known, lambda step: step @ uphill, 0.5, torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(known.T).Q
    best = uphill - basis @ (basis.T @ uphill)
    assert torch.allclose(known @ found, torch.zeros(8).double(), atol=1e-9)
    assert float(torch.cosine_similarity(found, best, dim=0)) > 0.99


def test_on_off_attackers_attack_every_second_five_rounds() -> None:
    assert [in_turns(r) for r in range(1, 13)] == [False] * 5 + [True] * 5 + [False] * 2


@pytest.mark.parametrize("name", [name for name, threat in THREATS.items() if threat.craft])
def test_every_threat_leaves_the_honest_rows_alone(name: str) -> None:
    rows = rows_of(10, 20, 0, 0.5).float()
    harm = lambda knowledge: lambda step: step.sum()  # noqa: E731
    scene = Scene(rows, 3, 7, 40, torch.Generator().manual_seed(0), lambda x: x.mean(0), harm, 1.0)
    sent = THREATS[name].malicious_rows(scene)
    assert sent.shape == rows.shape and torch.equal(sent[:7], rows[:7]) and bool(torch.isfinite(sent).all())


def test_hidden_liars_are_as_long_as_the_longest_honest_row_and_as_unlike_each_other() -> None:
    rows = rows_of(10, 4000, 0, 0.3).float()
    harm = lambda knowledge: lambda step: step[0]  # noqa: E731
    sent = {
        name: THREATS[name].malicious_rows(
            Scene(rows, 4, 1, 9, torch.Generator().manual_seed(0), lambda x: x, harm, 500.0)
        )
        for name in ("hidden", "ascent")
    }
    for name, length, cosine in (("hidden", float(rows[:6].norm(dim=1).max()), 0.36), ("ascent", 500.0, 0.96)):
        liars = sent[name][-4:]
        alike = torch.nn.functional.cosine_similarity(liars[:, None], liars[None], dim=2)
        assert torch.allclose(liars.norm(dim=1), torch.tensor(length), rtol=0.05)
        assert torch.allclose(alike[~torch.eye(4, dtype=torch.bool)], torch.tensor(cosine), atol=0.05)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), f=st.integers(2, 4), scale=st.floats(0.01, 100))
def test_liars_that_push_one_way_are_found_however_long_they_are(seed: int, f: int, scale: float) -> None:
    rows = rows_of(10, 200, seed, 1.0)
    rows[-f:] = -scale * rows[:-f].mean(0) + 0.1 * scale * rows_of(f, 200, seed + 1)
    found = company(Geometry.of(rows), f)
    assert (found[-f:] == 1).all() and (found[:-f] == 0).all()
    assert (CompanyFilter(f).weights(Geometry.of(rows))[-f:] == 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), f=st.integers(0, 4), common=st.floats(0, 3))
def test_independent_rows_are_no_company(seed: int, f: int, common: float) -> None:
    assert (company(Geometry.of(rows_of(10, 200, seed, common)), f) == 0).all()


def test_where_nobody_has_a_size_nobody_weighs() -> None:
    geometry = dataclasses.replace(Geometry.of(rows_of(6, 20, 0)), sizes=torch.zeros(6, dtype=torch.float64))
    for rule in (CompanyFilter(2), StrangerFilter(1)):
        assert (rule.weights(geometry) == 0).all()


def test_copies_of_an_honest_row_share_its_voice_and_frame_nobody() -> None:
    rows = rows_of(10, 200, 0)
    rows[-3:] = rows[0]
    geometry = Geometry.of(rows)
    assert (company(geometry, 3) == 0).all()
    weights = CompanyFilter(3).weights(geometry)
    assert torch.allclose(weights[[0, 7, 8, 9]].sum(), weights[1])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), f=st.integers(2, 4), scale=st.floats(1e-6, 1e6))
def test_where_two_camps_oppose_each_other_nobody_pushes_further_than_an_honest_row(
    seed: int, f: int, scale: float
) -> None:
    honest = torch.linspace(0.5, 1.5, f + 1, dtype=torch.float64)
    rows = rows_of(1, 2000, seed) + 0.5 * rows_of(2 * f + 1, 2000, seed + 1)
    rows *= torch.cat([honest, torch.full((f,), -scale, dtype=torch.float64)])[:, None]
    geometry = Geometry.of(rows)
    weights = CompanyFilter(f).weights(geometry)
    pushes = weights * rows.norm(dim=1)
    assert (company(geometry, f) < 1).all() and float(weights.sum()) == pytest.approx(1)
    assert pushes[-f:].max() <= pushes[:-f].max() * (1 + 1e-9)
    assert int((weights < weights.max() * (1 - 1e-9)).sum()) <= f


def lengthened(rows: torch.Tensor, lengths: list[float]) -> torch.Tensor:
    """The last rows as many times as long as the longest of the others."""
    longest = rows[: -len(lengths)].norm(dim=1).max()
    times = torch.tensor(lengths, dtype=torch.float64) * longest / rows[-len(lengths) :].norm(dim=1)
    return torch.cat([rows[: -len(lengths)], rows[-len(lengths) :] * times[:, None]])


EVEN = torch.full((10,), 0.1, dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3), lengths=st.lists(st.floats(0.1, 9), min_size=2, max_size=4)
)
def test_joint_excess_is_the_most_that_the_longest_rows_push_too_far_together(
    seed: int, scale: float, lengths: list[float]
) -> None:
    f, rows = len(lengths), scale * lengthened(rows_of(10, 200, seed), lengths)
    found, norms = joint_excess(Geometry.of(rows), f), rows.norm(dim=1)
    usual = norms.sort().values[9 - f]
    for i in range(10):
        crowds = [j * (min(top) / usual - 1) for j in range(1, f + 1) if norms[i] in (top := norms.topk(j).values)]
        assert float(found[i]) == pytest.approx(max([0.0, *map(float, crowds)]), abs=1e-6)
    assert int((found > 0).sum()) <= f


def test_who_boasts_about_rows_pushes_further_with_the_same_length() -> None:
    geometry = Geometry.of(torch.eye(10, dtype=torch.float64))
    boast = dataclasses.replace(geometry, sizes=torch.tensor([1.0] * 8 + [1.5, 2.0], dtype=torch.float64))
    assert joint_excess(geometry, 2).tolist() == [0.0] * 10
    assert joint_excess(boast, 2).tolist() == pytest.approx([0.0] * 8 + [1.0, 1.0])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), away=st.booleans())
def test_from_nine_rows_on_who_points_away_from_everybody_is_strange(seed: int, away: bool) -> None:
    for n in (8, 9):
        rows = rows_of(n, 4000, seed) + 0.5 * rows_of(1, 4000, seed + 1)
        rows[-1] = rows_of(1, 4000, seed + 2) - (0.2 if away else -0.2) * rows_of(1, 4000, seed + 1)
        rows[-1] *= 1.2
        assert (StrangerFilter(1).weights(Geometry.of(rows)) == 0).tolist() == [False] * (n - 1) + [away and n > 8]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), f=st.integers(2, 4), length=st.floats(1.0, 3.0))
def test_one_row_that_is_against_nobody_may_be_three_times_as_long(seed: int, f: int, length: float) -> None:
    rows = lengthened(rows_of(10, 2000, seed, 1.0), [length])
    assert torch.allclose(CompanyFilter(f).weights(Geometry.of(rows)), EVEN)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), f=st.integers(2, 4), length=st.floats(1.0, 1.5))
def test_long_rows_that_share_nothing_or_share_it_with_everybody_stay(seed: int, f: int, length: float) -> None:
    for common in (0.0, 1.0):
        rows = lengthened(rows_of(10, 4000, seed, common), [length] * f)
        assert torch.allclose(CompanyFilter(f).weights(Geometry.of(rows)), EVEN)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), f=st.integers(2, 4), length=st.floats(3.5, 1e4), common=st.floats(0, 1))
def test_nobody_pushes_several_times_further_whatever_the_direction(
    seed: int, f: int, length: float, common: float
) -> None:
    rows = lengthened(rows_of(10, 2000, seed, common), [length] * f)
    pushes = CompanyFilter(f).weights(Geometry.of(rows)) * rows.norm(dim=1)
    assert pushes[-f:].max() <= pushes[:-f].max() * (1 + 1e-9)


def going_sideways(seed: int, f: int) -> torch.Tensor:
    rows = rows_of(10, 4000, seed, 0.5)
    view = View(rows[0], rows[:-f], torch.Generator().manual_seed(seed + 1))
    return torch.cat([rows[:-f], torch.stack([sideways(view, 0.6) for _ in range(f)])])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), f=st.integers(2, 4), length=st.floats(1.4, 3))
def test_a_camp_that_goes_sideways_is_left_out_as_soon_as_it_is_long(seed: int, f: int, length: float) -> None:
    long, short = (Geometry.of(lengthened(going_sideways(seed, f), [times] * f)) for times in (length, 1.0))
    found = CompanyFilter(f).weights(long)
    assert (company(long, f) < 1).all() and (camp(long, f)[-f:] == 1).all()
    assert (found[-f:] == 0).all() and (found[:-f] > 0).all()
    assert (company(short, f) == 0).all() and torch.allclose(CompanyFilter(f).weights(short), EVEN)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), length=st.floats(1.4, 5))
def test_a_camp_of_fewer_than_may_lie_is_cut_and_not_left_out(seed: int, length: float) -> None:
    rows = lengthened(going_sideways(seed, 2), [length] * 2)
    weights = CompanyFilter(4).weights(Geometry.of(rows))
    pushes = weights * rows.norm(dim=1)
    assert (weights > 0).all() and pushes[-2:].max() <= pushes[:-2].max() * (1 + 1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), f=st.integers(2, 4), scale=st.floats(0.01, 0.9))
def test_short_liars_make_no_camp_of_the_honest_rows(seed: int, f: int, scale: float) -> None:
    rows = rows_of(10, 2000, seed, 1.0)
    rows[-f:] = -scale * rows[:-f].mean(0) + rows_of(f, 2000, seed + 1) * scale
    assert (CompanyFilter(f).weights(Geometry.of(rows))[:-f] > 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), f=st.integers(2, 4))
def test_company_that_nobody_shares_is_left_out_by_its_length_and_is_no_evidence(seed: int, f: int) -> None:
    rows = rows_of(10, 4000, seed, 0.5)
    rows[-f:] = rows_of(1, 4000, seed + 1) + 0.2 * rows_of(f, 4000, seed + 2)
    short, long = (Geometry.of(lengthened(rows, [times] * f)) for times in (0.9, 1.6))
    assert (CompanyFilter(f).weights(short) > 0).all() and (company(long, f) < 0.1).all()
    weights = CompanyFilter(f).weights(long)
    assert (weights[-f:] == 0).all() and (weights[:-f] > 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), f=st.integers(2, 4), likeness=st.floats(0.9, 0.99))
def test_honest_rows_that_agree_keep_their_voices(seed: int, f: int, likeness: float) -> None:
    honest = likeness**0.5 * rows_of(1, 4000, seed) + (1 - likeness) ** 0.5 * rows_of(10 - f, 4000, seed + 1)
    liars = -0.6 * rows_of(1, 4000, seed) + 0.8 * rows_of(f, 4000, seed + 2)
    weights = CompanyFilter(f).weights(
        Geometry.of(torch.cat([honest, lengthened(torch.cat([honest, liars]), [1.0] * f)[-f:]]))
    )
    assert float(weights[-f:].sum()) <= f / 10 + 0.02


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), f=st.integers(2, 4), likeness=st.floats(0.6, 0.95))
def test_two_honest_sites_with_the_same_rare_rows_are_no_evidence(seed: int, f: int, likeness: float) -> None:
    rows = rows_of(10, 4000, seed)
    rows[-2:] = likeness**0.5 * rows_of(1, 4000, seed + 1) + (1 - likeness) ** 0.5 * rows_of(2, 4000, seed + 2)
    geometry = Geometry.of(lengthened(rows, [1.5, 1.5]))
    assert (company(geometry, f) < 0.1).all()
    if f > 2:
        assert (CompanyFilter(f).weights(geometry) > 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), f=st.integers(2, 4), scale=st.floats(1e-3, 0.5))
def test_short_liars_who_are_found_make_no_honest_row_too_long(seed: int, f: int, scale: float) -> None:
    rows = rows_of(10, 2000, seed, 1.0)
    rows[: f - 1] *= torch.linspace(1.5, 3.3, f - 1, dtype=torch.float64)[:, None]
    rows[-f:] = -scale * rows[:-f].mean(0) + 1e-4 * rows_of(f, 2000, seed + 1)
    weights = CompanyFilter(f).weights(Geometry.of(rows))
    expected = torch.cat([torch.full((10 - f,), 1 / (10 - f)), torch.zeros(f)]).double()
    assert torch.allclose(weights, expected)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), f=st.integers(1, 4))
def test_liars_who_boast_about_rows_never_weigh_more_than_the_others(data: st.DataObject, f: int) -> None:
    n = data.draw(st.integers(2 * f + 1, 12))
    sizes = data.draw(st.lists(st.floats(0.5, 2), min_size=n, max_size=n))
    sizes[-f:] = [2.0] * f
    geometry = Geometry.of(rows_of(n, 2000, 0, 1.0))
    weighed = dataclasses.replace(geometry, sizes=torch.tensor(sizes, dtype=torch.float64))
    weights = default_rule(f).weights(weighed)
    assert float(weights.sum()) == pytest.approx(1) and float(weights[-f:].sum()) <= 0.5 + 1e-9


def test_one_liar_has_no_company() -> None:
    assert [default_rule(f) for f in range(3)] == [Mean(), StrangerFilter(f=1), CompanyFilter(f=2)]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 9), scale=st.floats(1.5, 100))
def test_a_long_liar_that_agrees_with_nobody_is_left_out_alone(seed: int, n: int, scale: float) -> None:
    rows = rows_of(n, 200, seed, 2.0)
    rows[-1] = -scale * rows[:-1].mean(0)
    weights = StrangerFilter(1).weights(Geometry.of(rows))
    assert weights[-1] == 0 and torch.allclose(weights[:-1], torch.full((n - 1,), 1 / (n - 1), dtype=torch.float64))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 12))
def test_alike_rows_stay_and_two_equally_lonely_ones_stay(seed: int, n: int) -> None:
    rows = rows_of(n, 200, seed, 2.0)
    assert (StrangerFilter(1).weights(Geometry.of(rows)) > 0).all()
    pair = torch.tensor([[1.0, 0.1, 0.0], [-1.0, 0.1, 0.0], [0.0, -1.0, 1.0], [0.0, -1.0, -1.0]], dtype=torch.float64)
    assert (StrangerFilter(1).weights(Geometry.of(pair)) > 0).all()


def strangers(*rows: tuple[float, float]) -> list[bool]:
    return (StrangerFilter(1).weights(Geometry.of(torch.tensor(rows, dtype=torch.float64))) == 0).tolist()


def test_a_short_row_is_no_neighbour_and_a_lonely_honest_one_is_not_taken_for_the_liar() -> None:
    near, wide = (1.0, 0.0), (1.0, 0.2)
    assert strangers(near, wide, (-1.5, 0.0), (1.0, 0.1)) == [False, False, True, False]
    # The honest opposite of the others is neither the longest, nor is anybody else lonely.
    assert strangers(near, wide, (-0.8, 0.0), (1.0, 0.1)) == [False] * 4
    # A hair's breadth decides nothing.
    assert strangers(near, wide, (-(1.0198 - 1e-9), 0.0), (1.0, 0.1)) == [False, False, True, False]
    # Its twin turned: both are lonely, and the lonelier sits out.
    assert strangers(near, (0.95, 0.1), (-0.2, 0.97), (-0.3, -0.95)) == [False, False, False, True]


def test_once_the_liar_is_in_quarantine_nobody_is_a_stranger() -> None:
    rows = torch.tensor([(1.0, 0.0), (1.0, 0.2), (-1.5, 0.0), (1.0, 0.1), (0.1, 0.0)], dtype=torch.float64)
    for caught in (2, 4):
        known = dataclasses.replace(Geometry.of(rows), quarantined=torch.arange(5) == caught)
        assert (StrangerFilter(1).weights(known) > 0).all()
    assert int((StrangerFilter(1).weights(Geometry.of(rows)) == 0).sum()) == 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 12), scale=st.floats(1e-3, 1e3))
def test_at_most_one_row_is_a_stranger_whatever_the_scale_and_order(seed: int, n: int, scale: float) -> None:
    rows = rows_of(n, 5, seed) * torch.rand(n, 1, generator=torch.Generator().manual_seed(seed)) * 3
    weights = StrangerFilter(1).weights(Geometry.of(rows))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert int((weights == 0).sum()) <= 1
    assert torch.allclose(StrangerFilter(1).weights(Geometry.of(scale * rows[order])), weights[order])


@pytest.mark.parametrize("f", [1, 2])
def test_without_a_liar_the_default_is_the_mean_by_size(f: int) -> None:
    rows, sizes = rows_of(8, 200, 1, 1.0), torch.tensor([0.6, 1.7, 1, 1, 1.5, 0.7, 1, 1], dtype=torch.float64)
    geometry = Geometry.of(rows)
    assert torch.allclose(default_rule(f).weights(geometry), torch.full((8,), 1 / 8, dtype=torch.float64))
    weighed = dataclasses.replace(geometry, sizes=sizes)
    assert torch.allclose(default_rule(f).weights(weighed), sizes / sizes.sum())
    assert torch.allclose(default_rule(f).weights(weighed.subset(range(1, 8))), sizes[1:] / sizes[1:].sum())


def test_sizes_that_do_not_fit_are_refused() -> None:
    geometry = Geometry.of(rows_of(4, 20, 0))
    for sizes in (torch.ones(3), -torch.ones(4), torch.full((4,), float("nan"))):
        with pytest.raises(ConfigurationError, match="sizes"):
            dataclasses.replace(geometry, sizes=sizes)


def test_a_boast_about_rows_is_capped() -> None:
    rows = THREATS["foe-2@declared"].declared([30, 10, 20, 20, 20], 2)
    assert rows == [30, 10, 20, 3000, 3000] and THREATS["foe-2"].declared(rows, 2) == rows
    assert capped_sizes(rows, rows) == (1.0, 0.5, 2 / 3, 2.0, 2.0)


def test_persistent_company_ends_in_quarantine_and_a_single_round_of_it_does_not() -> None:
    trust = BetaTrust()
    state = trust.init(["liar", "once", "honest"])
    for server_round in range(10):
        shown = {"liar": 1.0, "once": float(server_round == 3), "honest": 0.0}
        seen = [Evidence(name, weight=0.3, distance=1.0, cosine=0.5, company=value) for name, value in shown.items()]
        state = trust.update(state, seen)
    assert trust.quarantined(state) == ("liar",)
    assert state["liar"].mean < state["once"].mean < state["honest"].mean


def test_a_strategy_without_a_rule_takes_the_default_for_a_fifth_of_its_clients() -> None:
    assert chosen_rule(None, None, 10) == CompanyFilter(f=2)
    assert chosen_rule(None, 4, 10) == CompanyFilter(f=4)
    assert chosen_rule(None, None, 4) == StrangerFilter(f=1)
    assert chosen_rule(None, None, 2) == Mean()
    assert chosen_rule(Mean(), None, 10) == Mean()
    for rule, f in ((Mean(), 1), (None, 5), (None, -1), (None, True)):
        with pytest.raises(ConfigurationError, match="f: found"):
            chosen_rule(rule, f, 10)
