"""Metrics of all workers, open unless METRICS_TOKEN is set.

Reading the workers' files takes milliseconds, so it is done in a thread.
"""

from __future__ import annotations

import asyncio
import hmac

from fastapi import APIRouter, Request, Response

from llmhive.app.accounts.model import KeyRefusedError, bearer_of
from llmhive.app.api.identity import authorization_of
from llmhive.app.telemetry import metrics

router = APIRouter(tags=["metrics"])


@router.get("/api/metrics", summary="Prometheus text, summed over all workers")
async def read_metrics(request: Request) -> Response:
    """Give every series as of now."""
    _check(request.app.state.metrics_token, authorization_of(request.scope))
    text = await asyncio.to_thread(metrics.exposition)
    return Response(text, headers={"content-type": metrics.CONTENT_TYPE})


def _check(token: str, authorization: str | None) -> None:
    if not token:
        return
    presented = bearer_of(authorization).encode("utf-8", "surrogatepass")
    if not hmac.compare_digest(presented, token.encode()):
        raise KeyRefusedError("The metrics need their own token.")
