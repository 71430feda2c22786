"""The settings that every package shares: from `CXR_*` variables, or from the files that their `_FILE` twins name."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.addresses import absolute_path, check_sqlite_address, sqlite_address
from db.errors import UserError
from db.variables import PREFIX


class Settings(BaseSettings):
    """The settings of one process. A subclass adds those of its package.

    Attributes:
        home: the folder of everything that a machine keeps; it holds the SQLite file by default. Absolute.
        database_url: SQLAlchemy's form of the address. The default is the SQLite file in `home`. A SQLite address names
            a file by its absolute path.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    home: Path = Path("~/.local/share/nightread")
    database_url: str = ""

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {**_read_file_twins(os.environ, cls.model_fields), **values}

    @model_validator(mode="after")
    def _set_defaults(self) -> "Settings":
        object.__setattr__(self, "home", absolute_path(self.home, "CXR_HOME"))
        ledger = self.home / "nightread.sqlite"
        check_sqlite_address(self.database_url, default=ledger)
        object.__setattr__(self, "database_url", self.database_url or sqlite_address(ledger))
        return self


S = TypeVar("S", bound=Settings)


def load_settings(kind: type[S], **given: Any) -> S:
    """Read the settings from the environment, except for those that are given.

    Raises:
        UserError: a variable has an invalid value, the file of its `_FILE` twin cannot be read, or the user has no home
            folder and sets no `CXR_HOME`.
    """
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0] if first["loc"] else "").upper()
        raise UserError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from error


def _read_file_twins(environment: Mapping[str, str], fields: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for field in fields:
        path = environment.get(f"{PREFIX}{field.upper()}_FILE")
        if path:
            try:
                found[field] = Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise UserError(f"{PREFIX}{field.upper()}_FILE: {path} cannot be read ({error.strerror})") from error
            except ValueError as error:
                raise UserError(f"{PREFIX}{field.upper()}_FILE: {path} is not valid UTF-8") from error
    return found
