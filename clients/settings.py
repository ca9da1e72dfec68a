"""The options of one run, the same for CLI, ServerApp and ClientApp; checked whole before anything is sent.

They travel as Flower's run config (`[tool.flwr.app.config]`), keys in kebab case. "auto" takes the data set's
recipe, or
what the other options imply.
"""

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Protocol, TypeVar

from clients.attacks import ATTACKS, Attack, Knowledge
from clients.datasets import DATASETS, FEDERATED, STANDARDISATIONS, Federation, load_federation
from clients.models import MODELS
from clients.partitions import PARTITIONS
from clients.task import Schedule
from flower_robust.errors import ConfigurationError
from flower_robust.masking.thresholds import check_threshold, default_threshold

ARMS = ("fedavg", "robust")
AUTO = "auto"
Value = str | int | float | bool
Chosen = TypeVar("Chosen", bound=Value)

RECIPES: dict[str, dict[str, Value]] = {
    "breast-cancer": {"hospitals": 10, "partition": "iid", "standardise": "pooled", "rounds": 10, "local-steps": 20,
                      "batch-size": 16, "learning-rate": 0.05, "norm-bound": 1.0, "rule": "nnm >> geometric-median"},
    "digits": {"hospitals": 10, "partition": "iid", "standardise": "none", "rounds": 15, "local-steps": 30,
               "batch-size": 16, "learning-rate": 0.1, "norm-bound": 2.0, "rule": "nnm >> geometric-median"},
    "heart": {"hospitals": 4, "partition": "natural", "standardise": "pooled", "rounds": 15, "local-steps": 100,
              "batch-size": 4, "learning-rate": 0.01, "norm-bound": 1.0,
              "rule": "nnm >> centered-clipping(radius=0.05, steps=10)"},
}  # fmt: skip
"""What "auto" means, by data set. Heart follows FLamby's 15 rounds of 100 steps of 4 rows, at a rate that converges;
its rule clips
the outlier's pull instead of dropping it, because with four hospitals the furthest one is honest Switzerland."""


