"""Who may read on PostgreSQL: roles that see the five views and nothing beneath them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.exc import ProgrammingError

from db.engine.session import make_engine, open_database
from db.errors import UserError
from db.schema.views import VIEWS


@dataclass(frozen=True, kw_only=True)
class ViewReader:
    """A role that may read a view; `PUBLIC` is everyone."""

    view: str
    role: str


def grant_read(url: str, role: str) -> None:
    """Let a role read the views, which run with their owner's rights: the role needs, and gets, no table.

    Raises:
        UserError: not PostgreSQL, tables of another revision, no such role, or views that are not this user's to grant.
    """
    engine = make_engine(url)
    if engine.dialect.name != "postgresql":
        raise UserError(f"SQLite has no roles; who only reads opens 'file:{engine.url.database}?mode=ro'")
    try:
        with open_database(url).begin() as connection:
            _grant(connection, role)
    except ProgrammingError as error:
        cause = str(error.orig).splitlines()[0]
        raise UserError(f"{role} cannot be let in ({cause}); only the views' owner can") from error


def view_readers(connection: Connection) -> list[ViewReader]:
    """Who may read which view, for a view that is laid anew forgets them; nobody on SQLite."""
    if connection.dialect.name != "postgresql":
        return []
    granted = text(
        "SELECT c.relname AS view, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END AS role "
        "FROM pg_class c, aclexplode(c.relacl) a WHERE c.relname IN :views AND c.relkind = 'v' "
        "AND c.relnamespace = current_schema()::regnamespace "
        "AND a.privilege_type = 'SELECT' AND a.grantee <> c.relowner"
    ).bindparams(bindparam("views", expanding=True))
    return [ViewReader(**row) for row in connection.execute(granted, {"views": list(VIEWS)}).mappings()]


def grant_again(connection: Connection, readers: Sequence[ViewReader]) -> None:
    """Let these roles read these views."""
    for reader in readers:
        role = "PUBLIC" if reader.role == "PUBLIC" else _quoted(connection, reader.role)
        connection.execute(text(f"GRANT SELECT ON {reader.view} TO {role}"))


def _grant(connection: Connection, role: str) -> None:
    if connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).first() is None:
        raise UserError(f"there is no role {role!r} on this server; create it first (CREATE ROLE ... LOGIN)")
    schema = connection.execute(text("SELECT current_schema()")).scalar_one()
    connection.execute(text(f"GRANT USAGE ON SCHEMA {_quoted(connection, schema)} TO {_quoted(connection, role)}"))
    grant_again(connection, [ViewReader(view=view, role=role) for view in VIEWS])
    # Who may read but not grant gets a warning from PostgreSQL, no error.
    may_read = text("SELECT has_table_privilege(:role, :view, 'SELECT')")
    if not all(connection.execute(may_read, {"role": role, "view": view}).scalar() for view in VIEWS):
        raise UserError(f"{role} cannot be let in by this user; only the views' owner can")


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)
