"""A masked round and a SecAgg+ round in turn, in one process, on two cores."""

import logging
import os
from dataclasses import asdict

from benchmarks.masking.costs import Federation, masked_round
from benchmarks.masking.secagg_plus import run_secagg_plus


def compare(n: int, d: int, repeats: int) -> dict[str, object]:
    """The fastest of each party's rounds, and their ratio; `masked` also holds bytes and seconds by step."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    federation = Federation(n, d)
    masked_round(Federation(5, 5000), 0)
    masked, peers = [], []
    for number in range(repeats):
        masked.append(masked_round(federation, number))
        peers.append(run_secagg_plus(n, d, number))
    client, server = min(c.client_seconds for c in masked), min(c.server_seconds for c in masked)
    peer_client, peer_server = min(c for c, _ in peers), min(s for _, s in peers)
    steps = asdict(min(masked, key=lambda costs: costs.client_seconds + costs.server_seconds))
    return {
        "clients": n,
        "parameters": d,
        "masked": steps | {"client_seconds": client, "server_seconds": server},
        "secagg_plus": {"client_seconds": peer_client, "server_seconds": peer_server},
        "ratio_to_secagg_plus": {"client": client / peer_client, "server": server / peer_server},
    }
