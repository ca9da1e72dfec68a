"""Which addresses the processes of a command speak with or listen on, read from Linux's /proc while it runs."""

import ipaddress
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

PROC = Path("/proc")
LISTENING = "0A"


def processes(marker: str) -> list[Path]:
    """The /proc folders of the processes whose environment holds the marker."""
    return [folder for folder in PROC.glob("[0-9]*") if marker.encode() in _read(folder / "environ")]


def outward_sockets(folders: list[Path]) -> set[str]:
    """Sockets of the processes in these folders with an address beyond loopback: "tcp 192.0.2.2:80 -> ..."."""
    inodes = {inode for folder in folders for inode in _inodes(folder)}
    return {found for table in ("tcp", "tcp6", "udp", "udp6") for found in _outward(table, inodes)}


class Watch:
    """Context manager: `outward` collects what `outward_sockets` finds, looked at five times a second."""

    def __init__(self, marker: str) -> None:
        self.marker, self.outward, self.seen = marker, set[str](), 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.2):
            found = processes(self.marker)
            self.outward |= outward_sockets(found)
            self.seen = max(self.seen, len(found))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _inodes(folder: Path) -> Iterator[str]:
    try:
        links = [str(link.readlink()) for link in (folder / "fd").iterdir()]
    except OSError:
        return
    yield from (link[8:-1] for link in links if link.startswith("socket:["))


def _outward(table: str, inodes: set[str]) -> Iterator[str]:
    for line in _read(PROC / "net" / table).decode().splitlines()[1:]:
        _, local, remote, state, *_, inode = line.split()[:10]
        (here, port), (there, far) = _address(local), _address(remote)
        if inode in inodes and not all(address.is_loopback for address in _told((here, there), state)):
            yield f"{table} {here}:{port} -> {there}:{far}"


def _told(
    addresses: tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...], state: str
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    # A socket that listens has no remote address; one that is bound to nothing yet has neither.
    here, there = addresses
    return [here] if state == LISTENING else [address for address in (here, there) if not address.is_unspecified]


def _address(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    packed, port = text.split(":")
    words = struct.unpack(f"<{len(packed) // 8}I", bytes.fromhex(packed))
    address = ipaddress.ip_address(struct.pack(f">{len(words)}I", *words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address, int(port, 16)
