"""Connections of the http tool: each address is checked as it is connected to, and one time limit holds for a call."""

import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import httpcore
import httpx

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # else each request's whole address is logged, keys and all

_METADATA_ADDRESSES: Final = frozenset(
    ipaddress.ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254")
)
"""Metadata services of clouds that are not link-local: Alibaba, Azure, Oracle, AWS (IPv6, two), Google (IPv6)."""

_NETWORKS_ENDING_IN_IPV4: Final = tuple(
    ipaddress.IPv6Network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
"""Where the last 32 bits are an IPv4 address: IPv4-compatible, -mapped, -translated (RFC 4291, 2765), NAT64 (6052)."""

_NAT64_LOCAL: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
_ISATAP_BITS: Final = frozenset({0x00005EFE, 0x02005EFE})
"""Bits 64 to 95 of an address whose last 32 are an IPv4 address (RFC 5214)."""

_call = threading.local()


class RefusedAddress(Exception):
    """The address is one that playbooks may not reach."""


def begin_call(seconds: float) -> float:
    """Limit all that this thread does on connections to some seconds from now; return the deadline."""
    deadline = time.monotonic() + seconds
    _call.deadline = deadline
    return deadline


def _left(timeout: float | None) -> float | None:
    deadline: float | None = getattr(_call, "deadline", None)
    if deadline is None:
        return timeout
    left = max(0.001, deadline - time.monotonic())
    return left if timeout is None else min(left, timeout)


def is_refused(text: str) -> bool:
    """Tell whether an address is link-local or a metadata service, or an IPv6 address that leads to such a one."""
    address = ipaddress.ip_address(text.split("%")[0])
    meant: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        meant += _embedded(address)
    return any(each.is_link_local or each in _METADATA_ADDRESSES for each in meant)


def _embedded(address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    """Yield the IPv4 addresses that an IPv6 address may lead to."""
    number = int(address)
    if any(address in network for network in _NETWORKS_ENDING_IN_IPV4) or (number >> 32) & 0xFFFFFFFF in _ISATAP_BITS:
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if address in _NAT64_LOCAL:  # its prefix may have any of these lengths (RFC 6052, 2.2); bits 64 to 71 are left out
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)
        yield ipaddress.IPv4Address((number >> 64 & 0xFFFF) << 16 | (number >> 40 & 0xFFFF))
        yield ipaddress.IPv4Address((number >> 64 & 0xFF) << 24 | (number >> 32 & 0xFFFFFF))
        yield ipaddress.IPv4Address(number >> 24 & 0xFFFFFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


class _Stream(httpcore.NetworkStream):
    """A connection whose reads and writes end at the call's deadline."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """A backend that resolves a name once, checks all its addresses, and connects to one of them."""

    def __init__(self, allow_link_local: bool) -> None:
        self._allow = allow_link_local

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[object] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            resolved_addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as failure:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {failure}") from failure
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in resolved_addresses))
        if not self._allow:
            for address in addresses:
                if is_refused(address):
                    resolved = "" if host == address else f"{address}, "
                    raise RefusedAddress(
                        f"{host} is {resolved}a link-local or metadata address, which playbooks may not reach"
                        " (NOETL_HTTP_ALLOW_LINK_LOCAL=true allows it)"
                    )
        for address in addresses[:-1]:
            try:
                return self._connect(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError:
                continue  # the next address of the name may answer
        return self._connect(addresses[-1], port, timeout, local_address, socket_options)

    def _connect(self, address: str, port: int, timeout: float | None, *options: Any) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(address, port, _left(timeout), *options))


class Transport(httpx.HTTPTransport):
    """One pool of kept connections for all threads, over `_Backend`."""

    def __init__(self, *, allow_link_local: bool) -> None:
        super().__init__(trust_env=False)
        context = httpx.create_ssl_context(trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=64,
            keepalive_expiry=30.0,
            network_backend=_Backend(allow_link_local),
        )
