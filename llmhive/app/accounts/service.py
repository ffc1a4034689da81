"""Who is asking: keys looked up once in a while and kept by the hash of all of them.

A known key is looked up again in the background before its time is over, so that a request
hardly ever waits; a reading counts from when it was begun, so that a revocation is never
overtaken by a slow one. What is unknown is never kept. Without the database a known key
works a little longer, an unknown one gets 503; so it does while too many are looked up.
May not import adapters. Source: DESIGN.md, section 3.8.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from llmhive.app.accounts.model import (
    BEARER_LENGTH_MAX,
    AccountConfig,
    KeyRecord,
    KeyRefusedError,
    Principal,
    bearer_of,
    effective_tier,
    key_hash,
)
from llmhive.app.accounts.ports import KeyStore
from llmhive.app.clock import Clock
from llmhive.app.errors import CapacityError, DependencyError


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the database said of a key, as of the moment at which it was asked."""

    record: KeyRecord
    principal: Principal
    asked_at: float


class AccountService:
    """Keys of one worker."""

    def __init__(self, store: KeyStore, config: AccountConfig, *, clock: Clock) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._readings: dict[str, _Reading] = {}
        self._lookups: dict[str, asyncio.Task[_Reading | None]] = {}

    async def authenticate(self, bearer: str | None) -> Principal:
        """Say who presents this `Authorization` field, or this bare key.

        Raises: KeyRefusedError (401, definite) with code missing_api_key, invalid_api_key or
        expired_api_key; CapacityError (503) when the key is unknown here and the database away,
        or asked for too many keys already.
        """
        key = bearer_of(bearer)
        if len(key) > BEARER_LENGTH_MAX:
            raise KeyRefusedError
        digest = key_hash(key)
        reading = self._readings.get(digest)
        age_s = self._clock.monotonic() - reading.asked_at if reading else 0.0
        if reading is None or age_s > self._config.cache_s:
            reading = await self._fresh(digest, reading)
        elif age_s > self._config.cache_s / 2:
            self._look_up(digest)
        return self._checked(reading)

    def _checked(self, reading: _Reading | None) -> Principal:
        if reading is None or reading.record.revoked_at is not None:
            raise KeyRefusedError
        expires_at = reading.record.expires_at
        if expires_at is not None and expires_at <= self._clock.wall():
            raise KeyRefusedError("This API key has expired.", code="expired_api_key")
        return reading.principal

    async def _fresh(self, digest: str, known: _Reading | None) -> _Reading | None:
        """Ask the database; without it, what is known and not too old.

        An unknown key that would be one lookup too many is not asked for.
        """
        is_crowded = len(self._lookups) >= self._config.lookups_max
        if known is None and is_crowded and digest not in self._lookups:
            raise _unchecked()
        try:
            async with asyncio.timeout(self._config.lookup_s):
                return await asyncio.shield(self._look_up(digest))
        except (DependencyError, TimeoutError) as error:
            now = self._clock.monotonic()
            if known is not None and now - known.asked_at <= self._config.stale_s:
                return known
            raise _unchecked() from error

    def _look_up(self, digest: str) -> asyncio.Task[_Reading | None]:
        """The one lookup of this key that is under way, begun now if there is none."""
        lookup = self._lookups.get(digest)
        if lookup is None:
            lookup = asyncio.get_running_loop().create_task(self._ask(digest))
            self._lookups[digest] = lookup
            lookup.add_done_callback(lambda done: self._ended(digest, done))
        return lookup

    async def _ask(self, digest: str) -> _Reading | None:
        asked_at = self._clock.monotonic()
        record = await self._store.find(digest)
        if record is None:
            self._readings.pop(digest, None)
            return None
        reading = _Reading(record, self._principal(record), asked_at)
        self._keep(digest, reading)
        return reading

    def _ended(self, digest: str, lookup: asyncio.Task[_Reading | None]) -> None:
        self._lookups.pop(digest, None)
        if not lookup.cancelled():
            lookup.exception()  # whoever waited was told; a refresh in the background asks again

    def _keep(self, digest: str, reading: _Reading) -> None:
        self._readings.pop(digest, None)
        self._readings[digest] = reading
        while len(self._readings) > self._config.cached_keys_max:
            del self._readings[next(iter(self._readings))]

    def _principal(self, record: KeyRecord) -> Principal:
        tiers = self._config.tiers
        return Principal(
            user_id=record.user_id,
            tier=effective_tier(record.granted_tier, record.entitled_tier, tiers),
            scopes=record.scopes,
            key_id=record.key_id,
            stripe_customer=record.stripe_customer,
        )


def _unchecked() -> CapacityError:
    return CapacityError(
        "This API key cannot be checked now.", code="database_unavailable", retry_after_s=1
    )
