"""What a cohort of n with privacy threshold t survives: drop-outs and liars together (docs/protocol.md, section 8).

Distances and norms are the narrow gate, of degree 2t: r = n − (drop-outs) answers correct e wrong ones where
r >= 2t + 1 + 2e. Secrets, of degree t, need only t + 1 + 2e.
With exactly 2t + 1 answers nothing can be checked: a liar among them would shift distances unseen.
"""

from flower_robust.errors import ConfigurationError


def default_threshold(n: int) -> int:
    """t = max(1, ⌊(n − 1)/4⌋)."""
    return max(1, (n - 1) // 4)


def check_threshold(n: int, t: int) -> None:
    """Refuse a cohort whose distances nobody could open: ConfigurationError unless 1 <= t and 2t + 1 <= n."""
    if t < 1 or 2 * t + 1 > n:
        raise ConfigurationError("t", t, f"at least 1 and 2t + 1 <= n = {n}, so at most {(n - 1) // 2}")


def survivable(n: int, t: int) -> list[tuple[int, int]]:
    """The largest pairs (drop-outs, liars): each survives, and neither number can grow without the other shrinking.

    n − drop-outs >= 2t + 1 + 2·liars
    """
    check_threshold(n, t)
    spare = n - 2 * t - 1
    return [(spare - 2 * liars, liars) for liars in range(spare // 2 + 1)]


def echoes_needed(n: int, t: int, f: int) -> int:
    """⌊(n + max(f, t))/2⌋ + 1: two such sets share more than max(f, t) clients, hence an honest one."""
    return (n + max(f, t)) // 2 + 1


def survivable_strict(n: int, t: int, f: int = 0) -> list[tuple[int, int]]:
    """As `survivable`, of a strict round, where enough clients must echo the decision as well.

    n − drop-outs >= 2t + 1 + 2·liars  and  n − drop-outs >= ⌊(n + max(f, t))/2⌋ + 1
    """
    most = n - echoes_needed(n, t, f)
    capped = [(min(drop_outs, most), liars) for drop_outs, liars in survivable(n, t)] if most >= 0 else []
    return [pair for k, pair in enumerate(capped) if pair[0] not in [drop_outs for drop_outs, _ in capped[k + 1 :]]]


def survives(n: int, t: int, drop_outs: int, liars: int) -> bool:
    """Whether a round with these numbers is opened exactly, liars named."""
    return n - drop_outs >= 2 * t + 1 + 2 * liars
