"""Alembic's entry: runs on the connection that `db.engine.session.upgrade` hands over."""

from alembic import context

from db.schema.tables import Base
from db.schema.view_grants import grant_again, view_readers
from db.schema.views import create_views, drop_views

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
readers = view_readers(connection)
drop_views(connection)
context.run_migrations()
create_views(connection)
grant_again(connection, readers)
