"""Alembic's entry point: migrates through the connection that `db.engine.session.upgrade` passes in."""

from alembic import context

from db.schema.tables import Base
from db.schema.view_grants import list_view_grants, restore_grants
from db.schema.views import create_views, drop_views

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
grants = list_view_grants(connection)
drop_views(connection)
context.run_migrations()
create_views(connection)
restore_grants(connection, grants)
