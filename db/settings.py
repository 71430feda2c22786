"""Where things are: settings that every floor shares, from `CXR_*` variables or their `_FILE` twins."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.errors import UserError

PREFIX: Final = "CXR_"


class Settings(BaseSettings):
    """The settings of one process.

    Attributes:
        home: holds the SQLite file, the embedded broker's append-only file and the models.
        database_url: SQLAlchemy's form; default the SQLite file in `home`.
        broker_url: a Redis or Valkey URL; default the embedded broker in `home`.
        model_dir: where artifacts are published and found, a folder or `s3://bucket/prefix`; default `home/models`.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    home: Path = Field(default_factory=lambda: Path.home() / ".local" / "share" / "nightread")
    database_url: str = ""
    broker_url: str = ""
    model_dir: str = ""

    @model_validator(mode="before")
    @classmethod
    def _secrets_from_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {**_read_file_twins(os.environ, cls.model_fields), **values}

    @model_validator(mode="after")
    def _fill_in(self) -> "Settings":
        object.__setattr__(self, "home", self.home.expanduser().absolute())
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.home / 'nightread.sqlite'}")
        if not self.model_dir:
            object.__setattr__(self, "model_dir", str(self.home / "models"))
        return self

    @property
    def pixel_cache(self) -> Path:
        """The folder of pixels that this machine's workers keep."""
        return self.home / "pixels"

    @property
    def owns_broker(self) -> bool:
        """Whether this machine's own embedded broker is used."""
        return not self.broker_url


S = TypeVar("S", bound=Settings)


def load_settings(kind: type[S]) -> S:
    """Read the settings from the environment.

    Raises:
        UserError: a variable has an impossible value, or its `_FILE` cannot be read.
    """
    try:
        return kind()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0] if first["loc"] else "").upper()
        raise UserError(f"{name}: {first['msg']}") from error


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
                raise UserError(f"{PREFIX}{field.upper()}_FILE: {path} is no UTF-8 text") from error
    return found
