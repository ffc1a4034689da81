"""Toxiproxy through its Python client, wrapped once.

The client keeps the server's address on a class, sets no time-outs, takes proxies from the
environment, answers most errors with nothing, and the server ignores what it cannot spell;
here every server has a class of its own, every call a bound, and every attribute is
compared with what the server echoes. Nothing else in the project names the client.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any, cast

import requests
from toxiproxy.api import APIConsumer
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

# Toxiproxy's API answers in a few ms; this leaves room for a busy machine of two cores.
API_WITHIN_S = 10.0
# A toxic that goes passes on what it holds first, up to 5 s for each connection (link.go).
REMOVAL_WITHIN_S = 60.0
LOOPBACK = "127.0.0.1"


class ToxiproxyError(Exception):
    """Toxiproxy refused, did not answer, or did something else than it was told."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one probe through a link met.

    `met` is answered, refused, reset, closed (without an answer) or silent.
    """

    met: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.met} after {self.seconds:.3f} s"


class Toxiproxy:
    """One Toxiproxy server."""

    def __init__(self, host: str, port: int) -> None:
        self.address = f"{host}:{port}"
        self._api: Any = type("Api", (APIConsumer,), {"host": host, "port": port})

    def version(self) -> str:
        """What the server says it is."""
        return str(self._call("get", "/version").get("version", "unknown"))

    @property
    def is_alive(self) -> bool:
        """It answers."""
        try:
            self.version()
        except ToxiproxyError:
            return False
        return True

    def proxies(self) -> dict[str, dict[str, Any]]:
        """Every proxy that the server has, by name."""
        return self._call("get", "/proxies")

    def create(self, name: str, upstream: str) -> tuple[str, int]:
        """Make a proxy on a port of the server's choice and give its address.

        Raises: ToxiproxyError when the server echoes something else.
        """
        wanted = {"name": name, "listen": f"{LOOPBACK}:0", "upstream": upstream, "enabled": True}
        made = self._call("post", "/proxies", json=wanted)
        if (made.get("name"), made.get("upstream"), made.get("enabled")) != (name, upstream, True):
            raise ToxiproxyError(f"asked for {wanted}, Toxiproxy made {made}")
        host, _, port = str(made["listen"]).rpartition(":")
        return host.strip("[]"), int(port)

    def proxy(self, name: str) -> dict[str, Any]:
        """The proxy as the server has it, toxics included."""
        return self._call("get", f"/proxies/{name}")

    def update(self, name: str, **wanted: Any) -> None:
        """Change `enabled` or `upstream` of a proxy, and see that the server has it so."""
        made = self._call("post", f"/proxies/{name}", json=wanted)
        if any(made.get(field) != value for field, value in wanted.items()):
            raise ToxiproxyError(f"{name}: asked for {wanted}, Toxiproxy has {made}")

    def remove(self, name: str) -> None:
        """Remove a proxy with its connections; none there is as good."""
        self._call("delete", f"/proxies/{name}", or_none=True)

    def add_toxic(self, proxy: str, kind: str, stream: str, attributes: dict[str, int]) -> str:
        """Add a toxic to every connection and give its name.

        Raises: ToxiproxyError when the server's echo lacks an attribute or has another value.
        """
        name = f"{kind}-{stream}"
        wanted = {"name": name, "type": kind, "stream": stream, "toxicity": 1.0}
        made = self._call(
            "post", f"/proxies/{proxy}/toxics", json={**wanted, "attributes": attributes}
        )
        echoed = made.get("attributes", {})
        if {**made, **wanted} != made or {**echoed, **attributes} != echoed:
            self.remove_toxic(proxy, name)
            raise ToxiproxyError(f"asked for {wanted} {attributes}, Toxiproxy made {made}")
        return name

    def remove_toxic(self, proxy: str, name: str) -> None:
        """Remove a toxic; none there is as good."""
        path = f"/proxies/{proxy}/toxics/{name}"
        self._call("delete", path, or_none=True, timeout=REMOVAL_WITHIN_S)

    def _call(self, verb: str, path: str, *, or_none: bool = False, **body: Any) -> dict[str, Any]:
        options = {"timeout": API_WITHIN_S, "proxies": {"no_proxy": LOOPBACK}, **body}
        try:
            answer = getattr(self._api, verb)(path, **options)
        except NotFound as error:
            if or_none:
                return {}
            raise ToxiproxyError(f"{verb} {path}: there is none") from error
        except (InvalidToxic, ProxyExists, requests.RequestException) as error:
            raise ToxiproxyError(f"{verb} {path}: {error!r}") from error
        if not answer.ok:
            raise ToxiproxyError(f"{verb} {path}: {answer.status_code} {answer.text[:300]}")
        return cast("dict[str, Any]", answer.json() if answer.content else {})


class Link:
    """One proxied connection of the service: where it goes, and how to feel it."""

    def __init__(self, name: str, server: Toxiproxy, *, upstream: str, probe: bytes) -> None:
        self.name = name
        self.server = server
        self.proxy_name = name
        self.upstream = upstream
        self._probe = probe
        self.host, self.port = LOOPBACK, 0

    def open(self, proxy_name: str) -> None:
        """Make the proxy under a name that no other stack uses."""
        self.proxy_name = proxy_name
        self.host, self.port = self.server.create(proxy_name, self.upstream)

    def aim(self, upstream: str) -> None:
        """Send what comes from now on to another address, on the same port."""
        if upstream != self.upstream:
            self.server.update(self.proxy_name, upstream=upstream)
            self.upstream = upstream

    def close(self) -> None:
        """Remove the proxy."""
        self.server.remove(self.proxy_name)

    def feel(self, within_s: float) -> Reading:
        """One probe through the proxy."""
        return feel((self.host, self.port), self._probe, within_s)

    def feel_upstream(self, within_s: float) -> Reading:
        """One probe past the proxy."""
        host, _, port = self.upstream.rpartition(":")
        return feel((host, int(port)), self._probe, within_s)


def feel(address: tuple[str, int], probe: bytes, within_s: float) -> Reading:
    """Connect, send the probe, wait for the first byte, and say what happened."""
    began_s = time.monotonic()
    met = "silent"
    try:
        with socket.create_connection(address, timeout=within_s) as wire:
            wire.settimeout(max(0.01, within_s - (time.monotonic() - began_s)))
            wire.sendall(probe)
            met = "answered" if wire.recv(1) else "closed"
    except TimeoutError:
        met = "silent"
    except ConnectionRefusedError:
        met = "refused"
    except (ConnectionResetError, BrokenPipeError):
        met = "reset"
    return Reading(met, time.monotonic() - began_s)
