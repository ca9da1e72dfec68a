"""Failing on order: a mod outside `robust_mod` that kills, delays or falsifies one hospital at one step of one round.

    faults = "hospital-B:kill@train:2 hospital-C:corrupt@enrol:0"            run config; NAME:KIND@STEP:ROUND

STEP and ROUND are what `hospitals.steps` says of the message; ROUND is 0 before the first round.
Each order is carried out once, also if the SuperNode is restarted.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from flower_robust.flower.envelope import ENVELOPE, REFUSED
from hospitals import killer
from hospitals.steps import round_of, step_of


def faulty_mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Carry out whatever is ordered for this hospital at this step."""
    kind = ordered(message, context)
    if kind in BEFORE:
        BEFORE[kind](context)
    reply = call_next(message, context)
    if kind in AFTER:
        AFTER[kind](reply, context)
    return reply


def ordered(message: Message, context: Context) -> str | None:
    """The kind of fault for this message, if there is one that was not carried out yet."""
    name = json.loads(Path(str(context.node_config["identity"])).read_text())["name"]
    for order in str(context.run_config["faults"]).split():
        who, what = order.split(":", 1)
        kind, when = what.split("@")
        if who == name and when == f"{step_of(message)}:{round_of(message)}" and _first_time(order, context):
            return kind
    return None


def _first_time(order: str, context: Context) -> bool:
    marks = Path(str(context.run_config["out"])) / "carried-out"
    marks.mkdir(exist_ok=True)
    try:
        (marks / order).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def kill(context: Context) -> None:
    """The whole SuperNode dies: its process group holds SuperNode, SuperExec and this ClientApp."""
    os.killpg(0, signal.SIGKILL)


def late(context: Context) -> None:
    """Slower than the server waits."""
    time.sleep(float(context.run_config["reply-timeout"]) + 5)


def misdeal(context: Context) -> None:
    """The shares that it deals to hospital-A lie on no polynomial with the others': only a dispute says who lied."""
    from flower_robust.protocol import client_submit

    seal = client_submit.seal

    def broken(secret, key, way, share):
        return seal(secret, key, way, bytes(len(share)) if way.receiver == "hospital-A" else share)

    client_submit.seal = broken


def misecho(context: Context) -> None:
    """Signs, rightly, that it will unmask another decision than the server's."""
    from flower_robust.protocol import client_unmask
    from flower_robust.protocol.replies import Echo

    class Other(Echo):
        @classmethod
        def sign(cls, identity, plan_digest, decision):
            return super().sign(identity, plan_digest, flipped(decision))

    client_unmask.Echo = Other


def kill_after(reply: Message, context: Context) -> None:
    """The SuperNode dies once it has sent this reply, which its log says."""
    log = Path(str(context.node_config["log"]))
    subprocess.Popen([sys.executable, killer.__file__, str(log), str(killer.sent(log))])


def corrupt(reply: Message, context: Context) -> None:
    """One bit of every byte string and array of the reply flips."""
    for record in reply.content.values():
        if isinstance(record, ConfigRecord):
            for key, value in record.items():
                if isinstance(value, bytes):
                    record[key] = flipped(value)
        elif isinstance(record, ArrayRecord):
            for array in record.values():
                array.data = flipped(array.data)


def refuse(reply: Message, context: Context) -> None:
    """A refusal instead of the answer."""
    phase = reply.content.config_records[ENVELOPE]["phase"]
    reply.content = RecordDict({ENVELOPE: ConfigRecord({"phase": phase, REFUSED: "on order"})})


def flipped(value: bytes) -> bytes:
    """`value` with one bit flipped in its last byte, where no header is."""
    return value[:-1] + bytes([value[-1] ^ 1]) if value else value


BEFORE: dict[str, Callable[[Context], None]] = {
    "kill": kill,
    "late": late,
    "misdeal": misdeal,
    "misecho": misecho,
}
AFTER: dict[str, Callable[[Message, Context], None]] = {"kill-after": kill_after, "corrupt": corrupt, "refuse": refuse}