@dataclass(frozen=True)
class Settings:
    """One run. `from_config` reads and checks it; every value is final: nothing is "auto" any more."""

    dataset: str
    data_dir: str
    hospitals: int
    partition: str
    alpha: float
    standardise: str
    model: str
    rounds: int
    local_steps: int
    batch_size: int
    learning_rate: float
    rule: str
    f: int
    norm_bound: float
    momentum: float
    root_rows: int
    threshold: int
    min_accepted: int
    strict: bool
    server_identity: str
    step_timeout: float
    attack: str
    strength: float
    knowledge: str
    malicious: tuple[str, ...]
    seed: int
    arms: tuple[str, ...]
    out: str
    trust_file: str
    roster: str

    @classmethod
    def from_config(cls, config: Mapping[str, Value]) -> "Settings":
        """The settings of a run config, with every "auto" resolved.

        Raises ConfigurationError naming the first option that cannot work, what was given and what is allowed. The data
        set is read and dealt here, so that a missing folder or a wrong checksum is found too.
        """
        given = _resolved(config)
        federation = given.federation()
        named = replace(given, malicious=_malicious(given.malicious[0], given.attack, federation.names))
        settings = named if named.f >= 0 else replace(named, f=max(1, len(named.malicious)))
        _check_attack(settings, federation)
        MODELS[settings.model](federation.shape, federation.classes)
        return settings

    def to_config(self) -> dict[str, Value]:
        """The run config that reads back as these settings."""
        values = {name.replace("_", "-"): value for name, value in asdict(self).items()}
        return {key: ",".join(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @property
    def schedule(self) -> Schedule:
        """How a hospital trains in one round."""
        return Schedule(self.local_steps, self.batch_size, self.learning_rate)

    def federation(self) -> Federation:
        """The hospitals and their rows: the same wherever it is called with the same settings."""
        return load_federation(
            self.dataset,
            hospitals=self.hospitals,
            partition=self.partition,
            alpha=self.alpha,
            seed=self.seed,
            data_dir=self.data_dir,
            standardise=self.standardise,
            root_rows=self.root_rows,
        )

    def attack_of(self, hospital: str) -> Attack:
        """What this hospital does; honest ones do "none"."""
        return ATTACKS[self.attack if hospital in self.malicious else "none"]


def _resolved(config: Mapping[str, Value]) -> Settings:
    known = {field.name.replace("_", "-") for field in fields(Settings)}
    if unknown := sorted(config.keys() - known):
        raise ConfigurationError("run config", unknown[0], f"one of {', '.join(sorted(known))}")
    options = _Options(config)
    dataset = options.choice("dataset", DATASETS)
    options.recipe = RECIPES[dataset]
    attack = options.choice("attack", ATTACKS)
    return Settings(
        dataset=dataset,
        data_dir=options.text("data-dir"),
        hospitals=options.whole("hospitals", 1),
        partition=options.choice("partition", PARTITIONS),
        alpha=options.positive("alpha"),
        standardise=_standardise(options),
        model=options.choice("model", MODELS),
        rounds=options.whole("rounds", 1),
        local_steps=options.whole("local-steps", 1),
        batch_size=options.whole("batch-size", 1),
        learning_rate=options.positive("learning-rate"),
        rule=options.text("rule"),
        f=-1 if options.is_auto("f") else options.whole("f", 0),
        norm_bound=options.positive("norm-bound"),
        momentum=options.momentum("momentum"),
        root_rows=options.whole("root-rows", 0),
        threshold=_threshold(options),
        min_accepted=_min_accepted(options),
        strict=_masked_only(options, "strict", options.flag("strict"), False),
        server_identity=_masked_only(options, "server-identity", options.text("server-identity"), ""),
        step_timeout=options.positive("step-timeout"),
        attack=attack,
        strength=ATTACKS[attack].strength if options.is_auto("strength") else options.positive("strength"),
        knowledge=_knowledge(options, ATTACKS[attack]),
        malicious=(options.text("malicious"),),
        seed=options.whole("seed", 0),
        arms=tuple(options.listed("arms", ARMS)),
        out=options.text("out"),
        trust_file=options.text("trust-file"),
        roster=options.text("roster"),
    )


def _standardise(options: "_Options") -> str:
    """In masked runs, a recipe's pooled statistics are summed in secret."""
    chosen = options.choice("standardise", STANDARDISATIONS)
    masked = options.is_open("standardise") and chosen == "pooled" and _threshold(options) > 0
    if chosen == FEDERATED and not _threshold(options):
        raise ConfigurationError("standardise", chosen, "a threshold above 0: the sums are masked")
    return FEDERATED if masked else chosen


def _threshold(options: "_Options") -> int:
    if options.is_auto("threshold"):
        return default_threshold(options.whole("hospitals", 1))
    threshold = options.whole("threshold", 0)
    if threshold:
        check_threshold(options.whole("hospitals", 1), threshold)
    return threshold


def _min_accepted(options: "_Options") -> int:
    """The fewest hospitals in a sum that is opened: 2t + 1 unless more are asked for; 0 where nothing is masked."""
    n, t = options.whole("hospitals", 1), _threshold(options)
    if options.is_auto("min-accepted"):
        return 2 * t + 1 if t else 0
    fewest = _masked_only(options, "min-accepted", options.whole("min-accepted", 0), 0)
    if t and not t + 2 <= fewest <= n:
        raise ConfigurationError("min-accepted", fewest, f"t + 2 = {t + 2} to {n} hospitals")
    return fewest


def _masked_only(options: "_Options", key: str, chosen: Chosen, nothing: Chosen) -> Chosen:
    if chosen != nothing and not _threshold(options):
        raise ConfigurationError(key, options.text(key), "a threshold above 0: it binds masked rounds")
    return chosen


def _knowledge(options: "_Options", attack: Attack) -> str:
    if options.is_auto("knowledge"):
        return Knowledge.OWN.value if attack.knowledge is Knowledge.OWN else Knowledge.ALL.value
    allowed = [level.value for level in Knowledge if attack.knowledge is Knowledge.OWN or level is not Knowledge.OWN]
    return options.choice("knowledge", allowed)


def _malicious(given: str, attack: str, names: tuple[str, ...]) -> tuple[str, ...]:
    count = ("0" if attack == "none" else str(max(1, len(names) // 5))) if given == AUTO else given
    if count.lstrip("-").isdigit():
        least = 0 if attack == "none" else 1
        if not least <= int(count) < len(names):
            raise ConfigurationError("malicious", int(count), f"{least} to {len(names) - 1} of {len(names)} hospitals")
        chosen = names[: int(count)]
    else:
        chosen = tuple(name.strip() for name in count.split(",") if name.strip())
        if unknown := [name for name in chosen if name not in names]:
            raise ConfigurationError("malicious", unknown[0], f"a number, or names out of {', '.join(names)}")
    if chosen and attack == "none":
        raise ConfigurationError("attack", "none", f"what {len(chosen)} malicious hospitals do: {_listed(ATTACKS)}")
    return chosen


def _check_attack(settings: Settings, federation: Federation) -> None:
    attack, liars = ATTACKS[settings.attack], len(settings.malicious)
    if settings.threshold and attack.tampering == "norm-lie":
        raise ConfigurationError("attack", attack.name, "threshold 0: in masked rounds nobody signs a norm in clear")
    known = {"own": 1, "colluders": liars, "all": len(federation.names) - liars}[settings.knowledge]
    if liars and known < attack.known:
        found = f"{settings.knowledge} ({known} updates)"
        raise ConfigurationError("knowledge", found, f"at least {attack.known} known updates for {attack.name}")


class _Names(Container[str], Iterable[str], Protocol):
    """Names to choose from: a tuple, or the keys of a registry."""


class _Options:
    """Reads run config values of any type, one named option at a time."""

    def __init__(self, config: Mapping[str, Value]) -> None:
        self.config = config
        self.recipe: dict[str, Value] = {}

    def text(self, key: str) -> str:
        if key not in self.config:
            raise ConfigurationError(key, None, "a value")
        value = str(self.config[key]).strip()
        return str(self.recipe[key]) if value == AUTO and key in self.recipe else value

    def is_open(self, key: str) -> bool:
        """Whether the choice is left to us, even where the recipe has one."""
        return str(self.config.get(key)).strip() == AUTO

    def is_auto(self, key: str) -> bool:
        return self.text(key) == AUTO

    def choice(self, key: str, allowed: _Names) -> str:
        value = self.text(key)
        if value not in allowed:
            raise ConfigurationError(key, value, f"one of {_listed(allowed)}")
        return value

    def listed(self, key: str, allowed: _Names) -> list[str]:
        values = [value.strip() for value in self.text(key).split(",")]
        for value in values:
            if value not in allowed:
                raise ConfigurationError(key, value, f"one or more of {_listed(allowed)}")
        return values

    def flag(self, key: str) -> bool:
        if (value := self.text(key).lower()) not in ("true", "false"):
            raise ConfigurationError(key, value, "true or false")
        return value == "true"

    def whole(self, key: str, least: int) -> int:
        value = self.text(key)
        if not value.lstrip("-").isdigit() or int(value) < least:
            raise ConfigurationError(key, value, f"a whole number of at least {least}")
        return int(value)

    def positive(self, key: str) -> float:
        number = self.number(key)
        if not 0 < number < float("inf"):
            raise ConfigurationError(key, self.text(key), "a finite number above 0")
        return number

    def momentum(self, key: str) -> float:
        number = self.number(key)
        if not 0 <= number < 1:
            raise ConfigurationError(key, self.text(key), "a number of at least 0 and below 1")
        return number

    def number(self, key: str) -> float:
        try:
            return float(self.text(key))
        except ValueError:
            return math.nan


def _listed(allowed: _Names) -> str:
    return ", ".join(allowed)
