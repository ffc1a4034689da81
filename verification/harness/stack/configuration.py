"""What a claim asks of its stack: settings and a number of workers. A leaf, and a cache key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, order=True)
class Configuration:
    """Settings beside the defaults (None: the variable is removed) and the number of workers."""

    workers: int = 1
    env: tuple[tuple[str, str | None], ...] = ()

    @property
    def id(self) -> str:
        """Short and stable: claims are ordered and grouped by it."""
        return hashlib.sha256(repr((self.workers, self.env)).encode()).hexdigest()[:8]

    def __str__(self) -> str:
        settings = " ".join(f"{name}={value}" for name, value in self.env)
        return f"{self.workers} workers {settings}".strip()


def configuration(env: Mapping[str, str | None] | None = None, workers: int = 1) -> Configuration:
    """The configuration of a claim's `env` and `workers`."""
    return Configuration(workers, tuple(sorted((env or {}).items())))
