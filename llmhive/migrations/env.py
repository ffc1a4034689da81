"""How Alembic runs here: on the one connection it is given, in its transaction."""

from __future__ import annotations

from alembic import context

from llmhive.app.adapters.sql_schema import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, transactional_ddl=True)
context.run_migrations()
