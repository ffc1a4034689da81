"""The database, held by somebody else."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from chaos.experiment import Nemesis
from verification.harness import capabilities as can

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.apparatus import Apparatus


def lock_database() -> Nemesis:
    """SQLite's write lock is held from outside."""

    @contextmanager
    def hold(apparatus: Apparatus) -> Iterator[str]:
        because = "the kernel gives the lock back when its holder ends"
        with (
            apparatus.written_down("the database is locked", because),
            apparatus.target.database_lock(),
        ):
            yield "a second writer was refused"

    return Nemesis(
        name="lock_database",
        does="somebody else holds the database's write lock",
        touches="the SQLite file of the service that the run started",
        undone_by="the lock is given back, and a writer gets in again",
        needs=(can.DATABASE,),
        hold=hold,
    )
