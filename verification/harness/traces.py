"""What a claim leaves: everything that went over the wire and out of the service.

Two readers: the evidence folder (secrets masked by value) and the scan for leaks (as it
was). Imports the stack's model; judges nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import redis

from verification.harness import capabilities as can
from verification.harness import database
from verification.harness.metrics_view import MetricsUnreadableError
from verification.harness.simulated import SimulatorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from verification.harness.http_client import Answer
    from verification.harness.stack.model import Stack
    from verification.harness.target import Target


def everything_said(target: Target, stack: Stack) -> dict[str, str]:
    """Source -> text of everything that left the service, unmasked: for the scan for leaks.

    Every answer (headers and body), the log, the metrics, health, and what Redis and the
    database hold.
    """
    said = {
        f"answer {number}: {answer.request.method} {answer.request.url}": _heard(answer)
        for number, answer in enumerate(target.answers)
    }
    said["health"] = _heard(target.http.get("/api/health"))
    if can.LOGS in stack.capabilities:
        said["log"] = target.raw_log_text()
    if can.METRICS in stack.capabilities:
        said["metrics"] = _metrics(target)
    if can.REDIS_READ in stack.capabilities:
        said["redis"] = _lines(_redis(stack))
    if can.DATABASE in stack.capabilities:
        said["database"] = _lines(database.rows(stack.database_file))
    return said


def write(folder: Path, target: Target, stack: Stack) -> None:
    """Write what the claim left into `folder`, secrets masked by value."""
    folder.mkdir(parents=True, exist_ok=True)
    masked = _Mask(target)
    files = {
        "requests.jsonl": _lines(_exchange(answer) for answer in list(target.answers)),
        "stack.json": json.dumps(_facts(stack), indent=2, sort_keys=True),
    }
    if can.LOGS in stack.capabilities:
        files["service.log"] = stack.logs.text()
    if can.METRICS in stack.capabilities:
        files["metrics.txt"] = _metrics(target)
    if can.REDIS_READ in stack.capabilities:
        files["redis.jsonl"] = _lines(_redis(stack))
    if can.SCRIPT in stack.capabilities:
        files |= {
            f"journal-{simulator.name}.jsonl": _journal(simulator)
            for simulator in (*stack.providers.values(), stack.stripe)
        }
    if can.FAULTS in stack.capabilities:
        files["faults.jsonl"] = _lines(stack.faults.log)
    for name, text in files.items():
        (folder / name).write_text(masked(text), "utf-8")


class _Mask:
    """Replaces each known secret by its name."""

    def __init__(self, target: Target) -> None:
        self._names = {secret: name for name, secret in target.secrets.items() if secret}

    def __call__(self, text: str) -> str:
        for secret, name in self._names.items():
            text = text.replace(secret, f"<{name}>")
        return text


def _exchange(answer: Answer) -> dict[str, Any]:
    return {
        "method": answer.request.method,
        "url": answer.request.url,
        "sent": answer.request.body.decode("utf-8", "replace"),
        "request_headers": list(answer.request.headers),
        "status": answer.status,
        "error": answer.error,
        "headers": answer.headers.multi_items(),
        "body": answer.text,
        "sent_s": answer.sent_s,
        "first_byte_s": answer.first_byte_s,
        "done_s": answer.done_s,
    }


def _heard(answer: Answer) -> str:
    headers = "\n".join(f"{name}: {value}" for name, value in answer.headers.multi_items())
    return f"{headers}\n\n{answer.text}"


def _facts(stack: Stack) -> Mapping[str, Any]:
    return {
        "kind": stack.kind,
        "versions": dict(stack.versions),
        "workers": stack.worker_count,
        "instance": stack.instance,
        "settings": dict(stack.settings),
    }


def _metrics(target: Target) -> str:
    try:
        return target.metrics().text
    except MetricsUnreadableError as error:
        return f"# not readable: {error}\n"


def _redis(stack: Stack) -> Iterable[dict[str, Any]]:
    try:
        return [asdict(view) for view in stack.redis.dump()]
    except redis.RedisError as error:
        return [{"not readable": repr(error)}]


def _journal(simulator: Any) -> str:
    try:
        return _lines(asdict(call) for call in simulator.journal())
    except SimulatorError as error:
        return _lines([{"not readable": str(error)}])


def _lines(facts: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(fact, default=repr) + "\n" for fact in facts)
