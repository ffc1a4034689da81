"""The usual way to use Locust, for the comparison: users that wait for each answer, then pace.

While the server stands still these users wait instead of sending, so the requests that would have
been late are never made. Every response time is also written raw, for the repair of such data.
Loaded by Locust only.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from locust import HttpUser, constant_pacing, events, task

PACE_S = 0.1
TIMES: list[float] = []


class Pacer(HttpUser):
    """One request each tenth of a second, if the answer before has come."""

    wait_time = constant_pacing(PACE_S)

    @task
    def health(self) -> None:
        """One request."""
        self.client.get("/api/health", timeout=30)


@events.request.add_listener
def note(response_time: float, **_: Any) -> None:
    """Keep a response time as it was, before Locust rounds it."""
    TIMES.append(response_time / 1000)


@events.quitting.add_listener
def write(**_: Any) -> None:
    """Leave the raw times."""
    Path(os.environ["LLMHIVE_CLOSED_TIMES"]).write_text(json.dumps(TIMES), "utf-8")
