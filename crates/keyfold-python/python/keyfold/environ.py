"""For code that still reads `os.getenv("GEMINI_API_KEY")`.

    import keyfold.environ
    keyfold.environ.install()

From then on the providers' variables answer, inside a user's block, with that user's key, and are unset where that user
has none: in `os.environ[...]`, `os.environ.get`, `in`, `os.getenv` and their forms for bytes. Each task and thread has
its own answer. Outside a block they answer as before.

The environment itself never changes: C libraries and child processes see what they saw before.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Union

from . import _keyfold
from ._context import current, provider_variables
from .errors import EnvironmentWriteError, KeyfoldError

if TYPE_CHECKING:
    _Environ = os._Environ[Any]
else:
    _Environ = os._Environ

__all__ = ["for_subprocess", "install", "is_installed", "uninstall"]

_lock: Final = threading.Lock()


def install() -> None:
    """From now on the providers' variables are those of the user in whose block they are read."""
    with _lock:
        _put_on(os.environ, os._Environ, _UsersEnviron)
        _put_on(os.environb, os._Environ, _UsersEnvironBytes)


def uninstall() -> None:
    """From now on they answer as if this had never been installed."""
    with _lock:
        _put_on(os.environ, _UsersEnviron, os._Environ)
        _put_on(os.environb, _UsersEnvironBytes, os._Environ)


def is_installed() -> bool:
    """Whether `install` was called, and `uninstall` not since."""
    return type(os.environ) is _UsersEnviron


def for_subprocess() -> dict[str, str]:
    """An environment for a child process that is to have the keys of the user in whose block this is.

        subprocess.run(command, env=keyfold.environ.for_subprocess())

    It is this process's, with that user's keys and without all others', and without Keyfold's own secrets. Each key
    counts as used. It works without `install`.
    """
    keys = current()
    if keys is None or not keys._keys.is_open:
        raise KeyfoldError(
            "no_user", "There is no user here: call `for_subprocess` inside a `with user_api_keys(…)` block."
        )
    variables, withheld = provider_variables(), set(_keyfold.secret_settings())
    environment = {
        name: value for name, value in os.environ.items() if name not in variables and name not in withheld
    }
    found = keys._keys.all()
    environment.update((name, found[provider]) for name, provider in variables.items() if provider in found)
    return environment


def _put_on(environ: Any, expected: type[Any], wanted: type[Any]) -> None:
    # Who imported `environ` from `os` long ago holds the same object, so it is the object that changes.
    if type(environ) is expected:
        environ.__class__ = wanted
    elif type(environ) is not wanted:
        raise KeyfoldError(
            "environ_replaced",
            "Something else replaced `os.environ`, so Keyfold does not. Install `keyfold.environ` without it.",
        )


class _UsersEnviron(_Environ):
    """`os.environ`, whose providers' variables are those of the user in whose block they are read."""

    def __getitem__(self, name: Any) -> Any:
        keys = current()
        if keys is not None:
            provider = self._provider(name)
            if provider is not None:
                key = keys._keys.find(provider)
                if key is None:
                    raise KeyError(name)
                return self._as_value(key)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        keys = current()
        if keys is not None:
            provider = self._provider(name)
            if provider is not None:
                return provider in keys
        return bool(super().__contains__(name))

    def __setitem__(self, name: Any, value: Any) -> None:
        self._refuse_to_change(name)
        super().__setitem__(name, value)

    def __delitem__(self, name: Any) -> None:
        self._refuse_to_change(name)
        super().__delitem__(name)

    # What makes a copy of the environment for a child process goes through these. No user's key is in it.
    def __iter__(self) -> Iterator[Any]:
        names = super().__iter__()
        if current() is None:
            return names
        return (name for name in names if self._provider(name) is None)

    def __len__(self) -> int:
        if current() is None:
            return int(super().__len__())
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        if current() is None:
            return str(super().__repr__())
        return f"environ({dict(self)!r})"

    def _refuse_to_change(self, name: Any) -> None:
        if current() is not None and self._provider(name) is not None:
            raise EnvironmentWriteError(
                "environment_write",
                f"{self._as_text(name)} cannot be changed inside a user's block: the environment belongs to all users. "
                "Save the user's key with Keyfold, or hand the key to the client library directly.",
            )

    def _provider(self, name: object) -> Union[str, None]:
        text = self._as_text(name)
        return None if text is None else provider_variables().get(text)

    @staticmethod
    def _as_text(name: object) -> Union[str, None]:
        return name if isinstance(name, str) else None

    @staticmethod
    def _as_value(key: str) -> Any:
        return key


class _UsersEnvironBytes(_UsersEnviron):
    """The same for `os.environb`."""

    @staticmethod
    def _as_text(name: object) -> Union[str, None]:
        return os.fsdecode(name) if isinstance(name, bytes) else None

    @staticmethod
    def _as_value(key: str) -> Any:
        return os.fsencode(key)
