"""An operator's limit for one user, for a while: above or below what the tier says.

The database decides; every worker reads all overrides that stand once a second, and keeps
the shared state's copy of each in step, which decisions read at once. A copy that somebody
edited by hand stands until its end; a new word of the operator replaces it, and one that was
given while no worker ran is told from the present one by the revision that the copy shows.
May not import adapters. Source: DESIGN.md, section 3.2; checklist, "Rate Limit Override".
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from llmhive.app.clock import Clock
from llmhive.app.errors import CallerError, CapacityError, DependencyError

# A fifth of the 5 s within which every worker must know; a reading costs one small query.
FOLLOW_EVERY_S: Final = 1.0
# Rounds after which copies that vanished are shown again; decisions do without them.
REPAIR_EVERY: Final = 10
# Above any tier a thousandfold; what is larger is a slip of the keyboard.
REQUESTS_PER_MIN_MAX: Final = 1_000_000
# "Temporarily": a month, after which the tier should be another one.
LASTS_S_MAX: Final = 31 * 86_400.0


@dataclass(frozen=True, slots=True)
class Override:
    """So many requests per minute for this user until `ends_at`, in wall-clock seconds.

    `revision` is random and tells one word of the operator from the next.
    """

    user: str
    requests_per_min: int
    ends_at: float
    revision: str

    def per_window(self, window_s: float) -> int:
        """Requests per window, rounded down, but one at least where any are granted."""
        return max(min(self.requests_per_min, 1), int(self.requests_per_min * window_s / 60))


class OverrideStore(Protocol):
    """Where overrides are kept. All methods raise DependencyError."""

    async def standing(self, at: float) -> list[Override]:
        """Every override that has not ended."""

    async def put(self, override: Override) -> bool:
        """Keep it instead of what the user had; False when there is no such user."""

    async def remove(self, user: str) -> bool:
        """Forget the user's override; False when there is none."""


class OverrideMirror(Protocol):
    """The copies that decisions read. All methods raise DependencyError and CapacityError."""

    async def copies(self) -> dict[str, str]:
        """The revision that each user's copy shows; copies made by hand show none."""

    async def show(self, override: Override, *, lasts_s: float, replaces: bool) -> None:
        """Show it for that long; what is shown already stays unless `replaces`."""

    async def hide(self, user: str, revision: str) -> None:
        """Take the user's copy away if it shows exactly this one."""


class LimitOverrides:
    """The overrides as one worker knows them."""

    def __init__(
        self,
        store: OverrideStore,
        *,
        clock: Clock,
        window_s: float,
        mirror: OverrideMirror | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._window_s = window_s
        self._mirror = mirror
        self._known: dict[str, Override] = {}
        self._shown: dict[str, str] | None = None
        self._rounds = 0

    def requests_for(self, user: str) -> int | None:
        """Requests per window that an operator granted the user; None leaves it to the tier."""
        override = self._known.get(user)
        if override is None or override.ends_at <= self._clock.wall():
            return None
        return override.per_window(self._window_s)

    async def put(self, user: str, *, requests_per_min: int, lasts_s: float) -> Override:
        """Grant the user so many requests per minute from now on, for `lasts_s`.

        Raises: CallerError (definite) for a number out of bounds and an unknown user;
        DependencyError.
        """
        if not 0 <= requests_per_min <= REQUESTS_PER_MIN_MAX:
            raise CallerError(f"Requests per minute: 0 to {REQUESTS_PER_MIN_MAX}.")
        if not 0 < lasts_s <= LASTS_S_MAX:
            raise CallerError(f"An override lasts for up to {LASTS_S_MAX:.0f} s.")
        ends_at = self._clock.wall() + lasts_s
        override = Override(user, requests_per_min, ends_at, secrets.token_hex(8))
        if not await self._store.put(override):
            raise CallerError("There is no such user.", code="not_found", http_status=404)
        return override

    async def remove(self, user: str) -> None:
        """Give the user back to their tier.

        Raises: CallerError (404, definite) when there is no override; DependencyError.
        """
        if not await self._store.remove(user):
            raise CallerError("This user has no override.", code="not_found", http_status=404)

    async def standing(self) -> list[Override]:
        """Every override that has not ended, as the database knows them now."""
        return await self._store.standing(self._clock.wall())

    # -- following

    async def follow(self) -> None:
        """Read the database once and bring the copies in step; without it keep what is known."""
        # Looked at first: what they show and the database has not was taken back.
        before = await self._copies()
        try:
            self._known = {each.user: each for each in await self.standing()}
        except DependencyError:
            return
        if self._mirror is None or before is None:
            return
        # A copy that has not been brought in step is tried again in the next round.
        with suppress(DependencyError, CapacityError):
            await self._reflect(self._mirror, before, self._known)

    async def follow_forever(self) -> None:
        """Keep this worker and the copies in step."""
        while True:
            await self.follow()
            await self._clock.sleep(FOLLOW_EVERY_S)

    async def _copies(self) -> dict[str, str] | None:
        """What the copies show, as this worker left or found them; None while out of reach."""
        if self._shown is not None or self._mirror is None:
            return self._shown
        with suppress(DependencyError, CapacityError):
            return await self._mirror.copies()
        return None

    async def _reflect(
        self, mirror: OverrideMirror, before: dict[str, str], standing: dict[str, Override]
    ) -> None:
        """Show what is new over everything, hide what was taken back, repair once in a while.

        What this worker meets first may be older than a copy that was made by hand.
        """
        is_first = self._shown is None
        self._rounds = (self._rounds + 1) % REPAIR_EVERY
        for user, override in standing.items():
            is_news = before.get(user, override.revision if is_first else "") != override.revision
            lasts_s = override.ends_at - self._clock.wall()
            if lasts_s > 0 and (is_news or is_first or self._rounds == 0):
                await mirror.show(override, lasts_s=lasts_s, replaces=is_news)
        for user, revision in before.items():
            if user not in standing:
                await mirror.hide(user, revision)
        self._shown = {user: override.revision for user, override in standing.items()}
