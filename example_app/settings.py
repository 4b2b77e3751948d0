"""What the environment decides; the address of Redis is read by the library itself."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every field is an environment variable of the same name, or a line in ``.env``."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    #: Where the database, the pictures and, without SMTP, the mail are kept.
    data_dir: Path = Path()
    #: The mail server; empty writes mail into the folder ``outbox`` instead.
    smtp_host: str = ""
    smtp_port: int = Field(default=25, ge=1, le=65535)
    #: Run the consumers inside the API's process: handy while developing.
    run_pool: bool = False

    @property
    def database_url(self) -> str:
        return f"sqlite+aiosqlite:///{self.data_dir / 'example.db'}"

    def folder(self, name: str) -> Path:
        """Return a folder for files, made when it is first asked for."""
        folder = self.data_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@cache
def get_settings() -> Settings:
    """Return the settings of this process."""
    return Settings()
