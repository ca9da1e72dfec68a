"""Client momentum over Flower's messages: the equation, what it leaves alone, and when it begins anew."""

import numpy as np
import pytest
from flwr.app import Context, Message, MetricRecord, RecordDict

from flower_robust import robust_mod
from flower_robust.errors import ConfigurationError
from flower_robust.flower.momentum import smoothed
from flower_robust.flower.records import read_arrays, write_arrays
from tests import flower_double  # sets the task identity that Flower's messages ask for

OLD = {"w": np.zeros(3, np.float32), "count": np.array([7], np.int64)}


def rounds(steps, context: Context, momentum: float = 0.9, old=OLD):
    """What the server would receive as update of w, round by round."""
    sent = []
    for step in steps:

        def app(message: Message, context: Context, step=step) -> Message:
            new = {"w": old["w"] + np.asarray(step, np.float32), "count": np.array([8], np.int64)}
            content = RecordDict({"arrays": write_arrays(new), "metrics": MetricRecord({"loss": 1.0})})
            return Message(content, reply_to=message)

        message = Message(RecordDict({"arrays": write_arrays(old)}), 7, "train")
        message.metadata.__dict__["_message_id"] = "m"
        reply = smoothed(app, momentum, "arrays", ["count"])(message, context)
        new = read_arrays(dict(reply.content.array_records["arrays"]))
        assert new["count"].tolist() == [8] and new["w"].dtype == np.float32
        sent.append(new["w"] - old["w"])
    return sent


def context() -> Context:
    return Context(flower_double.RUN_ID, 7, {}, RecordDict(), {})


def test_the_first_update_goes_out_unchanged_and_later_ones_are_means() -> None:
    first, second = rounds([[1, 2, 3], [3, 2, 1]], context())
    assert np.allclose(first, [1, 2, 3])
    assert np.allclose(second, (0.09 * np.array([1, 2, 3]) + 0.1 * np.array([3, 2, 1])) / 0.19)


def test_a_steady_update_stays_as_it_is() -> None:
    assert np.allclose(rounds([[1, -2, 3]] * 6, context())[-1], [1, -2, 3], rtol=1e-5)


def test_another_model_begins_anew_and_nan_is_passed_on_to_be_refused() -> None:
    state = context()
    rounds([[1, 1, 1]], state)
    other = {"w": np.zeros(2, np.float32), "count": np.array([7], np.int64)}
    assert np.allclose(rounds([[5, 5]], state, old=other)[0], [5, 5])
    assert np.isnan(rounds([[np.nan, 0]], state, old=other)[0]).any()
    assert np.allclose(rounds([[5, 5]], state, old=other)[0], [5, 5])


@pytest.mark.parametrize("momentum", [1.0, -0.1, float("nan"), True])
def test_momentum_is_checked_when_the_mod_is_made(momentum: float) -> None:
    with pytest.raises(ConfigurationError, match="momentum"):
        robust_mod(momentum=momentum)
