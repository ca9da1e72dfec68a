"""An exception of the user's app may quote records: its text stays in the site's own log, its class name leaves it."""

import logging
import re
from collections.abc import Callable

from flwr.app import Context, Message

from flower_robust.errors import RobustError
from flower_robust.flower.records import UnreadableError

CLIENT_LOG = "flower_robust.client"
"""The logger that gets what must not leave the site. On a SuperNode it ends in the SuperNode's own log."""

QUOTED = 200
_OURS = re.compile(r"'?([^<\n:]{1,80}: found .{1,400}, required .{1,400})")
_CLASS = re.compile(r"<class '(?:\w+\.)*(\w{1,60})'>")
_FLOWERS = "ClientAppException"


class AppFailedError(RobustError):
    """The user's app raised; which exception it was, without its text. Nobody lied."""

    def __init__(self, raised: str, step: str) -> None:
        self.raised, self.step = raised, step
        super().__init__(f"app at {step}: found {raised}, required a reply (its text is in this client's own log)")


def guarded(answer: Callable[[], Message], step: str, context: Context) -> Message:
    """`answer()`; what it raises leaves the site as AppFailedError, but for our own errors, which quote no records."""
    try:
        return answer()
    except (RobustError, UnreadableError):
        raise
    except Exception as error:
        logging.getLogger(CLIENT_LOG).exception("run %d, %s: the app raised", context.run_id, step)
        failed = AppFailedError(type(error).__name__, step)
    raise failed


def shown_reason(reason: str) -> str:
    """What may be reported of a client's error: our own sentence, or else the exception's class, or else nothing."""
    if ours := _OURS.search(reason):
        return f" ({ours.group(1)[:QUOTED]})"
    named = [name for name in _CLASS.findall(reason) if name != _FLOWERS]
    return f" ({named[0]})" if named else ""
