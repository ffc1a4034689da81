"""Billing as claims drive it: deliver what Stripe would, read what came of it.

Writes the operations that verification/checkers/exactly_once.py judges.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from verification.checkers.exactly_once import DELIVER
from verification.checkers.exactly_once import LEDGER as READ
from verification.contract.http import LEDGER, LEDGER_LIST, SUBSCRIPTION, WEBHOOKS
from verification.harness.http_client import Http
from verification.harness.stripe_signature import HEADER, Signature, signature
from verification.history import History, Outcome

if TYPE_CHECKING:
    from verification.harness.answer import Answer
    from verification.harness.stripe_events import StripeEvent
    from verification.harness.target import Target
    from verification.harness.users import User

# As long as Stripe's own command line waits for an answer.
DELIVERY_TIMEOUT_S: Final = 30.0


def deliver(
    target: Target,
    event: StripeEvent,
    history: History | None = None,
    *,
    secret: str | None = None,
    at: int | None = None,
    header: Signature | str | None = None,
    raw: bytes | None = None,
    is_signed: bool = True,
    process: str | None = None,
    http: Http | None = None,
    path: str = WEBHOOKS.path,
    timeout_s: float = DELIVERY_TIMEOUT_S,
) -> Answer:
    """Deliver an event as Stripe does, freshly signed; records Operation f="deliver".

    Takes: `secret` and `at` to sign with another secret or at another time; `header` instead of
    a signature, `is_signed` False for none; `raw` for a body that is not the event's, signed
    itself unless there is a `header`; `http`, another way to the service.
    Gives: the answer, also of a refusal or a broken connection; never raises for those.
    """
    body = event.payload if raw is None else raw
    sent = [("Content-Type", "application/json; charset=utf-8")]
    if is_signed:
        made = header or signature(body, secret or target.webhook_secret, at=at)
        sent.append((HEADER, str(made)))
    answer = (http or target.http).post(path, content=body, headers=sent, timeout_s=timeout_s)
    if history is not None:
        value = {
            "event": event.id,
            "user": event.user,
            "status": answer.status,
            "code": answer.code,
            "error": answer.error,
            "retry_after_s": answer.retry_after_s,
            "kind": event.type,
            "invoice": event.invoice,
            "served_by": answer.served_by,
        }
        _record(history, DELIVER, answer, delivery_outcome(answer), process, value)
    return answer


def delivery_outcome(answer: Answer) -> Outcome:
    """ok: acknowledged. fail: never sent, or refused with 4xx. info: anything else."""
    if answer.is_complete and 200 <= answer.status < 300:  # noqa: PLR2004
        return Outcome.OK
    is_refused = answer.is_complete and 400 <= answer.status < 500  # noqa: PLR2004
    return Outcome.FAIL if answer.never_sent or is_refused else Outcome.INFO


def read_ledger(
    target: Target,
    user: User,
    history: History | None = None,
    *,
    process: str | None = None,
    http: Http | None = None,
) -> list[dict[str, Any]]:
    """The rows of the user's ledger; records Operation f="ledger", ok when it was read.

    Gives: [] also when it could not be read; the operation says so.
    """
    answer = (http or target.http).get(LEDGER.path, key=user.key)
    body = answer.json()
    rows = body.get(LEDGER_LIST) if isinstance(body, dict) else None
    is_read = answer.is_complete and answer.status == 200 and isinstance(rows, list)  # noqa: PLR2004
    found = [row for row in rows or [] if isinstance(row, dict)] if is_read else []
    if history is not None:
        value = {"user": user.id, "status": answer.status, "entries": found}
        _record(history, READ, answer, Outcome.OK if is_read else Outcome.INFO, process, value)
    return found


def subscription(target: Target, user: User, *, http: Http | None = None) -> dict[str, Any]:
    """What the service says of the user's subscription, {} when it says nothing."""
    answer = (http or target.http).get(SUBSCRIPTION.path, key=user.key)
    body = answer.json()
    return body if answer.status == 200 and isinstance(body, dict) else {}  # noqa: PLR2004


def _record(
    history: History,
    kind: str,
    answer: Answer,
    outcome: Outcome,
    process: str | None,
    value: dict[str, Any],
) -> None:
    history.add(
        process=process or threading.current_thread().name,
        f=kind,
        value=value,
        outcome=outcome,
        started_s=answer.sent_s,
        finished_s=answer.done_s,
        evidence=answer.request_id,
    )
