"""A data folder that is prepared once in a run, and of which every stack begins with a copy.

A migration and `keys create` are starts of Python; for each stack anew they cost more than
most claims. Keys are hashed without salt or pepper, so a copy opens for the same key whatever
the other settings are. Who wants a database of its own, or migrates by itself, gets no copy.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from functools import cached_property
from typing import TYPE_CHECKING, Final

from verification.harness.stack.service_environment import run_command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OPERATOR: Final = "vfy-operator"
"""The user of the suite's own admin key, and the name of that key among the secrets."""
# The database with what SQLite keeps beside it, and nothing else: the salt of the log's
# hashes belongs to one service.
DATABASE: Final = "llmhive.db*"
# Where pending migrations run at the start, which a copy makes needless.
ENVIRONMENT: Final = "development"


class PreparedData:
    """A migrated database with the operator's key, made by the service's own commands.

    Takes: `folder` is shared by all workers of a run; whoever comes first makes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "prepared"
        self._data = self._folder / "data"
        self._made = self._folder / "operator.json"

    def copy_into(self, data: Path, settings: Mapping[str, str]) -> str | None:
        """Put a copy into the data folder of a service that was never started.

        Takes: the settings that the service is to start with.
        Gives: the operator's key, None when the folder stays empty: the service has to begin
        by itself, or its commands failed, which then shows where that matters.
        """
        is_fit = settings.get("LLMHIVE_ENVIRONMENT") == ENVIRONMENT
        if not is_fit or "DATABASE_URL" in settings or self._operators_key is None:
            return None
        for file in self._data.glob(DATABASE):  # whoever wrote them has ended
            shutil.copy(file, data)
        return self._operators_key

    @cached_property
    def _operators_key(self) -> str | None:
        self._folder.mkdir(exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # let go of when the file is closed, however
            if not self._made.exists():
                self._made.write_text(json.dumps(self._make()))
        made = json.loads(self._made.read_text())
        return str(made["key"]) if isinstance(made, dict) and "key" in made else None

    def _make(self) -> object:
        """What `keys create` said, None when a command failed."""
        shutil.rmtree(self._data, ignore_errors=True)  # whoever began it was killed
        self._data.mkdir()
        settings = {"LLMHIVE_ENVIRONMENT": ENVIRONMENT, "LLMHIVE_DATA_DIR": str(self._data)}
        create = ["keys", "create", "--user", OPERATOR, "--scope", "admin", "--json"]
        for arguments in (["migrate"], create):
            done = run_command(self._folder, self._data, settings, arguments)
            if done.code != 0:
                return None
        return done.json()
