"""Keys and signed statements: who takes part, and what each of them signed. numpy and cryptography only."""

from flower_robust.commitments.digest import Arrays as Arrays
from flower_robust.commitments.digest import update_digest as update_digest
from flower_robust.commitments.digest import update_norm as update_norm
from flower_robust.commitments.identity import Identity as Identity
from flower_robust.commitments.norm import SignedNormCommitment as SignedNormCommitment
from flower_robust.commitments.roster import Roster as Roster
from flower_robust.commitments.roster import RosterEntry as RosterEntry
from flower_robust.commitments.statement import sign_statement as sign_statement
from flower_robust.commitments.statement import verify_statement as verify_statement

__all__ = [
    "Arrays",
    "Identity",
    "Roster",
    "RosterEntry",
    "SignedNormCommitment",
    "sign_statement",
    "update_digest",
    "update_norm",
    "verify_statement",
]
