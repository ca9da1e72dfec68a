"""A small federation for tests of the masked protocol: deterministic entropy, clients that tests can replace."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from flower_robust.aggregation import Rule
from flower_robust.commitments import Identity, Roster, RosterEntry
from flower_robust.commitments.transcript import keys_digest
from flower_robust.protocol.announcement import announce, announcement_digest
from flower_robust.protocol.client import MaskedClient
from flower_robust.protocol.masked_round import MaskedOutcome, exchange_keys, run_masked_round
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.reference import PublicRow
from flower_robust.protocol.server_states import Opened
from flower_robust.protocol.terms import MaskingTerms

SERVER = Identity.from_seed("server", b"\x07" * 32)


def entropy_of(label: str) -> Callable[[], bytes]:
    """A stream of 32-byte strings that only depends on the label."""
    count = 0

    def draw() -> bytes:
        nonlocal count
        count += 1
        return hashlib.sha256(f"{label}/{count}".encode()).digest()

    return draw


@dataclass
class World:
    """n clients, one run. `make` may replace a client: name -> class."""

    n: int
    d: int = 3000
    t: int | None = None
    norm_bound: float = 1.0
    run_id: int = 5
    seed: int = 0
    make: Mapping[int, type[MaskedClient]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = [f"h{i}" for i in range(self.n)]
        self.identities = {
            name: Identity.from_seed(name, hashlib.sha256(f"id/{self.seed}/{name}".encode()).digest())
            for name in self.names
        }
        self.roster = Roster([RosterEntry.of(identity) for identity in self.identities.values()])
        self.clients = {
            name: self.make.get(i, MaskedClient)(
                self.identities[name], self.roster, self.run_id, entropy_of(f"{self.seed}/{name}")
            )
            for i, name in enumerate(self.names)
        }
        self.keys = tuple(exchange_keys(self.clients, self.run_id, self.roster).values())

    def plan(self, rule: Rule, round: int = 1, previous: Opened | None = None, **terms: object) -> RoundPlan:
        """A plan for everybody."""
        return self.planned(rule, round, previous, None, **terms)[0]

    def planned(
        self, rule: Rule, round: int, previous: Opened | None, reference: np.ndarray | None, **terms: object
    ) -> tuple[RoundPlan, PublicRow | None]:
        """A plan for everybody, with the server's own row if there is one."""
        masking = MaskingTerms.create(
            n=self.n,
            d=self.d,
            norm_bound=self.norm_bound,
            server_key=SERVER.public_key,
            keys_digest=keys_digest(self.keys),
            threshold=self.t,
            previous=announcement_digest(announce(previous) if previous else b""),
            seeds=hashlib.sha512(f"seeds/{self.seed}/{round}".encode()).digest(),
            **terms,  # type: ignore[arg-type]
        )
        row = None
        if reference is not None:
            row = PublicRow.of(reference, masking, hashlib.sha256(b"salt").digest())
            masking = replace(masking, reference=row.digest)
        plan = RoundPlan.create(
            run_id=self.run_id,
            round=round,
            roster=self.roster,
            cohort=self.names,
            rule=rule,
            norm_bound=self.norm_bound,
            model_digest=hashlib.sha256(b"model").digest(),  # type: ignore[arg-type]
            nonce=hashlib.sha256(f"{self.seed}/{round}".encode()).digest()[:16],
            masking=masking,
        )
        return plan, row

    def updates(self, spread: float = 0.3, norm: float = 0.5, seed: int | None = None) -> dict[str, np.ndarray]:
        """Honest updates: one direction and noise, of L2 norm `norm`·C."""
        rng = np.random.default_rng(self.seed if seed is None else seed)
        common = rng.standard_normal(self.d)
        out = {}
        for name in self.names:
            row = common + spread * rng.standard_normal(self.d)
            out[name] = (row * norm * self.norm_bound / np.linalg.norm(row)).astype(np.float32)
        return out

    def run(
        self,
        rule: Rule,
        updates: Mapping[str, np.ndarray] | None = None,
        trust: Mapping[str, float] | None = None,
        previous: Opened | None = None,
        plan: RoundPlan | None = None,
        round: int = 1,
        reference: np.ndarray | None = None,
        **terms: object,
    ) -> MaskedOutcome:
        """One masked round."""
        planned, row = self.planned(rule, round, previous, reference, **terms)
        return run_masked_round(
            plan or planned,
            self.keys,
            roster=self.roster,
            server=SERVER,
            clients=self.clients,
            updates=updates or self.updates(),
            rule=rule,
            trust=trust or dict.fromkeys(self.names, 1.0),
            previous=previous,
            entropy=entropy_of(f"server/{self.seed}/{round}"),
            reference=row,
        )
