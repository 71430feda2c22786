"""Grants PostgreSQL roles access to the views, and to no table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.exc import ProgrammingError

from db.engine.session import make_engine, open_database
from db.errors import UserError
from db.schema.views import VIEWS


@dataclass(frozen=True, kw_only=True)
class ViewGrant:
    """A role that may read a view; the role `PUBLIC` means everyone."""

    view: str
    role: str


def grant_read(url: str, role: str) -> None:
    """Let a role read the views. They run with their owner's rights: the role needs and gets no table.

    Raises:
        UserError: the database is not PostgreSQL, its tables have another revision, the role does not exist, or this
            user does not own the views.
    """
    engine = make_engine(url)
    if engine.dialect.name != "postgresql":
        file = Path(str(engine.url.database)).as_uri()
        raise UserError(f"SQLite has no roles; to read only, open '{file}?mode=ro'")
    try:
        with open_database(url).begin() as connection:
            _grant(connection, role)
    except ProgrammingError as error:
        cause = str(error.orig).splitlines()[0]
        raise UserError(f"cannot grant {role} access ({cause}); run this as the views' owner") from error


def list_view_grants(connection: Connection) -> list[ViewGrant]:
    """The roles that may read each view. A recreated view loses its grants. Empty on SQLite."""
    if connection.dialect.name != "postgresql":
        return []
    query = text(
        "SELECT c.relname AS view, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END AS role "
        "FROM pg_class c, aclexplode(c.relacl) a WHERE c.relname IN :views AND c.relkind = 'v' "
        "AND c.relnamespace = current_schema()::regnamespace "
        "AND a.privilege_type = 'SELECT' AND a.grantee <> c.relowner"
    ).bindparams(bindparam("views", expanding=True))
    return [ViewGrant(**row) for row in connection.execute(query, {"views": list(VIEWS)}).mappings()]


def restore_grants(connection: Connection, grants: Sequence[ViewGrant]) -> None:
    """Let these roles read these views."""
    for grant in grants:
        role = "PUBLIC" if grant.role == "PUBLIC" else _quoted(connection, grant.role)
        connection.execute(text(f"GRANT SELECT ON {grant.view} TO {role}"))


def _grant(connection: Connection, role: str) -> None:
    if connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).first() is None:
        raise UserError(f"this server has no role {role!r}; create it first (CREATE ROLE ... LOGIN)")
    schema = connection.execute(text("SELECT current_schema()")).scalar_one()
    connection.execute(text(f"GRANT USAGE ON SCHEMA {_quoted(connection, schema)} TO {_quoted(connection, role)}"))
    restore_grants(connection, [ViewGrant(view=view, role=role) for view in VIEWS])
    # A user that may read the views but not grant them gets a warning from PostgreSQL, not an error.
    may_read = text("SELECT has_table_privilege(:role, :view, 'SELECT')")
    if not all(connection.execute(may_read, {"role": role, "view": view}).scalar() for view in VIEWS):
        raise UserError(f"this user cannot grant {role} access; run this as the views' owner")


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)
