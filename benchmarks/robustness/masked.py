"""Cells whose rounds are real masked rounds: submissions, sketches, shares, opened distances and one unmasked sum.

Malicious participants follow the protocol and submit crafted updates: whatever else they send is a proven fault.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.robustness.cells import Setting
from benchmarks.robustness.defences import Defence, Defender
from flower_robust.commitments import Identity, Roster, RosterEntry
from flower_robust.commitments.transcript import digest, keys_digest
from flower_robust.protocol.announcement import announce, announcement_digest
from flower_robust.protocol.client import MaskedClient
from flower_robust.protocol.decide import with_faults
from flower_robust.protocol.masked_round import exchange_keys
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.server_states import Opened
from flower_robust.protocol.terms import MaskingTerms
from flower_robust.round import run_masked_round
from flower_robust.trust import Evidence

RUN_ID = 1


class MaskedDefender(Defender):
    """Decides as `Defender` does, on what a masked round opens; integer weights and sketched distances included."""

    def __init__(self, defence: Defence, setting: Setting, rows: Sequence[int]) -> None:
        super().__init__(defence, setting, rows)
        self.server = Identity.generate("server")
        identities = [Identity.generate(name) for name in self.names]
        self.roster = Roster(RosterEntry.of(identity, count) for identity, count in zip(identities, rows, strict=True))
        self.clients = {identity.name: MaskedClient(identity, self.roster, RUN_ID) for identity in identities}
        self.keys = tuple(exchange_keys(self.clients, RUN_ID, self.roster).values())
        self.previous: Opened | None = None
        self.number = 0

    def _decided(
        self, rows: Tensor, reference: Tensor, biased: int, generator: torch.Generator
    ) -> tuple[Tensor, Sequence[Evidence]]:
        del reference, biased, generator
        assert self.defence.trust is not None
        self.number += 1
        trust = dict(zip(self.names, self.defence.trust.weights(self.state, self.names), strict=True))
        outcome = run_masked_round(
            self._plan(rows.shape[1]),
            self.keys,
            roster=self.roster,
            server=self.server,
            clients=self.clients,
            updates={name: row.numpy() for name, row in zip(self.names, rows, strict=True)},
            rule=self.rule,
            trust=trust,
            previous=self.previous,
        )
        self.previous = outcome.opened
        return torch.from_numpy(outcome.aggregate), with_faults(outcome.decision.evidence, outcome.faults, self.names)

    def _plan(self, d: int) -> RoundPlan:
        masking = MaskingTerms.create(
            n=len(self.names),
            d=d,
            norm_bound=self.norm_bound,
            server_key=self.server.public_key,
            keys_digest=keys_digest(self.keys),
            previous=announcement_digest(announce(self.previous) if self.previous else b""),
        )
        return RoundPlan.create(
            run_id=RUN_ID,
            round=self.number,
            roster=self.roster,
            cohort=self.roster.names,
            rule=self.rule,
            norm_bound=self.norm_bound,
            model_digest=digest("bench"),
            masking=masking,
        )


def defender_of(defence: Defence, setting: Setting, rows: Sequence[int]) -> Defender:
    """One cell's defence in action, masked or not."""
    return (MaskedDefender if defence.masked else Defender)(defence, setting, rows)
