"""What a chat request needs: providers, leave to call them, a limiter, somebody who counts.

The protocols are as narrow as their use here. Providers are adapters; limits and breakers are
features, which satisfy these by their shape, so that fakes can too. Imports models only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from llmhive.app.errors import DependencyError
from llmhive.app.orchestration.model import ChatRequest, Completion, StreamEnd, Usage
from llmhive.app.orchestration.retries import UNREACHED, AttemptEnd


class ProviderError(DependencyError):
    """One call of a provider did not end in a complete answer; `end` says how.

    Raised by providers and read by whoever decides what to try next; no caller ever sees it.
    Definite only if the provider was not reached. `detail` holds nothing that it wrote.
    """

    code = "provider_failed"
    title = "The provider gave no complete answer."

    def __init__(
        self, end: AttemptEnd, detail: str | None = None, *, wait_s: float | None = None
    ) -> None:
        super().__init__(detail, definite=end in UNREACHED)
        self.end = end
        self.wait_s = wait_s


class CompletionProvider(Protocol):
    """A language model behind one credential; each method is one request on the wire.

    Neither repeats anything, neither bounds its own time: that is the caller's. Cancelling
    either closes the connection at once.
    """

    @property
    def name(self) -> str:
        """The provider's name, from configuration: "openai"."""

    @property
    def model(self) -> str:
        """The model's name, from configuration: "gpt-4o"."""

    async def complete(self, request: ChatRequest) -> Completion:
        """Get the whole answer at once.

        Raises: ProviderError.
        """

    def stream(self, request: ChatRequest) -> AsyncGenerator[str | StreamEnd, None]:
        """Get the answer piece by piece as it is written, and its StreamEnd as the last item.

        An empty piece is a sign of life. One StreamEnd comes only when the provider said that
        the answer is complete. Nothing is read ahead. Close it by `aclose`.
        Raises: ProviderError, also in place of a StreamEnd.
        """


@dataclass(frozen=True, slots=True)
class ProviderRoute:
    """A provider and the name of the breaker that guards it: "openai:gpt-4o:0"."""

    provider: CompletionProvider
    breaker: str


class Permit(Protocol):
    """Leave for one attempt; the first report counts, the rest do nothing."""

    def succeed(self) -> None:
        """The answer was complete."""

    def fail(self, reason: str, *, connect: bool = False) -> None:
        """The provider failed; `connect`: it was not even reached."""

    def neutral(self) -> None:
        """The end says nothing about the provider."""

    def cool_down(self, seconds: float) -> None:
        """The credential has to rest."""


class Breakers(Protocol):
    """Who gives leave to call a provider."""

    async def acquire(
        self, provider: str, name: str, *, attempt_timeout_s: float | None = None
    ) -> Permit:
        """Give leave for one attempt.

        Raises: BreakerOpenError (definite), with the time to wait.
        """


class Admission(Protocol):
    """The limiter's decision, to be settled once if it is a yes."""

    @property
    def allowed(self) -> bool:
        """Whether the request may go on."""

    @property
    def refused_by(self) -> str | None:
        """Which limit said no: requests, tokens or in_flight."""

    @property
    def retry_after_s(self) -> float:
        """When to come again after a refusal."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What to tell the caller about the limits, in ASGI's form."""


AdmissionT = TypeVar("AdmissionT", bound=Admission)


class Limiter(Protocol[AdmissionT]):
    """Who decides whether a user may make a request now."""

    async def admit(self, user: str, tier: str, *, tokens: int) -> AdmissionT:
        """Count a request and reserve its tokens and a place in flight, all or nothing.

        Raises: CallerError when no budget could ever hold it; CapacityError.
        """

    async def settle(self, admission: AdmissionT, *, tokens_used: int | None) -> None:
        """Charge what was used instead of what was reserved and give the place back, once."""


class Principal(Protocol):
    """Who asks, as the key told."""

    @property
    def user_id(self) -> str:
        """Whose limits and whose bill."""

    @property
    def tier(self) -> str:
        """Which limits."""


class ChatObserver(Protocol):
    """Who counts; every method returns at once."""

    def attempt_ended(self, provider: str, outcome: str, duration_s: float) -> None:
        """A call of a provider ended: success, cancelled, or an AttemptEnd."""

    def retried(self, provider: str) -> None:
        """A provider is called again for the same request."""

    def fell_back(self, provider: str) -> None:
        """A request goes on to this provider because the one before it gave no answer."""

    def tokens_used(self, usage: Usage) -> None:
        """An answer cost this."""
