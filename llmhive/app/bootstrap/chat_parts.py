"""The chat route's composition: Redis, limits, breakers, providers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from llmhive.app.adapters.aiohttp_transport import AiohttpTransport
from llmhive.app.adapters.anthropic import AnthropicProvider
from llmhive.app.adapters.openai import OpenAIProvider
from llmhive.app.adapters.probes import Probes
from llmhive.app.adapters.redis_circuits import RedisCircuitStore
from llmhive.app.adapters.redis_link import RedisLink
from llmhive.app.adapters.redis_windows import RedisWindowStore
from llmhive.app.api.application import ThinRoute
from llmhive.app.api.chat import ChatRouteConfig, chat_route
from llmhive.app.api.identity import Identity
from llmhive.app.bootstrap import configurations
from llmhive.app.bootstrap.service import Lifetime
from llmhive.app.breakers.model import CircuitState
from llmhive.app.breakers.service import BreakerService
from llmhive.app.clock import Clock
from llmhive.app.limits.service import LimitService
from llmhive.app.orchestration.chat import ChatService
from llmhive.app.orchestration.ports import CompletionProvider, ProviderRoute
from llmhive.app.settings import Settings
from llmhive.app.telemetry.health import Component, HealthBoard, State
from llmhive.app.telemetry.observers import BreakerMetrics, ChatMetrics, LimitMetrics, RedisMetrics

PROVIDERS: Final[dict[str, Callable[..., CompletionProvider]]] = {
    "openai": OpenAIProvider,
    "anthropic": AnthropicProvider,
}


@dataclass(frozen=True, slots=True)
class Worker:
    """What every part of one worker is composed from."""

    settings: Settings
    clock: Clock
    board: HealthBoard
    probes: Probes
    lifetime: Lifetime


def link(worker: Worker) -> RedisLink | None:
    """The way to Redis, if one is configured."""
    settings = worker.settings
    if not settings.redis_url:
        return None
    redis = RedisLink(
        settings.redis_url,
        max_connections=settings.redis_max_connections,
        deadline_s=settings.redis_deadline_s,
        observer=RedisMetrics(),
        clock=worker.clock,
    )
    worker.lifetime.before.append(redis.open)
    worker.lifetime.after.append(redis.close)
    worker.probes.watch_redis(redis)
    return redis


def limiter(
    worker: Worker, redis: RedisLink | None, overridden: Callable[[str], int | None]
) -> LimitService:
    """The limits, shared if there is a Redis."""
    config, clock = configurations.limits(worker.settings), worker.clock
    prefix = worker.settings.rate_limit_redis_prefix
    store = RedisWindowStore(redis, clock, config, prefix=prefix) if redis else None
    service = LimitService(
        config, clock=clock, store=store, observer=LimitMetrics(), overridden=overridden
    )
    worker.lifetime.beside["limits"] = service.renew_forever
    worker.lifetime.after.append(service.flush)
    return service


def guards(worker: Worker, redis: RedisLink | None) -> BreakerService:
    """The breakers, shared if there is a Redis."""
    config, clock = configurations.breakers(worker.settings), worker.clock
    names = configurations.breakers_of(worker.settings)
    store = RedisCircuitStore(redis, clock, config) if redis else None
    service = BreakerService(names, config, clock=clock, observer=BreakerMetrics(), store=store)
    worker.lifetime.before.append(service.follow)
    worker.lifetime.beside["breakers"] = service.follow_forever
    worker.lifetime.after.append(service.flush)
    worker.board.add_source(partial(_components, service, worker.probes, names))
    return service


def _components(
    service: BreakerService, probes: Probes, names: dict[str, list[str]]
) -> Iterable[tuple[str, Component]]:
    """Breakers as they stand now, and providers by their breakers and by being reachable."""
    views = service.states()
    for name, view in views.items():
        yield f"breaker:{name}", Component(view.state.value, view.age_s)
    for provider, children in names.items():
        if provider not in probes.reached:
            continue
        reached, age_s = probes.reached[provider].state, probes.age_s(provider)
        states = {views[name].state for name in (provider, *children)}
        if states == {CircuitState.CLOSED} or reached is State.DOWN:
            yield f"provider:{provider}", Component(reached, age_s)
        else:
            is_shut = CircuitState.OPEN in states
            yield (
                f"provider:{provider}",
                Component(State.DOWN if is_shut else State.DEGRADED, age_s),
            )


def route(
    worker: Worker, identity: Identity, *, limiter: LimitService, breakers: BreakerService
) -> ThinRoute:
    """The chat route with everything behind it."""
    settings, clock = worker.settings, worker.clock
    service = ChatService(
        _provider_routes(worker),
        limiter=limiter,
        breakers=breakers,
        config=configurations.chat(settings),
        clock=clock,
        observer=ChatMetrics(),
    )
    return chat_route(service, identity, _route_config(settings), clock=clock)


def _route_config(settings: Settings) -> ChatRouteConfig:
    return ChatRouteConfig(
        models=frozenset(configurations.models(settings).values()),
        wall_clock_s=settings.s4_max_wall_clock,
        body_bytes_max=settings.chat_body_bytes_max,
    )


def _provider_routes(worker: Worker) -> list[ProviderRoute]:
    settings = worker.settings
    transport = AiohttpTransport()
    worker.lifetime.after.append(transport.aclose)
    routes = []
    breakers = configurations.breakers_of(settings)
    for provider, model in configurations.models(settings).items():
        base_url = str(getattr(settings, f"{provider}_base_url"))
        adapter = PROVIDERS[provider](
            base_url=base_url,
            api_key=settings.provider_key(provider),
            model=model,
            max_tokens=settings.llm_max_tokens,
            transport=transport,
            clock=worker.clock,
        )
        routes.append(ProviderRoute(adapter, breakers[provider][0]))
        worker.probes.watch_provider(provider, base_url)
        worker.board.has_provider = True
    return routes
