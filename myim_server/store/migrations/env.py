"""Alembic's entry: migrates the connection it was handed. Nothing else belongs here; there is no offline mode."""

from alembic import context

from myim_server.store.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=False,
    compare_type=True,
)
context.run_migrations()
