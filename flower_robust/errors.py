"""The one error tree. Every error says what was found, what was required and, where somebody is to blame, who.

RobustError
├── ConfigurationError      a person gave an option that cannot work; found before the first message
│   └── TooFewRows          fewer rows than the rule's breakdown point needs
├── CorruptFile             a file on disk is not what was written; it is left as it was
├── NonFiniteRows           NaN or Inf reached an aggregation rule
├── QuorumNotReached        fewer accepted clients than the quorum
├── NotEnoughShares         a masked step has fewer usable replies than its threshold; nothing was opened
├── IsolatingWeights        the decision would single out a client, so the sum stays closed
├── Unfollowed              too few updates point with the server's own for a sum; the model stays as it is
├── RoundAborted            a masked round ended without a result; it carries the reason and everybody blamed
├── SumOutOfRange           the opened sum is out of range: somebody's update wrapped around the modulus
├── FaultyServer            the server broke the protocol; the client refuses to go on
│   └── EquivocatingServer  it signed two things that exclude each other; the error holds both
└── ClientFault             one client broke the protocol; it loses the round, the others go on
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TypeVar


class Certainty(Enum):
    """How surely a fault is its culprit's (docs/protocol.md, sections 6.4 and 8)."""

    PROVEN = "proven"
    """Seen by the server itself: bad signature, wrong shape, norm lie, inconsistent shares."""
    ACCUSED = "accused"
    """Reported by peers only."""
    SILENT = "silent"
    """No reply before the deadline."""


class RobustError(Exception):
    """Root of every error that this package raises on purpose."""


class ConfigurationError(RobustError, ValueError):
    """An option cannot work; one line that names it, what was given and what is allowed. Nobody is blamed."""

    def __init__(self, option: str, given: object, required: str) -> None:
        self.option, self.given, self.required = option, given, required
        super().__init__(f"{option}: found {given!r}, required {required}")


class TooFewRows(ConfigurationError):
    """n rows are fewer than `rule.min_rows()`, its breakdown point at f Byzantine rows."""

    def __init__(self, rule: str, n: int, f: int, required: int) -> None:
        self.rule, self.n, self.f = rule, n, f
        super().__init__("n", n, f"at least {required} rows for {rule} with f={f}")


class CorruptFile(RobustError):
    """A file is not what was written. It is left as it was."""

    def __init__(self, path: object, found: str, required: str) -> None:
        self.path = path
        super().__init__(f"{path}: found {found}, required {required}; the file was left as it was")


class NonFiniteRows(RobustError, ValueError):
    """Rows hold NaN or Inf; `rows` are their indices. Whoever sent them is at fault."""

    def __init__(self, rows: Sequence[int]) -> None:
        self.rows = tuple(rows)
        super().__init__(f"rows {list(self.rows)}: found NaN or Inf, required finite values")


class QuorumNotReached(RobustError):
    """The round has too few accepted clients; the model is left unchanged."""

    def __init__(
        self, server_round: int, expected: int, quorum: int, accepted: int, reasons: Sequence[str] = ()
    ) -> None:
        self.round, self.expected, self.quorum, self.accepted = server_round, expected, quorum, accepted
        because = f" ({'; '.join(reasons)})" if reasons else ""
        super().__init__(
            f"round {server_round}: found {accepted} accepted of {expected} expected, required quorum {quorum}{because}"
        )


class FaultyServer(RobustError):
    """The server sent what no honest server sends; raised at a client, which refuses to go on."""

    def __init__(self, step: str, found: str, required: str) -> None:
        self.step, self.found, self.required = step, found, required
        super().__init__(f"server at {step}: found {found}, required {required}")


class ClientFault(RobustError):
    """One client broke the protocol. Subclasses name how; `certainty` says how surely it was the culprit.

    `culprit` is a roster name, or `node <id>` where no roster name was proven.
    """

    certainty = Certainty.PROVEN

    def __init__(self, culprit: str, step: str, found: str, required: str) -> None:
        self.culprit, self.step, self.found, self.required = culprit, step, found, required
        super().__init__(f"{culprit} at {step}: found {found}, required {required}")

    @property
    def kind(self) -> str:
        """The fault's name, e.g. `NormMismatch`."""
        return type(self).__name__

    def record(self) -> Mapping[str, str]:
        """The fault as strings, for the journal."""
        return {
            "culprit": self.culprit,
            "kind": self.kind,
            "step": self.step,
            "certainty": self.certainty.value,
            "found": self.found,
            "required": self.required,
        }


Fault = TypeVar("Fault", bound=ClientFault)


def accused(fault: Fault) -> Fault:
    """The same fault as a mere accusation: what it rests on could not be checked against a lying responder."""
    fault.certainty = Certainty.ACCUSED
    return fault


