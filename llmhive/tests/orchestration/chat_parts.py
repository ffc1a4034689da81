"""What a chat request meets, played by strict fakes: an unexpected call fails the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from llmhive.app.breakers.permit import BreakerOpenError
from llmhive.app.orchestration.chat import ChatService
from llmhive.app.orchestration.context import CallerWatch, Deadline, RequestContext
from llmhive.app.orchestration.model import (
    ChatConfig,
    ChatRequest,
    Completion,
    FinishReason,
    StreamEnd,
    Usage,
)
from llmhive.app.orchestration.ports import ProviderError, ProviderRoute
from llmhive.app.orchestration.retries import AttemptEnd
from llmhive.tests.orchestration.virtual_time import LoopClock, wait

USAGE = Usage(7, 5)
GOOD = Completion("hello", FinishReason.STOP, USAGE)
END = StreamEnd(FinishReason.STOP, USAGE)
ASK = ChatRequest("hi there")


@dataclass(frozen=True)
class After:
    """A step that takes its time; `then` of None takes for ever."""

    seconds: float = 1e9
    then: object = None


HANG = After()
Step = Completion | ProviderError | After
Piece = str | StreamEnd | ProviderError | After


def failure(end: AttemptEnd, *, wait_s: float | None = None) -> ProviderError:
    return ProviderError(end, wait_s=wait_s)


@dataclass
class ScriptedProvider:
    """Plays its script, one step per call; a call beyond it fails."""

    name: str = "openai"
    model: str = "gpt-4o"
    steps: list[Step] = field(default_factory=list)
    streams: list[list[Piece]] = field(default_factory=list)
    called_at: list[float] = field(default_factory=list)
    asked: list[ChatRequest] = field(default_factory=list)
    hung_up: int = 0
    pulled: int = 0

    async def complete(self, request: ChatRequest) -> Completion:
        self._note(request)
        assert self.steps, f"unexpected call of {self.name}"
        step = await self._passed(self.steps.pop(0))
        assert isinstance(step, Completion)
        return step

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | StreamEnd, None]:
        self._note(request)
        assert self.streams, f"unexpected stream of {self.name}"
        is_whole = False
        try:
            for piece in self.streams.pop(0):
                passed = await self._passed(piece)
                assert isinstance(passed, str | StreamEnd)
                self.pulled += 1
                is_whole = isinstance(passed, StreamEnd)
                yield passed
            is_whole = True
        finally:
            self.hung_up += not is_whole

    def _note(self, request: ChatRequest) -> None:
        self.called_at.append(asyncio.get_running_loop().time())
        self.asked.append(request)

    async def _passed(self, step: object) -> object:
        if isinstance(step, After):
            try:
                await wait(step.seconds)
            except asyncio.CancelledError:
                self.hung_up += 1
                raise
            step = step.then
        if isinstance(step, ProviderError):
            raise step
        return step


@dataclass
class FakePermit:
    """Keeps the first report, as the real one does."""

    breakers: FakeBreakers
    name: str
    report: str | None = None

    def _hear(self, report: str) -> None:
        if self.report is None:
            self.report = report

    def succeed(self) -> None:
        self._hear("success")

    def fail(self, reason: str, *, connect: bool = False) -> None:
        self._hear(f"fail:{reason}" + (":connect" if connect else ""))

    def neutral(self) -> None:
        self._hear("neutral")

    def cool_down(self, seconds: float) -> None:
        self._hear(f"cool_down:{seconds:g}")
        self.breakers.rests_until[self.name] = asyncio.get_running_loop().time() + seconds


@dataclass
class FakeBreakers:
    """Closed unless a test opened it; a credential rests as long as it was told to.

    Asking takes `asked_s`, as over a network.
    """

    asked_s: float | None = None
    open_for: dict[str, float] = field(default_factory=dict)
    rests_until: dict[str, float] = field(default_factory=dict)
    permits: list[FakePermit] = field(default_factory=list)
    leases: list[float | None] = field(default_factory=list)

    @property
    def reports(self) -> list[str | None]:
        return [permit.report for permit in self.permits]

    async def acquire(
        self, provider: str, name: str, *, attempt_timeout_s: float | None = None
    ) -> FakePermit:
        assert name == f"{provider}:0"
        if self.asked_s is not None:
            await wait(self.asked_s)
        rest_s = self.rests_until.get(name, 0.0) - asyncio.get_running_loop().time()
        if rest_s > 0:
            raise BreakerOpenError(name, rest_s, "cooling_down")
        if name in self.open_for:
            raise BreakerOpenError(name, self.open_for[name], "timed_out")
        self.permits.append(FakePermit(self, name))
        self.leases.append(attempt_timeout_s)
        return self.permits[-1]


@dataclass(frozen=True)
class FakeAdmission:
    allowed: bool = True
    refused_by: str | None = None
    retry_after_s: int = 0

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"ratelimit", b'"requests";r=1;t=1')]


@dataclass
class FakeLimiter:
    """Admits unless told otherwise; settling what was not admitted, or twice, fails."""

    refused_by: str | None = None
    settle_takes_s: float = 0.0
    reserved: list[int] = field(default_factory=list)
    settled: list[int | None] = field(default_factory=list)
    open_seats: int = 0

    async def admit(self, user: str, tier: str, *, tokens: int) -> FakeAdmission:
        assert (user, tier) == ("ada", "free")
        await wait(0)
        if self.refused_by is not None:
            return FakeAdmission(allowed=False, refused_by=self.refused_by, retry_after_s=9)
        self.open_seats += 1
        self.reserved.append(tokens)
        return FakeAdmission()

    async def settle(self, admission: FakeAdmission, *, tokens_used: int | None) -> None:
        assert admission.allowed
        await wait(self.settle_takes_s)
        assert self.open_seats >= 1, "settled twice"
        self.open_seats -= 1
        self.settled.append(tokens_used)


@dataclass
class Recorder:
    """An observer that remembers."""

    attempts: list[tuple[str, str]] = field(default_factory=list)
    retries: list[str] = field(default_factory=list)
    fallbacks: list[str] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)

    def attempt_ended(self, provider: str, outcome: str, duration_s: float) -> None:
        assert duration_s >= 0
        self.attempts.append((provider, outcome))

    def retried(self, provider: str) -> None:
        self.retries.append(provider)

    def fell_back(self, provider: str) -> None:
        self.fallbacks.append(provider)

    def tokens_used(self, usage: Usage) -> None:
        self.usages.append(usage)


@dataclass(frozen=True)
class Ada:
    """Who asks."""

    user_id: str = "ada"
    tier: str = "free"


class Scene:
    """One chat service and everything around it; each request has a caller that may leave."""

    def __init__(
        self,
        providers: Sequence[ScriptedProvider],
        *,
        config: ChatConfig | None = None,
        draw: float = 0.0,
        wall_clock_s: float = 120.0,
    ) -> None:
        self.providers = list(providers)
        self.limiter = FakeLimiter()
        self.breakers = FakeBreakers()
        self.observer = Recorder()
        self.wall_clock_s = wall_clock_s
        self.chat: ChatService[FakeAdmission] = ChatService(
            [ProviderRoute(each, f"{each.name}:0") for each in providers],
            limiter=self.limiter,
            breakers=self.breakers,
            config=config or ChatConfig(),
            clock=LoopClock(),
            observer=self.observer,
            draw=lambda: draw,
        )

    def context(self, *, leaves_after_s: float = 1e8) -> RequestContext:
        async def gone() -> None:
            await wait(leaves_after_s)

        deadline = Deadline(LoopClock(), self.wall_clock_s)
        return RequestContext("req_1", deadline, CallerWatch(gone))
