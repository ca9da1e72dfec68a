"""Cells whose rounds are real masked rounds: submissions, sketches, shares, opened distances and one unmasked sum.

Malicious participants follow the protocol and submit crafted updates: whatever else they send is a proven fault.
"""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.robustness.cells import Setting
from benchmarks.robustness.defences import Defence, Defender
from flower_robust.commitments import Identity, Roster, RosterEntry
from flower_robust.commitments.transcript import digest, keys_digest
from flower_robust.errors import RoundAborted
from flower_robust.protocol.announcement import announce, announcement_digest
from flower_robust.protocol.client import MaskedClient
from flower_robust.protocol.decide import fault_evidence, with_faults
from flower_robust.protocol.masked_round import exchange_keys
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.reference import PublicRow
from flower_robust.protocol.server_states import Opened
from flower_robust.protocol.terms import MaskingTerms
from flower_robust.round import run_masked_round
from flower_robust.trust import Evidence

RUN_ID = 1


class MaskedDefender(Defender):
    """Decides as `Defender` does, on what a masked round opens; integer weights and sketched distances included.

    A round that opens nothing leaves the model as it is.
    """

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
        del biased, generator
        assert self.defence.trust is not None
        self.number += 1
        plan, row = self._planned(reference.numpy())
        try:
            outcome = run_masked_round(
                plan,
                self.keys,
                roster=self.roster,
                server=self.server,
                clients=self.clients,
                updates={name: row.numpy() for name, row in zip(self.names, rows, strict=True)},
                rule=self.rule,
                trust=dict(zip(self.names, self.defence.trust.weights(self.state, self.names), strict=True)),
                previous=self.previous,
                reference=row,
            )
        except RoundAborted as aborted:
            return torch.zeros(rows.shape[1]), fault_evidence(aborted.faults, self.names)
        self.previous = outcome.opened or self.previous
        return torch.from_numpy(outcome.aggregate), with_faults(outcome.decision.evidence, outcome.faults, self.names)

    def _planned(self, reference: NDArray[np.float32]) -> tuple[RoundPlan, PublicRow | None]:
        """The plan; with the server's own row where the defence has one."""
        masking, row = self._terms(len(reference)), None
        if self.defence.reference:
            row = PublicRow.of(reference, masking, os.urandom(32))
            masking = replace(masking, reference=row.digest)
        return self._plan(masking), row

    def _terms(self, d: int) -> MaskingTerms:
        return MaskingTerms.create(
            n=len(self.names),
            d=d,
            norm_bound=self.norm_bound,
            server_key=self.server.public_key,
            keys_digest=keys_digest(self.keys),
            previous=announcement_digest(announce(self.previous) if self.previous else b""),
        )

    def _plan(self, masking: MaskingTerms) -> RoundPlan:
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
