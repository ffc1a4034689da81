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
# What `keys create` said.
MADE: Final = "operator.json"
# Where pending migrations run at the start, which a copy makes needless.
ENVIRONMENT: Final = "development"


class PreparedData:
    """A migrated database with the operator's key, made by the service's own commands.

    Takes: `folder` is this worker's own, `shared` that of all workers of a run: whoever comes
    first makes it in a folder of its own, and moves it there once it is whole.
    """

    def __init__(self, folder: Path, shared: Path) -> None:
        self._folder = folder / "preparing"
        self._shared = shared
        self._prepared = shared / "prepared"

    def copy_into(self, data: Path, settings: Mapping[str, str]) -> str | None:
        """Put a copy into the data folder of a service that was never started.

        Takes: the settings that the service is to start with.
        Gives: the operator's key, None when the folder stays empty: the service has to begin
        by itself, or its commands failed, which then shows where that matters.
        """
        is_fit = settings.get("LLMHIVE_ENVIRONMENT") == ENVIRONMENT
        if not is_fit or "DATABASE_URL" in settings or self._operators_key is None:
            return None
        for file in (self._prepared / "data").glob(DATABASE):  # whoever wrote them has ended
            shutil.copy(file, data)
        return self._operators_key

    @cached_property
    def _operators_key(self) -> str | None:
        with (self._shared / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # let go of when the file is closed, however
            if not self._prepared.exists() and not self._make():
                return None
        key: str = json.loads((self._prepared / MADE).read_text())["key"]
        return key

    def _make(self) -> bool:
        data = self._folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        settings = {"LLMHIVE_ENVIRONMENT": ENVIRONMENT, "LLMHIVE_DATA_DIR": str(data)}
        create = ["keys", "create", "--user", OPERATOR, "--scope", "admin", "--json"]
        for arguments in (["migrate"], create):
            done = run_command(self._folder, data, settings, arguments)
            if done.code != 0:
                return False
        made = done.json()
        if not isinstance(made, dict) or "key" not in made:
            return False
        (self._folder / MADE).write_text(json.dumps(made))
        self._folder.rename(self._prepared)
        return True
