"""How far a run may go, what it will need, and what it has used: arithmetic, no I/O.

Requests are counted before they go out. Tokens are reserved by the file's estimate and
corrected by what the answer says it used; money follows from tokens. A leaf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# What one chat of a claim costs where nobody said otherwise: a sentence and a short answer,
# with an answer's ceiling of 1024 tokens hardly ever reached.
TOKENS_PER_CHAT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What chats are expected to cost."""

    tokens_per_chat: int = TOKENS_PER_CHAT
    per_1k_tokens: float = 0.0
    currency: str = ""

    def money(self, tokens: int) -> float:
        """What so many tokens cost."""
        return tokens * self.per_1k_tokens / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was used, or will be: `chats` are those of the requests that ask a provider."""

    requests: int = 0
    chats: int = 0
    tokens: int = 0

    def __add__(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(
            requests=self.requests + other.requests,
            chats=self.chats + other.chats,
            tokens=self.tokens + other.tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that a run may use. `money` None: bounded by the tokens alone."""

    requests: int
    tokens: int
    money: float | None = None
    prices: Prices = Prices()

    def exceeded_by(self, spent: Spent) -> str:
        """What is over the budget, in words; empty when nothing is."""
        if spent.requests > self.requests:
            return f"limits.requests ({self.requests})"
        if spent.tokens > self.tokens:
            return f"limits.tokens ({self.tokens})"
        if self.money is not None and self.prices.money(spent.tokens) > self.money:
            return f"limits.money ({self.money:g} {self.prices.currency})".replace(" )", ")")
        return ""

    def estimate(self, *, requests: int, chats: int) -> Spent:
        """What so many requests and chats are expected to use."""
        return Spent(requests=requests, chats=chats, tokens=chats * self.prices.tokens_per_chat)

    def told(self, spent: Spent) -> str:
        """What was used beside what may be, in one line."""
        parts = [
            f"{spent.requests} of {self.requests} requests",
            f"{spent.tokens} of {self.tokens} tokens ({spent.chats} chats)",
        ]
        if self.prices.per_1k_tokens:
            most = "" if self.money is None else f" of {self.money:g}"
            cost = self.prices.money(spent.tokens)
            parts.append(f"{cost:.2f}{most} {self.prices.currency}".strip())
        return ", ".join(parts)
