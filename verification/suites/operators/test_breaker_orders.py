"""Orders to breakers: followed by every worker, above every timer, and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verification.contract import promises
from verification.contract.bounds import bounds
from verification.harness import capabilities as can
from verification.harness.claims import claim
from verification.harness.waiting import eventually

if TYPE_CHECKING:
    from verification.harness.target import Target, User


def asked_by_every_worker(target: Target, user: User) -> set[str]:
    """The provider that each worker asks for one chat."""
    asked = set()
    for served_by in target.reach_all_workers():
        with target.at_worker(served_by) as http:
            asked.add(str(target.chat(user, "hello", http=http).body.get("provider")))
    return asked


def followed(target: Target, user: User, provider: str, sentence: str) -> set[str]:
    """Wait until every worker asks that provider, within the bound of an order."""
    return eventually(
        lambda: asked_by_every_worker(target, user),
        until=lambda asked: asked == {provider},
        within_s=bounds().override_within_s,
        claim=sentence,
    )


@claim(
    "operators.breakers.orders",
    proves=[promises.BREAKER_ORDERS],
    needs=[can.USERS, can.SHELL, can.WORKERS],
    workers=2,
)
def test_an_order_to_a_breaker_is_followed_by_all_workers_until_it_is_reset(
    target: Target,
) -> None:
    user = target.new_user("enterprise")
    first, second = target.providers[:2]
    before = asked_by_every_worker(target, user)

    assert target.shell(["breakers", "force-open", first, "--reason", "claim"]).code == 0
    during = followed(target, user, second, "no worker asks a provider ordered open")
    assert target.shell(["breakers", "reset", first]).code == 0
    after = followed(target, user, first, "every worker asks it again after the reset")

    assert (before, during, after) == ({first}, {second}, {first})


@claim(
    "operators.breakers.survive-restart",
    proves=[promises.BREAKER_ORDERS],
    needs=[can.USERS, can.SHELL, can.REDIS_WRITE, can.RESTART, can.FAULTS],
    faults=("redis",),
)
def test_an_order_outlives_a_restart_and_the_loss_of_redis_memory(target: Target) -> None:
    user = target.new_user("enterprise")
    first, second = target.providers[:2]
    assert target.shell(["breakers", "force-open", first]).code == 0
    followed(target, user, second, "the order is followed by those who were there")

    # Those who were there could put it back into Redis.
    with target.faults.refuse("redis"):
        target.redis.flush()
        target.restart()
        followed(target, user, second, "the order is followed by those who were not there")
    assert target.shell(["breakers", "reset", first]).code == 0
