"""Providers that hang, drip, fail or break off, scripted in their simulators.

The probe goes through the same link as the service's own calls, with a message that marks it:
what checkers read of a provider's journal leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from chaos.experiment import Nemesis
from verification.harness import capabilities as can
from verification.harness.faults import (
    BITES_WITHIN_S,
    HEALS_WITHIN_S,
    FaultDidNotBiteError,
    FaultNotHealedError,
)
from verification.harness.http_client import Answer, Http
from verification.harness.waiting import came_true

if TYPE_CHECKING:
    from chaos.apparatus import Apparatus

PROBE: Final = "probe-of-the-fault"
PATHS: Final = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
# A healthy simulator answers in a few ms.
SILENCE_S: Final = 0.5


def hang_provider(number: int = 0) -> Nemesis:
    """The provider (the first one, by default) accepts calls and never answers."""
    return Nemesis(
        name="hang_provider",
        does=f"provider {number + 1} accepts calls and never answers",
        touches=f"every call to provider {number + 1}, by its simulator's script",
        undone_by="the script is forgotten",
        needs=(can.SCRIPT, can.FAULTS),
        hold=_scripted(number, {"hang": True}, lambda met: met.error == "read_timeout"),
    )


def fail_provider(number: int = 0, status: int = 500) -> Nemesis:
    """The provider answers every call with an error."""
    return Nemesis(
        name="fail_provider",
        does=f"provider {number + 1} answers every call with {status}",
        touches=f"every call to provider {number + 1}, by its simulator's script",
        undone_by="the script is forgotten",
        needs=(can.SCRIPT, can.FAULTS),
        hold=_scripted(number, {"status": status}, lambda met: met.status == status),
    )


def fail_all_providers(status: int = 500) -> Nemesis:
    """Every provider answers every call with an error."""

    @contextmanager
    def hold(apparatus: Apparatus) -> Iterator[list[object]]:
        each = [fail_provider(number, status) for number in range(len(apparatus.target.providers))]
        with ExitStack() as held:
            yield [held.enter_context(one.hold(apparatus)) for one in each]

    return Nemesis(
        name="fail_all_providers",
        does=f"every provider answers every call with {status}",
        touches="every call to every provider, by their simulators' scripts",
        undone_by="the scripts are forgotten",
        needs=(can.SCRIPT, can.FAULTS),
        hold=hold,
    )


def drip_stream(every_s: float, pieces: int) -> Nemesis:
    """The first provider streams without an end in sight: a small piece each `every_s`."""
    script = {"chunks": ["drip "] * pieces, "chunk_delay_s": every_s}
    return Nemesis(
        name="drip_stream",
        does=f"provider 1 streams {pieces} pieces, one each {every_s:g} s",
        touches="every stream of provider 1, by its simulator's script",
        undone_by="the script is forgotten",
        needs=(can.SCRIPT, can.FAULTS),
        hold=_scripted(0, script, lambda met: b"drip" in met.body and met.error is not None),
    )


def break_streams(after_chunks: int, chunks: list[str]) -> Nemesis:
    """The first provider breaks off every answer in its middle, by a reset."""
    script = {"chunks": chunks, "cut_after_chunks": after_chunks, "cut": "rst"}
    return Nemesis(
        name="break_streams",
        does=f"provider 1 breaks off every answer after {after_chunks} of {len(chunks)} pieces",
        touches="every call to provider 1, by its simulator's script",
        undone_by="the script is forgotten",
        needs=(can.SCRIPT, can.FAULTS),
        hold=_scripted(0, script, lambda met: met.error in {"reset", "closed"}),
    )


def _scripted(
    number: int, reply: dict[str, Any], is_bitten: Callable[[Answer], bool]
) -> Callable[[Apparatus], AbstractContextManager[str]]:
    @contextmanager
    def hold(apparatus: Apparatus) -> Iterator[str]:
        target = apparatus.target
        name = target.providers[number]
        provider = target.provider(name)
        because = "the simulator ends with its run"
        with apparatus.written_down(f"{name} is scripted: {reply}", because), ExitStack() as undo:
            undo.callback(_prove_healed, apparatus, name)
            undo.callback(provider.clear_rules)
            provider.reply(**reply)
            yield _prove_bite(apparatus, name, is_bitten)

    return hold


def probe(apparatus: Apparatus, name: str) -> Answer:
    """Call a provider as the service does, through the same link."""
    target = apparatus.target
    link = target.faults.links[name]
    body = {
        "model": "probe",
        "max_tokens": 16,
        "stream": True,
        "messages": [{"role": "user", "content": PROBE}],
    }
    key = target.provider(name).key
    headers = {
        "authorization": f"Bearer {key}",
        "x-api-key": key,
        "anthropic-version": "2023-06-01",
    }
    http = Http(f"http://{link.host}:{link.port}")
    answer = http.post(PATHS[name], json=body, headers=headers, timeout_s=SILENCE_S)
    http.close()
    return answer


def _prove_bite(apparatus: Apparatus, name: str, is_bitten: Callable[[Answer], bool]) -> str:
    met: list[Answer] = []

    def bites() -> bool:
        met.append(probe(apparatus, name))
        return is_bitten(met[-1])

    if not came_true(bites, within_s=BITES_WITHIN_S):
        raise FaultDidNotBiteError(f"{name} as scripted: a probe met {met[-1]}")
    return f"{name}: {met[-1].error or met[-1].status}"


def _prove_healed(apparatus: Apparatus, name: str) -> None:
    if not came_true(lambda: probe(apparatus, name).status == 200, within_s=HEALS_WITHIN_S):  # noqa: PLR2004  HTTP's own
        raise FaultNotHealedError(f"{name} does not answer after its script was forgotten")
