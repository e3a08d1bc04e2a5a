"""What can go wrong. Every exception has a stable `code`, and a text that says what to do and holds no key."""

from __future__ import annotations

from typing import Final


class KeyfoldError(Exception):
    """Something went wrong; `code` is a stable word for programs, the text is for people.

    Its arguments are just these two, so that the compiled part makes one without running Python.
    """

    @property
    def code(self) -> str:
        """The stable word."""
        return str(self.args[0])

    def __str__(self) -> str:
        return str(self.args[1])


class SettingsError(KeyfoldError):
    """The settings are missing or wrong; each is named (`invalid_settings`)."""


class StartError(KeyfoldError):
    """Keyfold cannot start: the database cannot be opened, or a folder cannot be used.

    `cannot_start`, `state_directory_error`; the next use tries again.
    """


class MasterKeyError(KeyfoldError):
    """The master key does not fit the database, or cannot be had (`master_key_unavailable`)."""


class UnavailableError(KeyfoldError):
    """The database is away, or uses cannot be recorded; try again later.

    `database_unavailable`, `audit_unavailable`.
    """


class KeyUnreadableError(KeyfoldError):
    """What is stored is no key of this user (`key_unreadable`): it is to be entered again."""


class EnvFileError(KeyfoldError):
    """Local mode's `.env` cannot be read (`env_file_error`); the line is named."""


class UserIdError(KeyfoldError, ValueError):
    """There is no user id where one is needed, or what was given is none (`invalid_request`)."""


class UserRefusedError(KeyfoldError):
    """The user was suspended or deleted (`user_suspended`, `user_deleted`)."""


class NoAPIKeyError(KeyfoldError, KeyError):
    """`keys[provider]` where this user has no such key (`no_api_key`)."""


class UnknownProviderError(NoAPIKeyError):
    """`keys[provider]` of a provider that Keyfold does not know (`unknown_provider`)."""


class EnvironmentWriteError(KeyfoldError):
    """A provider's variable was to be changed inside a user's context (`environment_write`)."""


class ShutDownError(KeyfoldError):
    """The interpreter is shutting down (`shut_down`)."""


CLASSES: Final[dict[str, type[KeyfoldError]]] = {
    "audit_unavailable": UnavailableError,
    "cannot_start": StartError,
    "database_unavailable": UnavailableError,
    "env_file_error": EnvFileError,
    "invalid_request": UserIdError,
    "invalid_settings": SettingsError,
    "key_unreadable": KeyUnreadableError,
    "master_key_unavailable": MasterKeyError,
    "no_api_key": NoAPIKeyError,
    "shut_down": ShutDownError,
    "state_directory_error": StartError,
    "unknown_provider": UnknownProviderError,
    "user_deleted": UserRefusedError,
    "user_suspended": UserRefusedError,
}