class MalformedReply(ClientFault):
    """Not parsable, or a missing, extra or mistyped field, array, shape or dtype."""


class OversizedReply(ClientFault):
    """More bytes than the model and the envelope can need."""


class NonFiniteUpdate(ClientFault):
    """The update holds NaN or Inf."""


class UnknownClient(ClientFault):
    """The signed name or key is not in the roster."""


class BadSignature(ClientFault):
    """A signature is missing or does not verify under the roster's key."""


class StaleCommitment(ClientFault):
    """A commitment to another plan: an earlier round, another run, another model."""


class ReplayedCommitment(ClientFault):
    """A name committed twice in one round, or somebody else's commitment was sent again."""


class DigestMismatch(ClientFault):
    """What arrived is not what was signed."""


class NormMismatch(ClientFault):
    """The committed norm is not the norm of what arrived."""


class NormBoundExceeded(ClientFault):
    """The update is longer than the plan's bound C."""


class ExampleCountLie(ClientFault):
    """A reported example count that is negative, not a number, or above the roster's declared rows."""


class ClientError(ClientFault):
    """The client's own app failed and said so. No lie: it costs what silence costs."""

    certainty = Certainty.SILENT


class NoReply(ClientFault):
    """Nothing arrived before the deadline."""

    certainty = Certainty.SILENT


class SumOutOfRange(RobustError):
    """An opened weighted sum is no sum of clipped updates: an accepted update was not what its sketch said.

    The round is void; a fresh challenge on the same submissions names the culprit.
    """

    def __init__(self, coordinate: int, found: int, bound: int) -> None:
        self.coordinate, self.found, self.bound = coordinate, found, bound
        super().__init__(f"opened sum: found {found} at coordinate {coordinate}, required at most {bound}")


class NotEnoughShares(RobustError):
    """Shares cannot be opened: too few, or too many of them wrong. Nothing was opened.

    `clients` are the indices of those who answered, `wrong` of those already known to have answered wrongly.
    """

    def __init__(self, step: str, needed: int, had: int, clients: Sequence[int], wrong: Sequence[int] = ()) -> None:
        self.step, self.needed, self.had = step, needed, had
        self.clients, self.wrong = tuple(clients), tuple(wrong)
        known = f"; known wrong: clients {list(wrong)}" if wrong else ""
        super().__init__(f"{step}: found {had} shares from clients {list(clients)}, required {needed}{known}")


class InconsistentShares(ClientFault):
    """A dealer's shares lie on no polynomial of the agreed degree."""


class NonZeroSharing(ClientFault):
    """A dealer's sharings of zero share something else, which would shift distances."""


class BadEnvelope(ClientFault):
    """A dealer sealed something else than a share; the envelope was opened in public."""


class FalseComplaint(ClientFault):
    """A receiver complained about an envelope that its dealer opened in public and that was right."""


class WrongPadKey(ClientFault):
    """A dealer disclosed another pad key than the one in the envelope that it opened in public."""


class WrongShare(ClientFault):
    """A responder's values contradict what enough others fix, and nobody dealt it wrong shares."""


class DisputedShares(ClientFault):
    """Dealer and responder contradict each other, and too few others answered to tell who lies."""

    certainty = Certainty.ACCUSED


class IsolatingWeights(RobustError):
    """The decision rests on too few clients to be opened without singling one out; nothing was opened."""

    def __init__(self, found: int, required: int) -> None:
        self.found, self.required = found, required
        super().__init__(f"weights: found {found} clients that carry the sum, required {required}")


class Unfollowed(RobustError):
    """Too few updates point with the server's own to open a sum; nobody is at fault, and the model stays as it is."""

    def __init__(self, rule: str, found: int, required: int) -> None:
        self.rule, self.found, self.required = rule, found, required
        super().__init__(f"{rule}: found {found} clients that point the reference's way, required {required} for a sum")


class RoundAborted(RobustError):
    """A masked round ended without a result and the model stays as it is.

    `reason` says why, `faults` who is blamed so far, `alarms` which clients refused the server and why.
    """

    def __init__(self, reason: RobustError, faults: Sequence[ClientFault], alarms: Mapping[str, RobustError]) -> None:
        self.reason, self.faults, self.alarms = reason, tuple(faults), dict(alarms)
        super().__init__(f"round aborted: {reason}")


class EquivocatingServer(FaultyServer):
    """Two statements under the server's signature contradict each other; `evidence` holds both, encoded.

    `flower-robust verify-evidence` reads it (`protocol.evidence`).
    """

    def __init__(self, step: str, found: str, required: str, evidence: bytes) -> None:
        self.evidence = evidence
        super().__init__(step, found, required)


class Refused(NoReply):
    """The client says that it does not answer: it distrusts the server, or cannot. It costs what silence costs."""
