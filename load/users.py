"""Callers of the service as Locust's users: each sends what is due and waits for its answer.

A caller is no person: the schedule says which user of the service (which key) a request is from.
Loaded by generators only.
"""

from __future__ import annotations

import json
import time
from typing import Final

from locust import User, task
from locust.exception import StopUser

from load import webhooks
from load.dispatch import Dispatcher
from load.plan import Plan
from load.schedule import Arrival
from load.wire import Answer, Request, Wire
from verification.contract import http

JSON: Final = {"Content-Type": "application/json"}
NAMES: Final = {
    "chat": http.CHAT.path,
    "stream": f"{http.CHAT.path} (stream)",
    "health": http.HEALTH.path,
    "webhook": http.WEBHOOKS.path,
}
"""Kind -> its line in Locust's tables."""

MESSAGE: Final = "{mark} Say in one sentence why a stall must be counted for all who came in it."


def mark(run_id: str, index: int) -> str:
    """What a request's message carries, so that its provider's journal can be matched to it."""
    return f"{run_id}#{index}."


class Requests:
    """Makes the requests of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def of(self, arrival: Arrival) -> Request:
        """The request of one arrival, made now."""
        if arrival.kind == "health":
            return Request("GET", http.HEALTH.path)
        if arrival.kind == "webhook":
            return self._webhook(arrival)
        is_stream = arrival.kind == "stream"
        message = MESSAGE.format(mark=mark(self._plan.run_id, arrival.index))
        body: dict[str, object] = {"message": message}
        body |= {"stream": True} if is_stream else {}
        headers = {**JSON, "Authorization": f"Bearer {self._plan.key_for(arrival.draw)}"}
        return Request("POST", http.CHAT.path, json.dumps(body).encode(), headers, is_stream)

    def _webhook(self, arrival: Arrival) -> Request:
        now_s = time.time()
        payload = webhooks.body(self._plan.webhook_events, self._plan.run_id, arrival.index, now_s)
        signed = webhooks.signature(payload, self._plan.webhook_secret or "", now_s)
        return Request("POST", http.WEBHOOKS.path, payload, {**JSON, webhooks.SIGNATURE: signed})


class Sender:
    """Sends arrivals to one origin."""

    def __init__(self, plan: Plan, origin: str) -> None:
        self._requests = Requests(plan)
        self._wire = Wire(origin, plan.request_timeout_s)

    def __call__(self, arrival: Arrival) -> Answer:
        """Send one and wait for its answer."""
        return self._wire.exchange(self._requests.of(arrival))


class Current:
    """The dispatcher of this process's run, while there is one."""

    dispatcher: Dispatcher | None = None


class Caller(User):
    """Takes the next request that is due, sends it, waits for the answer, again."""

    @task
    def serve(self) -> None:
        """One request."""
        dispatcher = Current.dispatcher
        if dispatcher is None or dispatcher.over.is_set():
            raise StopUser
        dispatcher.serve_next()
