"""Faults on the links between the service and what it needs, on the real Toxiproxy.

Each fault is a context manager: it is there when the body begins (a probe through the proxy
met it) and gone when the context is left by whichever way (a probe met health again). A
fault that did not bite or heal raises, so its claim is unknown, never a pass.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from verification.harness.toxiproxy_link import ToxiproxyError
from verification.harness.waiting import came_true, now_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from verification.harness.toxiproxy_link import Link, Reading
    from verification.harness.undo import UndoLog

# How long a probe waits for an answer that must not come: 100 times what loopback takes.
SILENCE_S = 0.25
# A fault is in place as soon as Toxiproxy has answered; the rest is scheduling.
BITES_WITHIN_S = 5.0
HEALS_WITHIN_S = 10.0

Toxic = tuple[str, str, dict[str, int]]


class FaultDidNotBiteError(Exception):
    """The probe met no trouble, so whatever the claim saw proves nothing."""


class FaultNotHealedError(Exception):
    """The link is not well again after the fault was removed."""


class Faults:
    """Faults on the links of one stack; `links` names them."""

    def __init__(
        self, links: Mapping[str, Link], *, bites_within_s: float = BITES_WITHIN_S
    ) -> None:
        self.links = dict(links)
        self._bites_within_s = bites_within_s
        self.log: list[dict[str, object]] = []
        """Each fault with link, what it was, when it began to bite and when it was healed."""
        self.undo_log: UndoLog | None = None
        """Where each fault is written down before it is done, if its run may be killed."""

    @contextmanager
    def slow(self, link: str, ms: int, *, jitter_ms: int = 0) -> Iterator[Reading]:
        """Every piece of every answer comes `ms` later, give or take `jitter_ms`."""
        least_s = (ms - jitter_ms) / 1000
        wait_s = min(least_s + SILENCE_S, 1.0)
        toxic: Toxic = ("latency", "downstream", {"latency": ms, "jitter": jitter_ms})
        with self._toxics(
            link, [toxic], lambda met: met.seconds >= min(least_s, wait_s), wait_s
        ) as reading:
            yield reading

    @contextmanager
    def hang(self, link: str) -> Iterator[Reading]:
        """A black hole: connections are accepted, nothing passes in either direction."""
        toxics: list[Toxic] = [
            ("timeout", "upstream", {"timeout": 0}),
            ("timeout", "downstream", {"timeout": 0}),
        ]
        with self._toxics(link, toxics, lambda met: met.met == "silent", SILENCE_S) as reading:
            yield reading

    @contextmanager
    def lose_answers(self, link: str) -> Iterator[Reading]:
        """Requests arrive and are acted on; their answers never come back.

        A peer that closes after its answer closes here, too: without the answer.
        """
        toxic: Toxic = ("timeout", "downstream", {"timeout": 0})
        is_lost = {"silent", "closed"}
        with self._toxics(link, [toxic], lambda met: met.met in is_lost, SILENCE_S) as reading:
            yield reading

    @contextmanager
    def reset(self, link: str) -> Iterator[Reading]:
        """Connections, old and new, are reset (RST) as soon as the other side speaks."""
        toxic: Toxic = ("reset_peer", "downstream", {"timeout": 0})
        with self._toxics(link, [toxic], _is_broken, SILENCE_S) as reading:
            yield reading

    @contextmanager
    def cut_after(self, link: str, answer_bytes: int) -> Iterator[Reading]:
        """Each connection closes after that many bytes of answers; 0: before the first.

        The bite can be felt only from 0 bytes; from more, the toxic's echo is the proof.
        """
        toxic: Toxic = ("limit_data", "downstream", {"bytes": answer_bytes})
        with self._toxics(
            link, [toxic], lambda met: answer_bytes > 0 or _is_broken(met), SILENCE_S
        ) as reading:
            yield reading

    @contextmanager
    def drip(self, link: str, *, piece_bytes: int, every_ms: int) -> Iterator[Reading]:
        """Answers come in pieces of that size with a pause before each next one.

        The first piece is not late, so the toxic's echo is the proof.
        """
        attributes = {
            "average_size": piece_bytes,
            "size_variation": 0,
            "delay": every_ms * 1000,  # Toxiproxy takes microseconds here
        }
        toxic: Toxic = ("slicer", "downstream", attributes)
        with self._toxics(link, [toxic], lambda _: True, SILENCE_S) as reading:
            yield reading

    @contextmanager
    def refuse(self, link: str) -> Iterator[Reading]:
        """Connections are refused, and those that there were are closed."""
        one = self.links[link]
        with ExitStack() as undo:
            entry = self._begin(one, "refuse")
            undo.callback(self._prove_healed, one, entry)
            open_again = partial(one.server.update, one.proxy_name, enabled=True)
            undo.callback(self._noted("closed_proxy", one, open_again))
            one.server.update(one.proxy_name, enabled=False)
            yield self._prove_bite(one, entry, lambda met: met.met == "refused", SILENCE_S)

    @contextmanager
    def _toxics(
        self, link: str, toxics: list[Toxic], is_bitten: Callable[[Reading], bool], wait_s: float
    ) -> Iterator[Reading]:
        one = self.links[link]
        what = " + ".join(kind for kind, _, _ in toxics)
        with ExitStack() as undo:
            entry = self._begin(one, what)
            undo.callback(self._prove_healed, one, entry)
            for kind, stream, attributes in toxics:
                # The undo stands before the deed, so that no interruption leaves a toxic.
                name = f"{kind}-{stream}"
                remove = partial(one.server.remove_toxic, one.proxy_name, name)
                undo.callback(self._noted("toxic", one, remove, toxic=name))
                one.server.add_toxic(one.proxy_name, kind, stream, attributes)
            yield self._prove_bite(one, entry, is_bitten, wait_s)

    def _noted(
        self, kind: str, link: Link, act: Callable[[], None], **facts: str
    ) -> Callable[[], None]:
        """`act`, written down now and struck when it is done: kinds as in undo_ways."""
        log = self.undo_log
        if log is None:
            return act
        host, _, port = link.server.address.rpartition(":")
        says = " ".join((kind.replace("_", " "), *facts.values(), "on the link", link.name))
        where = {"host": host, "port": int(port), "proxy": link.proxy_name}
        number = log.write(kind, says, **where, **facts)

        def undone() -> None:
            act()
            log.strike(number)

        return undone

    def _begin(self, link: Link, what: str) -> dict[str, object]:
        if self._is_free(link) and (met := link.feel(HEALS_WITHIN_S)).met != "answered":
            raise FaultDidNotBiteError(f"{link.name} was ill before the fault {what!r}: {met}")
        entry: dict[str, object] = {"link": link.name, "fault": what, "asked_s": now_s()}
        self.log.append(entry)
        return entry

    def _prove_bite(
        self,
        link: Link,
        entry: dict[str, object],
        is_bitten: Callable[[Reading], bool],
        wait_s: float,
    ) -> Reading:
        readings: list[Reading] = []

        def bites() -> bool:
            readings.append(link.feel(wait_s))
            return is_bitten(readings[-1])

        if not came_true(bites, within_s=self._bites_within_s):
            raise FaultDidNotBiteError(f"{entry}: did not bite: {readings[-1]}")
        entry.update(bites_s=now_s(), met=readings[-1].met)
        return readings[-1]

    def _prove_healed(self, link: Link, entry: dict[str, object]) -> None:
        def is_well() -> bool:
            if not self._is_free(link):
                return True  # another fault on the same link goes on
            if link.feel(HEALS_WITHIN_S).met == "answered":
                return True
            return link.feel_upstream(HEALS_WITHIN_S).met != "answered"  # ill behind the proxy

        if not came_true(is_well, within_s=HEALS_WITHIN_S):
            raise FaultNotHealedError(f"{link.name} is not well after {entry['fault']!r}")
        entry["healed_s"] = now_s()

    def _is_free(self, link: Link) -> bool:
        now = link.server.proxy(link.proxy_name)
        return bool(now["enabled"]) and not now["toxics"]

    def left_over(self) -> list[str]:
        """Links that still have a toxic or are disabled: nothing may be left after a claim."""
        return [link.name for link, _ in self._ill()]

    def heal_all(self) -> None:
        """Remove every toxic and open every link, whoever made it so."""
        for link, toxics in self._ill():
            for toxic in toxics:
                link.server.remove_toxic(link.proxy_name, toxic)
            link.server.update(link.proxy_name, enabled=True)

    def _ill(self) -> list[tuple[Link, list[str]]]:
        """Links with their toxics, if they have any or are disabled; asks each server once.

        Raises: ToxiproxyError, also when a link's proxy is gone.
        """
        found = []
        servers = {link.server for link in self.links.values()}
        seen = {server: server.proxies() for server in servers}
        for link in self.links.values():
            now = seen[link.server].get(link.proxy_name)
            if now is None:
                raise ToxiproxyError(f"{link.name}: there is no proxy {link.proxy_name}")
            if now["toxics"] or not now["enabled"]:
                found.append((link, [str(toxic["name"]) for toxic in now["toxics"]]))
        return found


def _is_broken(met: Reading) -> bool:
    return met.met in {"reset", "closed"}
