"""Stripe as billing asks it: a subscription by its id, over httpx, within one deadline.

Stripe's own library is not needed for one GET, and workers do not load it. Foreign errors end
here. Source: Stripe, API reference, "Retrieve a subscription", "Errors" (2026-10).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

import httpx
import orjson

from llmhive.app.billing.model import Snapshot, StripeError
from llmhive.app.billing.payloads import read_subscription

# The version whose shapes are read; older ones are read as well, should Stripe answer so.
API_VERSION: Final = "2026-09-30.endive"
# A subscription with twenty items has 60 kB.
ANSWER_BYTES_MAX: Final = 1_000_000


class StripeApi:
    """A SubscriptionSource."""

    def __init__(
        self, base_url: str, key: str, transport: httpx.AsyncBaseTransport, *, timeout_s: float
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._transport = transport
        self._timeout_s = timeout_s
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Stripe-Version": API_VERSION,
            "Accept": "application/json",
        }
        self._has_key = bool(key)

    async def subscription(self, subscription_id: str) -> Snapshot:
        """The subscription as it is now; all of it within the time-out.

        Raises: StripeError (not definite, though asking changes nothing).
        """
        if not self._has_key:
            raise StripeError("There is no key for Stripe.")
        with _translated():
            async with asyncio.timeout(self._timeout_s):
                body = await self._get(f"/v1/subscriptions/{quote(subscription_id, safe='')}")
        snapshot = _read(body)
        if snapshot is None or snapshot.subscription_id != subscription_id:
            raise StripeError("Stripe's answer is no such subscription.")
        return snapshot

    async def _get(self, path: str) -> bytes:
        request = httpx.Request("GET", self._base_url + path, headers=self._headers)
        response = await self._transport.handle_async_request(request)
        try:
            if response.status_code != httpx.codes.OK:
                raise StripeError(f"Stripe answered with {response.status_code}.")
            return await _joined(response.aiter_bytes())
        finally:
            await response.aclose()


async def _joined(chunks: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise StripeError(f"Stripe's answer is longer than {ANSWER_BYTES_MAX} bytes.")
    return bytes(body)


def _read(body: bytes) -> Snapshot | None:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise StripeError("Stripe's answer is no JSON.") from error
    return read_subscription(told) if isinstance(told, dict) else None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise StripeError("Stripe did not answer in time.") from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise StripeError("Stripe could not be reached.") from error
