"""Every option that cannot work is refused in one line that names it, what was given and what is allowed."""

from pathlib import Path

import pytest

from clients.members import simulated_identity
from clients.settings import RECIPES, Settings
from flower_robust.aggregation import rule_from_text
from flower_robust.errors import ConfigurationError, RobustError
from server.rules import rule_of
from tests.simulated import DEFAULTS, settings_for


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "mnist"}, "dataset: found 'mnist', required one of breast-cancer, digits, heart"),
        ({"model": "gpt"}, "model: found 'gpt', required one of logistic, mlp, cnn"),
        ({"model": "cnn"}, "model: found 'cnn', required logistic or mlp"),
        ({"partition": "random"}, "partition: found 'random', required one of iid, dirichlet, natural"),
        ({"partition": "natural"}, "partition: found 'natural', required iid or dirichlet"),
        ({"hospitals": 0}, "hospitals: found '0', required a whole number of at least 1"),
        ({"hospitals": -3}, "hospitals: found '-3'"),
        ({"hospitals": "many"}, "hospitals: found 'many'"),
        ({"hospitals": 1000}, "hospitals: found 1000, required 1 to 71"),
        ({"rounds": 0}, "rounds: found '0'"),
        ({"local-steps": 1.5}, "local-steps: found '1.5', required a whole number"),
        ({"learning-rate": 0}, "learning-rate: found '0', required a finite number above 0"),
        ({"learning-rate": "nan"}, "learning-rate: found 'nan'"),
        ({"norm-bound": "inf"}, "norm-bound: found 'inf'"),
        ({"momentum": 1}, "momentum: found '1', required a number of at least 0 and below 1"),
        ({"momentum": "much"}, "momentum: found 'much'"),
        ({"alpha": -1}, "alpha: found '-1'"),
        ({"seed": -1}, "seed: found '-1', required a whole number of at least 0"),
        ({"f": -1}, "f: found '-1', required a whole number of at least 0"),
        ({"attack": "nuke"}, "attack: found 'nuke', required one of none, label-flip"),
        ({"attack": "sign-flip", "strength": 0}, "strength: found '0'"),
        ({"attack": "sign-flip", "malicious": 11}, "malicious: found 11, required 1 to 9 of 10 hospitals"),
        ({"attack": "sign-flip", "malicious": -1}, "malicious: found -1, required 1 to 9"),
        ({"attack": "sign-flip", "malicious": 0}, "malicious: found 0, required 1 to 9"),
        ({"attack": "sign-flip", "malicious": "bern"}, "malicious: found 'bern', required a number, or names out of"),
        ({"malicious": 2}, "attack: found 'none', required what 2 malicious hospitals do"),
        ({"attack": "ipm", "knowledge": "own"}, "knowledge: found 'own', required one of colluders, all"),
        ({"attack": "alie", "knowledge": "colluders", "malicious": 1}, "required at least 2 known updates for alie"),
        ({"threshold": 2, "strict": "maybe"}, "strict: found 'maybe', required true or false"),
        ({"strict": True}, "strict: found 'True', required a threshold above 0: it binds masked rounds"),
        ({"min-accepted": 5}, "min-accepted: found '5', required a threshold above 0"),
        ({"server-identity": "/key.json"}, "server-identity: found '/key.json', required a threshold above 0"),
        ({"step-timeout": 0}, "step-timeout: found '0', required a finite number above 0"),
        ({"threshold": 2, "min-accepted": "most"}, "min-accepted: found 'most', required a whole number"),
        ({"threshold": 2, "min-accepted": 3}, "min-accepted: found 3, required t + 2 = 4 to 10 hospitals"),
        ({"threshold": 2, "min-accepted": 11}, "min-accepted: found 11, required t + 2 = 4 to 10 hospitals"),
        ({"arms": "fedavg,magic"}, "arms: found 'magic', required one or more of fedavg, robust"),
        ({"dataset": "heart", "data-dir": "/nowhere"}, "data-dir: found '/nowhere', required an existing folder"),
        ({"colour": "red"}, "run config: found 'colour', required one of alpha, "),
    ],
)
def test_options_that_cannot_work(options: dict[str, object], message: str) -> None:
    with pytest.raises(RobustError) as refusal:
        Settings.from_config({**DEFAULTS, **options})
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(("text", "f", "n", "most"), [("krum", 4, 10, "0 to 3"), ("geometric-median", 5, 10, "0 to 4")])
def test_f_too_large_names_the_largest(text: str, f: int, n: int, most: str) -> None:
    with pytest.raises(ConfigurationError, match=f"f: found {f}, required {most}"):
        rule_of(text, f, n)
    assert rule_of(text, f - 1, n).min_rows() <= n


def test_unknown_rules_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(ConfigurationError, match=r"rule: found 'magic', required one of .*krum"):
        rule_of("magic", 1, 10)


@pytest.mark.parametrize("dataset", [name for name in RECIPES if name != "heart"])
def test_settings_read_back_and_recipes_are_whole(dataset: str) -> None:
    settings = settings_for(dataset=dataset, attack="ipm", malicious="hospital-03,hospital-05")
    assert Settings.from_config(settings.to_config()) == settings
    assert settings.malicious == ("hospital-03", "hospital-05") and settings.f == 2 and settings.knowledge == "all"
    assert "auto" not in settings.to_config().values()


def test_what_binds_masked_rounds_reads_back() -> None:
    assert settings_for(threshold=2).min_accepted == 5 and not settings_for().min_accepted
    settings = settings_for(threshold=2, min_accepted=6, strict=True, server_identity="/server.json")
    assert (settings.min_accepted, settings.strict, settings.server_identity) == (6, True, "/server.json")
    assert Settings.from_config(settings.to_config()) == settings


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_recipes_name_rules_that_fit_their_hospitals(recipe: dict[str, object]) -> None:
    n = int(str(recipe["hospitals"]))
    rule_of(str(recipe["rule"]), max(1, n // 5), n)
    assert rule_from_text(str(recipe["rule"]), 1).f == 1


def test_a_hospital_s_key_depends_on_seed_and_name(tmp_path: Path) -> None:
    one, other = settings_for(seed=1), settings_for(seed=2)
    keys = {simulated_identity(s, name).public_key for s in (one, other) for name in ("hospital-01", "hospital-02")}
    assert len(keys) == 4 and simulated_identity(one, "hospital-01").public_key in keys
