"""The service as a child: known before it is used, restarted, killed singly, tried beside."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from verification.harness.http_client import Http
from verification.harness.lifetime import birth
from verification.harness.reach import (
    WorkerNotReachedError,
    all_workers,
    connection_at,
    require_every_worker,
)
from verification.harness.stack.model import ServiceDidNotStartError, StackError
from verification.harness.stack.service import merged
from verification.harness.stack.service_environment import (
    NoServiceEnvironmentError,
    service_python,
)
from verification.harness.waiting import came_true, eventually

if TYPE_CHECKING:
    from verification.harness.stack.model import Stack
    from verification.harness.stack.service import Service


def test_a_started_service_is_ready_behind_both_urls(service: Service, stack: Stack) -> None:
    service.start()

    assert Http(stack.base_url).get("/api/health").status == 200
    assert Http(stack.proxied_url).get("/api/health").status == 200


def test_a_service_of_another_instance_is_not_taken_for_ours(service: Service) -> None:
    service.settings["LLMHIVE_INSTANCE"] = "somebody-else"

    with pytest.raises(ServiceDidNotStartError, match="somebody-else"):
        service.start()

    assert not service.is_running


def test_a_service_that_refuses_its_settings_is_reported_with_its_words(service: Service) -> None:
    service.settings["STAND_IN_PROBLEM"] = "a contradiction"

    with pytest.raises(ServiceDidNotStartError, match="a contradiction"):
        service.start()


def test_a_restart_takes_new_settings_and_keeps_the_proxied_url(
    service: Service, stack: Stack
) -> None:
    service.start()
    before, proxied = stack.base_url, stack.proxied_url

    service.restart({"EXTRA": "1", "DRAIN_SECONDS": None})

    assert stack.settings["EXTRA"] == "1"
    assert "DRAIN_SECONDS" not in stack.settings
    assert (stack.base_url != before, Http(proxied).get("/api/health").status) == (True, 200)


def test_a_restart_with_other_settings_spoils_the_stack(service: Service, stack: Stack) -> None:
    service.start()

    service.restart()
    assert not stack.is_spoilt
    service.restart({"EXTRA": "1"})
    assert stack.is_spoilt


def test_every_worker_is_reached(service: Service, stack: Stack) -> None:
    service.start()

    names = all_workers(Http(stack.base_url), 2, within_s=10)

    assert len(names) == 2
    assert {int(name.rpartition("-")[2]) for name in names} == set(service.worker_pids())


def test_a_connection_can_be_aimed_at_a_worker(service: Service, stack: Stack) -> None:
    service.start()
    wanted = all_workers(Http(stack.base_url), 2, within_s=10)[1]

    with connection_at(Http(stack.base_url), wanted, within_s=10) as http:
        assert http.get("/api/health/live").served_by == wanted


def test_a_killed_worker_is_dead_and_the_other_lives(service: Service, stack: Stack) -> None:
    service.start()
    both = service.worker_pids()

    victim = service.kill_worker()

    assert came_true(lambda: birth(victim) is None, within_s=10)
    assert birth(next(pid for pid in both if pid != victim)) is not None
    assert stack.is_tired


def test_replaced_workers_are_dead_before_others_come(service: Service, stack: Stack) -> None:
    service.start()
    old = service.worker_pids()
    alive: list[object] = []

    def look() -> None:
        alive.extend(pid for pid in old if birth(pid))
        alive.extend(all_workers(Http(stack.base_url), 1, within_s=0.3))

    assert service.replace_workers(look)
    assert alive == []
    new = service.worker_pids()
    assert (len(new), set(new) & set(old)) == (2, set())
    assert not stack.is_tired


def test_what_goes_wrong_between_leaves_no_supervisor_stopped(service: Service) -> None:
    service.start()

    def fail() -> None:
        raise RuntimeError("between")

    with pytest.raises(RuntimeError, match="between"):
        service.replace_workers(fail)

    assert len(service.worker_pids()) == 2


def test_neither_the_supervisor_nor_a_stranger_is_killed_as_a_worker(service: Service) -> None:
    service.start()

    for pid in (service.pid, 1):
        with pytest.raises(StackError, match="no worker"):
            service.kill_worker(pid)


def test_the_exit_of_a_killed_supervisor_is_seen(service: Service) -> None:
    service.start()

    service.kill()

    assert service.wait(10) == -signal.SIGKILL


def test_a_service_beside_says_how_it_ended(service: Service) -> None:
    service.start()

    refused = service.try_start({"STAND_IN_PROBLEM": "no"})
    listened = service.try_start({})

    assert (refused.code, refused.stderr, refused.listened) == (3, "STAND_IN_PROBLEM: no\n", False)
    assert (listened.code, listened.listened) == (None, True)
    assert service.is_running


def test_outside_development_the_database_is_migrated_first(service: Service) -> None:
    service.settings["LLMHIVE_ENVIRONMENT"] = "production"

    service.start()

    assert (service.data / "migrate").exists()


def test_a_user_is_made_by_the_services_own_command(service: Service) -> None:
    user = service.make("vfy-1", tier="pro", customer="cus_1")

    assert (user.id, user.key, user.tier, user.customer) == ("vfy-1", "key-vfy-1", "pro", "cus_1")
    assert "key-vfy-1" not in repr(user)


def test_the_log_holds_the_lines_of_every_start(service: Service, stack: Stack) -> None:
    service.start()
    Http(stack.base_url).post("/api/chat", json={"message": "before"})
    service.restart()
    Http(stack.base_url).post("/api/chat", json={"message": "after"})

    lines = eventually(
        lambda: stack.logs.lines("request"),
        until=lambda all_: len(all_) == 2,
        within_s=5,
        claim="-",
    )

    assert [line["message"] for line in lines] == ["before", "after"]


def test_without_a_service_environment_there_is_a_command_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.delenv("LLMHIVE_SERVICE_PYTHON", raising=False)
    monkeypatch.setattr("verification.harness.stack.service_environment.ROOT", tmp_path)

    with pytest.raises(NoServiceEnvironmentError, match="nox -s verify"):
        service_python()


def test_a_setting_of_none_removes_the_variable() -> None:
    assert merged({"A": "1", "B": "2"}, {"A": None, "C": "3"}) == {"B": "2", "C": "3"}


@pytest.mark.parametrize("answered", [["a", "a"], ["a", None], []])
def test_of_workers_that_did_not_all_answer_nothing_can_be_said(answered: list[str | None]) -> None:
    with pytest.raises(WorkerNotReachedError, match="expected answers of 2 workers"):
        require_every_worker(answered, 2)
