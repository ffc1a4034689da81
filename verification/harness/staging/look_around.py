"""What can be seen of a target without harm: its name, its certificate, its redirect, its keys.

Every look is one line: what was looked at, whether it is well (None: nobody can say), and
what was seen. Only GET requests go out, to the file's hosts.
"""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import redis

from verification.contract import http as contract
from verification.harness import capabilities as can
from verification.harness.http_client import Http
from verification.harness.redis_view import RedisView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verification.harness.target_file import TargetFile

# Most certificates are renewed a month before their end; two weeks are time to act.
CERTIFICATE_DAYS_LEFT: Final = 14
ANSWER_WITHIN_S: Final = 10.0
HTTPS: Final = 443
REDIRECTS: Final = frozenset({301, 302, 307, 308})
FINE: Final = 200
NO_KEY: Final = 401
NO_SCOPE: Final = 403
NOT_THERE: Final = 404


@dataclass(frozen=True, slots=True)
class Look:
    """One thing that was looked at; `is_well` None means that it cannot be said."""

    what: str
    is_well: bool | None
    seen: str

    def __str__(self) -> str:
        mark = {True: "ok ", False: "BAD", None: "?  "}[self.is_well]
        return f"{mark} {self.what}: {self.seen}"


def look_around(target: TargetFile) -> Iterator[Look]:
    """Everything that can be looked at, one after the other."""
    url = urlsplit(target.base_url)
    host = url.hostname or ""
    yield _name(host)
    if url.scheme == "https":
        yield certificate(host, url.port or HTTPS)
        yield redirect(_http(target, f"http://{host}"))
    else:
        yield Look("https", None, "the file says http://; keys go over the wire as they are")
    yield from _keys(target)
    if can.METRICS in target.capabilities:
        yield _metrics(target)
    if can.REDIS_READ in target.capabilities:
        yield _redis(target.secrets["redis_url"])
    if can.STRIPE_SECRET in target.capabilities:
        yield Look("secrets.stripe_webhook", None, "only a delivery could tell; none was made")


def _name(host: str) -> Look:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return Look(f"name {host}", False, f"does not resolve ({error})")
    addresses = sorted({str(entry[4][0]) for entry in found})
    return Look(f"name {host}", True, ", ".join(addresses))


def certificate(host: str, port: int) -> Look:
    """Whether the certificate there is trusted, of that name, and lasts for a while."""
    what = f"certificate of {host}:{port}"
    try:
        with (
            socket.create_connection((host, port), ANSWER_WITHIN_S) as wire,
            ssl.create_default_context().wrap_socket(wire, server_hostname=host) as secured,
        ):
            told = secured.getpeercert() or {}
    except (OSError, ssl.SSLError) as error:
        return Look(what, False, str(error))
    ends_s = ssl.cert_time_to_seconds(str(told["notAfter"]))
    left = dt.datetime.fromtimestamp(ends_s, dt.UTC) - dt.datetime.now(dt.UTC)
    return Look(what, left.days >= CERTIFICATE_DAYS_LEFT, f"valid for {left.days} days more")


def redirect(http: Http) -> Look:
    """Whether plain HTTP is answered with the way to HTTPS, or not at all."""
    what = f"plain {http.base_url}"
    answer = http.get("/api/health", timeout_s=ANSWER_WITHIN_S)
    if not answer.status:
        return Look(what, True, f"not served ({answer.error})")
    aim = answer.headers.get("location", "")
    is_well = answer.status in REDIRECTS and aim.startswith("https://")
    return Look(what, is_well, f"answers {answer.status}" + (f" to {aim}" if aim else ""))


def _keys(target: TargetFile) -> Iterator[Look]:
    http = _http(target, target.base_url)
    if admin_key := target.secrets.get("admin_key"):
        status = http.get(contract.ADMIN_LEASE.path, key=admin_key).status
        yield Look("secrets.admin_key", status == FINE, _said(status))
    for number, user in enumerate(target.users):
        status = http.get(contract.SUBSCRIPTION.path, key=user.key).status
        is_well = None if status in {0, NOT_THERE} or status >= 500 else status != NO_KEY  # noqa: PLR2004
        yield Look(f"users[{number}] {user.id} ({user.tier})", is_well, _said(status))


def _said(status: int) -> str:
    known = {0: "no answer", FINE: "valid", NO_KEY: "not valid", NO_SCOPE: "lacks scope admin"}
    return known.get(status, f"answered {status}")


def _metrics(target: TargetFile) -> Look:
    token = target.secrets.get("metrics_token")
    answer = _http(target, target.base_url).get(contract.METRICS.path, key=token)
    return Look("metrics", answer.status == FINE, f"answered {answer.status or answer.error}")


def _redis(url: str) -> Look:
    try:
        view = RedisView(url)
        view.time_s()
        view.close()
    except (redis.RedisError, OSError) as error:
        return Look("secrets.redis_url", False, type(error).__name__)
    return Look("secrets.redis_url", True, "answers")


def _http(target: TargetFile, url: str) -> Http:
    def only_named_hosts(_method: str, asked: str) -> None:
        assert urlsplit(asked).hostname in target.hosts, "a look stays with limits.hosts"

    return Http(url, gate=only_named_hosts, trust_env=True)
