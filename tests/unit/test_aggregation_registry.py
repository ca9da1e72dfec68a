"""Rules by name: reading, printing, refusing."""

import pytest
import torch

from flower_robust.aggregation import (
    ALIASES,
    RULES,
    AdaptiveClipping,
    Bucketing,
    Bulyan,
    GeometricMedian,
    Geometry,
    Krum,
    Mean,
    Median,
    MinimumDiameter,
    Mixing,
    MultiKrum,
    NearestNeighborMixing,
    NormClipping,
    Rule,
    TrimmedMean,
    Weighting,
    default_rule,
    rule_from_text,
)
from flower_robust.errors import ConfigurationError, TooFewRows


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("mean", Mean()),
        ("default", default_rule(2)),
        ("default(f=1)", default_rule(1)),
        ("MultiKrum", MultiKrum(f=2)),
        (" multi-krum ", MultiKrum(f=2)),
        ("nnm>>multikrum", NearestNeighborMixing(f=2) >> MultiKrum(f=2)),
        ("NNM >> Multi_Krum(m=3)", NearestNeighborMixing(f=2) >> MultiKrum(f=2, m=3)),
        ("ARC >> bucketing(size=3, seed=4) >> median(f=1)", AdaptiveClipping(f=2) >> Bucketing(3, 4) >> Median(f=1)),
        ("normclipping(bound=2.5) >> rfa", NormClipping(bound=2.5, f=2) >> GeometricMedian(f=2)),
    ],
)
def test_text_becomes_the_rule_it_names(text: str, rule: Rule) -> None:
    assert rule_from_text(text, f=2) == rule


@pytest.mark.parametrize("name", [*RULES, *ALIASES, "default"])
def test_every_repr_is_read_back(name: str) -> None:
    rule = rule_from_text(name, f=3)
    assert rule_from_text(repr(rule)) == rule
    chain = rule_from_text(f"nnm >> {name}", f=3)
    assert rule_from_text(repr(chain)) == chain
    assert hash(rule_from_text(repr(chain))) == hash(chain)


def test_repr_is_what_a_user_types() -> None:
    assert repr(NearestNeighborMixing(f=2) >> MultiKrum(f=2)) == "NearestNeighborMixing(f=2) >> MultiKrum(f=2)"
    assert (NearestNeighborMixing(f=2) >> MultiKrum(f=1)).f == 2


@pytest.mark.parametrize(
    "text", ["", "nonsense", "krum >> mean", "nnm >>", "krum(2)", "krum(f=x)", "krum(q=1)", "krum(f=1"]
)
def test_nonsense_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        rule_from_text(text, f=1)
    assert "rule" in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_name_is_answered_with_what_is_allowed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        rule_from_text("krump", f=1)
    assert "'krump'" in str(caught.value) and "multikrum" in str(caught.value)


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("f", [-1, 1.5, True, "2"])
def test_f_that_is_not_a_count_is_refused(name: str, f: object) -> None:
    if name in ("mean", "foolsgold", "referencetrust", "bucketing"):
        pytest.skip("assumes no bound f")
    with pytest.raises(ConfigurationError, match=r"^f: "):
        rule_from_text(name, f=f)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "required"),
    [
        (Mean(), 1),
        (Krum(f=2), 7),
        (MultiKrum(f=2), 7),
        (MultiKrum(f=1, m=9), 9),
        (Bulyan(f=2), 11),
        (TrimmedMean(f=2), 5),
        (NearestNeighborMixing(f=3) >> Krum(f=2), 7),
        (NearestNeighborMixing(f=4) >> Krum(f=2), 9),
        (Bucketing(size=2) >> Krum(f=2), 13),
        (Bucketing(size=2) >> NearestNeighborMixing(f=1) >> TrimmedMean(f=1), 5),
    ],
)
def test_too_few_rows_are_refused_with_n_f_and_the_rule(rule: Rule, required: int) -> None:
    assert rule.min_rows() == required
    rows = torch.randn(required, 5)
    assert rule(rows).shape == (5,)
    for refuse in (lambda: rule.check(required - 1), lambda: rule(rows[: required - 1])):
        if required > 1:
            with pytest.raises(TooFewRows) as caught:
                refuse()
            assert caught.value.n == required - 1 and caught.value.rule == repr(rule)
            assert str(required) in str(caught.value) and f"f={rule.f}" in str(caught.value)


def test_weightings_check_the_geometry_as_well() -> None:
    geometry = Geometry.of(torch.randn(4, 5))
    for name, kind in RULES.items():
        rule = rule_from_text(name, f=0 if name in ("bucketing",) else 5)
        if isinstance(rule, Weighting) and rule.min_rows() > 4:
            with pytest.raises(TooFewRows):
                rule.weights(geometry)
        assert issubclass(kind, Rule)


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (lambda: NormClipping(bound=0.0), "bound"),
        (lambda: NormClipping(bound=float("nan")), "bound"),
        (lambda: Bucketing(size=0), "size"),
        (lambda: MultiKrum(f=1, m=0), "m"),
        (lambda: MinimumDiameter(f=21), "f"),
        (lambda: rule_from_text("centeredclipping(steps=0)"), "steps"),
        (lambda: rule_from_text("centeredclipping(radius=-1)"), "radius"),
    ],
)
def test_options_out_of_range_are_named(make: object, option: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()  # type: ignore[operator]
    assert caught.value.option == option


def test_composition_keeps_the_kind() -> None:
    mixing = NearestNeighborMixing(f=1)
    assert isinstance(mixing >> Bucketing(), Mixing)
    assert isinstance(mixing >> Krum(f=1), Weighting) and not isinstance(mixing >> Krum(f=1), Mixing)
    assert not isinstance(mixing >> Median(), Weighting)
