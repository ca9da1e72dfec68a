"""R_q on a torch device: the same residues, bit for bit, as `ring` and `masks` compute on the CPU.

Residues are int64 tensors [2, ..., N] (products of two 31-bit residues fit). Only the server imports this module.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flower_robust.errors import ConfigurationError
from flower_robust.masking import masks
from flower_robust.masking.kernels.ntt import SIDE, N
from flower_robust.masking.masks import Opener
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.public import PublicElements
from flower_robust.masking.ring import PLANES, Coefficients, Residues, planes
from flower_robust.masking.stream import uniform

LAYERS = 6


def from_residues(x: Residues, device: torch.device) -> Tensor:
    """Residues as int64 on a device."""
    words = np.require(x, np.uint32, ["C", "A", "W"]).view(np.int32)
    return torch.from_numpy(words).to(device).to(torch.int64) & 0xFFFFFFFF


def to_residues(x: Tensor) -> Residues:
    """Residues as uint32 on the CPU."""
    return x.cpu().numpy().astype(np.uint32)


def to_points(x: Tensor) -> Tensor:
    """The transform of every element of x [2, ..., N]; a new tensor."""
    return torch.stack([_forward(x[p].reshape(-1, N), p).reshape(x[p].shape) for p in PLANES])


def to_coefficients(x: Tensor) -> Tensor:
    """The inverse transform of every element of x [2, ..., N]; a new tensor."""
    return torch.stack([_backward(x[p].reshape(-1, N), p).reshape(x[p].shape) for p in PLANES])


def weighted_sum(weights: Sequence[int], elements: Sequence[Residues], device: torch.device) -> Tensor:
    """Σ w_i·x_i mod q, [2, ...], one element at a time on the device (bounds as in `ring`)."""
    total = torch.zeros(elements[0].shape, dtype=torch.int64, device=device)
    for weight, x in zip(weights, elements, strict=True):
        total += from_residues(x, device) * weight
    return torch.stack([total[p] % planes()[p].q for p in PLANES])


def unmask(total: Tensor, s: Coefficients, a: PublicElements) -> npt.NDArray[np.int64]:
    """`masks.unmask` on the device of total: total − a·s in (−q/2, q/2], int64 [B·N]."""
    s_points, plain = to_points(from_residues(s, total.device)), torch.empty_like(total)
    for p in PLANES:
        q = planes()[p].q
        for blocks in a.groups():
            points = from_residues(a.points(p, blocks), total.device)
            plain[p, blocks] = (total[p, blocks] - _backward(points * s_points[p] % q, p)) % q
    return centred(plain).cpu().numpy().reshape(-1)


def opener(device: torch.device) -> Opener:
    """`masks.open_weighted` on a device, the same integers: one small sum is opened on both before it is handed out.

    Raises ConfigurationError where they differ: a wrong sum would have the clients convict an honest server.
    """

    def open_weighted(
        weights: Sequence[int], ys: Sequence[Residues], s: Coefficients, a: PublicElements
    ) -> npt.NDArray[np.int64]:
        return unmask(weighted_sum(weights, ys, device), s, a)

    s, a, ys = uniform(bytes(32), "s", N), PublicElements(bytes(32), 2), uniform(bytes(32), "y", 2, 2, N)
    known = ([85, 255], [ys[:, 0], ys[:, 1]], s, a)
    if (open_weighted(*known) != masks.open_weighted(*known)).any():
        raise ConfigurationError("device", device, "one that opens the same integers as the CPU")
    return open_weighted


def centred(x: Tensor) -> Tensor:
    """The integers in (−q/2, q/2] with residues x [2, ...], int64."""
    q1, q2 = PARAMETERS.primes
    v = x[0] + q1 * ((x[1] - x[0]) % q2 * pow(q1, -1, q2) % q2)
    return torch.where(v > PARAMETERS.q // 2, v - PARAMETERS.q, v)


@cache
def _factors(plane: int, device: torch.device, backward: bool) -> list[Tensor]:
    """Per layer of the forward order: [groups, 1] for the first six, [groups, 1, SIDE] for the last six."""
    table = planes()[plane].backward[0] if backward else planes()[plane].forward[0]
    flat = from_residues(table, device)
    first = [flat[1 << k : 2 << k].reshape(-1, 1) for k in range(LAYERS)]
    last = [flat[SIDE << k : SIDE << (k + 1)].reshape(-1, 1, SIDE) for k in range(LAYERS)]
    return first + last


def _forward(x: Tensor, plane: int) -> Tensor:
    q, factors = planes()[plane].q, _factors(plane, x.device, False)
    for layer in range(LAYERS):
        x = _split(x.reshape(len(x), 1 << layer, 2, -1), factors[layer], q)
    x = x.reshape(-1, SIDE, SIDE).transpose(1, 2)
    for layer in range(LAYERS):
        x = _split(x.reshape(len(x), 1 << layer, 2, -1, SIDE), factors[LAYERS + layer], q)
    return x.reshape(-1, N)


def _backward(x: Tensor, plane: int) -> Tensor:
    q, factors = planes()[plane].q, _factors(plane, x.device, True)
    for layer in reversed(range(LAYERS)):
        x = _join(x.reshape(len(x), 1 << layer, 2, -1, SIDE), factors[LAYERS + layer], q)
    x = x.reshape(-1, SIDE, SIDE).transpose(1, 2)
    for layer in reversed(range(LAYERS)):
        x = _join(x.reshape(len(x), 1 << layer, 2, -1), factors[layer], q)
    return x.reshape(-1, N) * pow(N, -1, q) % q


def _split(x: Tensor, factor: Tensor, q: int) -> Tensor:
    u, v = x[:, :, 0], x[:, :, 1] * factor % q
    return torch.stack([(u + v) % q, (u - v) % q], dim=2)


def _join(x: Tensor, factor: Tensor, q: int) -> Tensor:
    u, v = x[:, :, 0], x[:, :, 1]
    return torch.stack([(u + v) % q, (u - v) * factor % q], dim=2)
