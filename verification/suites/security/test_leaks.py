"""What must never leave: secrets, users' texts, and who they are; after every kind of trouble."""

from __future__ import annotations

import itertools
import secrets
from typing import TYPE_CHECKING, Any

from verification.checkers.leakage import Canary, Kind, LeaksNothing
from verification.contract import http, promises
from verification.harness import billing, records, stripe_events, stripe_objects
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.reach import require_every_worker
from verification.harness.waiting import together_over

if TYPE_CHECKING:
    from verification.harness.target import Target
    from verification.harness.users import User
    from verification.history import History

EVERYTHING = [
    can.USERS,
    can.SCRIPT,
    can.FAULTS,
    can.LOGS,
    can.METRICS,
    can.REDIS_READ,
    can.DATABASE,
    can.CANARIES,
    can.STRIPE_SECRET,
]
CHAT_TEXT = "message of "
# Where a caller is, as a proxy tells it, and as the socket of a service on this machine does.
ADDRESSES = ("203.0.113.77", "127.0.0.1")


def talkative(key: str) -> list[dict[str, Any]]:
    """Answers of a provider in trouble that carry its key along, as vendors' own do."""
    said = f"Incorrect API key provided: {key}. Authorization: Bearer {key}"
    return [
        {"status": 401, "body": {"error": {"type": "invalid_request_error", "message": said}}},
        {"status": 500, "body": {"error": {"type": "server_error", "message": said}}},
        {"raw": f"HTTP/1.1 400 {key}\r\nX-Key: {key}\r\n\r\n"},
        {"raw": f"{said}\r\n\r\n"},
    ]


def provoke(target: Target, user: User) -> None:
    """Have every provider answer so, plain and streamed, and Stripe once."""
    for name in target.providers:
        for reply in talkative(target.provider(name).key) * 2:
            target.provider(name).reply(times=1, **reply)
    for stream in (False, True) * 4:
        target.chat(user, "hello", stream=stream)
    told = stripe_events.subscription_created(stripe_objects.subscription(user, plan="pro"))
    said = f"Invalid API Key provided: {target.stripe.key}"
    target.stripe.reply(status=401, body={"error": {"message": said}})
    billing.deliver(target, told)
    target.stripe.clear_rules()
    billing.deliver(target, told)


@claim(
    "security.secrets.never-leave",
    proves=[promises.NO_SECRET_LEAVES, promises.HEALTH_TELLS_NO_SECRET],
    needs=EVERYTHING,
    faults=["redis", "openai", "anthropic"],
)
def test_no_secret_stands_outside_the_call_that_it_authenticates(
    target: Target, history: History
) -> None:
    user = target.new_customer()

    assert target.chat(user, "hello").is_whole
    provoke(target, user)
    with target.faults.reset("openai"), target.faults.refuse("anthropic"):
        target.chat(user, "hello")
    with target.faults.refuse("redis"):
        target.chat(user, "hello")
        target.http.get(http.HEALTH.path)
    target.http.post(http.WEBHOOKS.path, content=b"{}", headers={"stripe-signature": "t=1,v1=no"})
    records.record_said(history, target)

    LeaksNothing(records.secret_canaries(target))(history).require()


@claim(
    "security.secrets.wrong-key-not-echoed",
    proves=[promises.NO_SECRET_LEAVES],
    needs=[can.USERS, can.LOGS, can.SHELL],
)
def test_a_key_that_is_refused_is_told_to_nobody(target: Target) -> None:
    user = target.new_user()
    assert target.shell(["keys", "revoke", user.key_id]).code == 0
    mistyped = user.key[:-6] + secrets.token_hex(3)

    answers = [
        target.http.post(http.CHAT.path, json={"message": "hello"}, key=mistyped),
        target.http.get(http.SUBSCRIPTION.path, key=f"  {mistyped}"),
        target.http.get(f"/api/nowhere?api_key={mistyped}", key=mistyped),
        target.http.post(http.CHAT.path, content=f'{{"message": "{mistyped}"', key=mistyped),
    ]
    said = target.raw_log_text() + "".join(answer.text for answer in answers)

    runs = {mistyped[at : at + 12] for at in range(len(mistyped) - 11)}
    assert [run for run in runs if run in said and not user.key_id.startswith(run)] == []
    assert {answer.status for answer in answers} <= {400, 401, 404}


@claim(
    "security.text.stays-with-its-owner",
    proves=[promises.TENANTS_APART, promises.NO_PERSON_IN_LOGS],
    needs=EVERYTHING,
    workers=2,
)
def test_no_users_text_and_no_identity_is_seen_by_anybody_else(
    target: Target, history: History
) -> None:
    users = [target.new_user("pro") for _ in range(6)]
    texts = {user.id: f"{CHAT_TEXT}{secrets.token_hex(12)}" for user in users}
    for name in target.providers:
        target.provider(name).reply(delay_s=0.05)
    rounds = [(user, stream) for user, stream in itertools.product(users, (False, True))]

    results = together_over(
        rounds, lambda one: target.chat(one[0], texts[one[0].id], stream=one[1])
    )
    records.record_said(history, target)

    require_every_worker((one.answer.served_by for one in results), target.workers_wanted)
    assert all(
        texts[user.id] in result.reply for (user, _), result in zip(rounds, results, strict=True)
    )
    canaries = [
        Canary(f"text of {id_}", text, Kind.TEXT, (f"answer:{id_}", "provider:*"))
        for id_, text in texts.items()
    ]
    canaries += [
        Canary(f"id of {id_}", id_, Kind.IDENTITY, (f"answer:{id_}", "redis", "database"))
        for id_ in texts
    ]
    LeaksNothing(canaries)(history).require()
    calls = [call.text for name in target.providers for call in target.provider(name).journal()]
    assert {sum(text in call for text in texts.values()) for call in calls} == {1}


@claim(
    "security.text.refused-not-echoed",
    proves=[promises.NO_PERSON_IN_LOGS, promises.PROBLEM_ERRORS],
    needs=[can.USERS, can.LOGS],
)
def test_what_is_refused_is_repeated_neither_to_the_caller_nor_in_the_log(
    target: Target,
) -> None:
    canary = f"private-{secrets.token_hex(12)}"
    user = target.new_user()
    bodies: dict[str, dict[str, Any]] = {
        "a missing field": {"text": canary},
        "a wrong type": {"message": [canary], "model": canary},
        "an unknown field": {"message": "hello", canary: 1},
    }

    answers = {
        case: target.http.post(
            http.CHAT.path, json=body, key=user.key, headers={"x-forwarded-for": ADDRESSES[0]}
        )
        for case, body in bodies.items()
    }

    refusals = {case: (answer.status, answer.code) for case, answer in answers.items()}
    assert refusals == dict.fromkeys(bodies, (422, "invalid_request"))
    assert canary not in target.raw_log_text() + "".join(one.text for one in answers.values())
    lines = [line for line in target.logs() if line.get("event") == "request"]
    assert len(lines) >= len(bodies)
    assert [line for line in lines if any(one in str(line) for one in ADDRESSES)] == []
