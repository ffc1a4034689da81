"""What operators may rely on, and nobody else may do. Source: DESIGN sections 3.1, 3.8 and 4."""

from __future__ import annotations

from typing import Final

from verification.contract.promise import promise

_ADMIN = "DESIGN 3.1"

ADMIN_NEEDS_ITS_SCOPE: Final = promise(
    _ADMIN,
    "admin.scope",
    "every admin route refuses a key without the scope admin, and nothing happens",
)
ADMIN_IS_AUDITED: Final = promise(
    _ADMIN,
    "admin.audit",
    "every call of an admin route leaves one audit line, which names no user and no key",
)
USERS_ARE_DELETED_WHOLLY: Final = promise(
    "DESIGN 3.1, 3.8",
    "admin.users.deleted-wholly",
    "deleting a user deletes what is theirs, at once for their keys, and nothing of anybody else",
)
USERS_ARE_FOUND: Final = promise(
    _ADMIN,
    "admin.users.found",
    "users are found by the tag that they were made with, and tags by how they begin",
)
USERS_ARE_MADE_ONCE: Final = promise(
    _ADMIN,
    "admin.users.made-once",
    "making a user gives nobody a key, or the customer, of a user that is there",
)
ONE_RUN_AT_A_TIME: Final = promise(
    "DESIGN 4",
    "admin.run-lease",
    "one run at a time holds the lease, and a killed run's lease ends by itself",
)
