"""A user's keys inside a block, and nobody else's."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeVar, Union, overload

from . import _keyfold
from .errors import NoAPIKeyError

T = TypeVar("T")


class UserKeys(Mapping[str, str]):
    """One user's keys by provider, such as `gemini`. Empty once its block has ended.

    Each key is opened when it is asked for, and that is recorded. `in`, iteration and `len` open none. In local mode
    keys are read from the environment and the `.env` file as it is at that moment.
    """

    __slots__ = ("_keys", "_outer")

    def __init__(self, keys: _keyfold.Keys, outer: Union[UserKeys, None] = None) -> None:
        """Made by `user_api_keys`."""
        self._keys = keys
        self._outer = outer

    @overload
    def get(self, provider: str, /, default: None = None) -> str | None: ...
    @overload
    def get(self, provider: str, /, default: str | T) -> str | T: ...
    def get(self, provider: str, /, default: Any = None) -> Any:
        """The key, or `default` if this user has none. One that cannot be read is an exception."""
        key = self._keys.find(provider)
        return default if key is None else key

    async def aget(self, provider: str) -> str | None:
        """As `get`, where even the recording of the use must not hold up the event loop."""
        key: str | None = await _arrival(self._keys.begin_find(provider))
        return key

    def __getitem__(self, provider: str) -> str:
        key = self._keys.require(provider)
        if key is None:
            text = "These keys are only there inside their `with` block, and it has ended. Use them inside it."
            raise NoAPIKeyError("no_api_key", text)
        return key

    def __contains__(self, provider: object) -> bool:
        return isinstance(provider, str) and self._keys.holds(provider)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys.providers())

    def __len__(self) -> int:
        return len(self._keys.providers())

    # Comparing would open every key.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<keyfold.UserKeys, {'open' if self._keys.is_open else 'ended'}>"

    def __reduce__(self) -> str:
        raise TypeError("a user's keys are not copied or pickled")


class UserAPIKeyContext:
    """A user's keys as a block, `with` or `async with`. `None` is the user of local mode."""

    __slots__ = ("_open", "_user_id")

    def __init__(self, user_id: str | None = None) -> None:
        """Nothing is looked up before the block begins."""
        if user_id is not None and not isinstance(user_id, str):
            raise TypeError(f"user_id must be a str or None, not {type(user_id).__name__}")
        self._user_id = user_id
        self._open: list[UserKeys] = []

    @property
    def user_id(self) -> str | None:
        """Whose keys these are, as it was given."""
        return self._user_id

    def __enter__(self) -> UserKeys:
        return self._begin(_keyfold.keys_of(self._user_id))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    async def __aenter__(self) -> UserKeys:
        begun = _keyfold.begin_keys_of(self._user_id)
        return self._begin(begun if isinstance(begun, _keyfold.Keys) else await _arrival(begun))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _begin(self, keys: _keyfold.Keys) -> UserKeys:
        if not _variables:
            _variables.update(_keyfold.variables())
        begun = UserKeys(keys, _current.get())
        _current.set(begun)
        self._open.append(begun)
        return begun

    def _end(self) -> None:
        # Several tasks may be inside one context: each ends its own.
        ended = _current.get()
        if not self._open:
            raise RuntimeError("this block has not begun, or has ended already: use `with`, which does both once")
        if ended is None or ended not in self._open:
            ended = self._open[-1]
        self._open.remove(ended)
        _end(ended)

    @staticmethod
    def get_user_key(user_id: str | None, provider: str) -> str | None:
        """One key of a user, or `None`."""
        keys = _keyfold.keys_of(user_id)
        try:
            return keys.find(provider)
        finally:
            keys.end()

    @staticmethod
    def get_user_api_keys(user_id: str | None = None) -> dict[str, str]:
        """All keys of a user. Each counts as used."""
        keys = _keyfold.keys_of(user_id)
        try:
            return keys.all()
        finally:
            keys.end()


def user_api_keys(user_id: str | None = None) -> UserAPIKeyContext:
    """A user's keys as a block: `with user_api_keys(user_id) as keys: keys.get("gemini")`."""
    return UserAPIKeyContext(user_id)


def get_user_api_keys(user_id: str | None = None) -> dict[str, str]:
    """All keys of a user, as a dictionary that outlives the call. Each counts as used."""
    return UserAPIKeyContext.get_user_api_keys(user_id)


async def aget_user_key(user_id: str | None, provider: str) -> str | None:
    """As `UserAPIKeyContext.get_user_key`, without holding up the event loop."""
    begun = _keyfold.begin_keys_of(user_id)
    keys: _keyfold.Keys = begun if isinstance(begun, _keyfold.Keys) else await _arrival(begun)
    try:
        key: str | None = await _arrival(keys.begin_find(provider))
        return key
    finally:
        keys.end()


async def aget_user_api_keys(user_id: str | None = None) -> dict[str, str]:
    """As `get_user_api_keys`, without holding up the event loop."""
    begun = _keyfold.begin_keys_of(user_id)
    keys: _keyfold.Keys = begun if isinstance(begun, _keyfold.Keys) else await _arrival(begun)
    try:
        found: dict[str, str] = await _arrival(keys.begin_all())
        return found
    finally:
        keys.end()


def get_gemini_key(user_id: str | None = None) -> str | None:
    """The user's Gemini key, or `None`."""
    return UserAPIKeyContext.get_user_key(user_id, "gemini")


def get_exa_key(user_id: str | None = None) -> str | None:
    """The user's Exa key, or `None`."""
    return UserAPIKeyContext.get_user_key(user_id, "exa")


def get_tavily_key(user_id: str | None = None) -> str | None:
    """The user's Tavily key, or `None`."""
    return UserAPIKeyContext.get_user_key(user_id, "tavily")


def get_copilotkit_key(user_id: str | None = None) -> str | None:
    """The user's CopilotKit key, or `None`."""
    return UserAPIKeyContext.get_user_key(user_id, "copilotkit")


def mode() -> str:
    """`local` or `production`, as Keyfold's settings say."""
    return _keyfold.mode()


# The innermost block of this task or thread. It may have ended: for code that outlives its block there are no keys.
_current: ContextVar[Union[UserKeys, None]] = ContextVar("keyfold", default=None)


def current() -> UserKeys | None:
    """The keys of the block that this task or thread is in. Ended ones where the block ended before the task did."""
    return _current.get()


# Known once the first block began: Keyfold is open then.
_variables: dict[str, str] = {}


def provider_variables() -> dict[str, str]:
    """Which provider's key each environment variable stands for, inside a block."""
    return _variables


def _end(ended: UserKeys) -> None:
    ended._keys.end()
    # A token would only be good in the very context that made it, and a generator may be ended in another one.
    if _current.get() is ended:
        outer = ended._outer
        while outer is not None and not outer._keys.is_open:
            outer = outer._outer
        _current.set(outer)


async def _arrival(waiting: _keyfold.Waiting) -> Any:
    """What the work comes to; other tasks run meanwhile."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[None] = loop.create_future()
    if not waiting.is_done_or_tells(lambda: loop.call_soon_threadsafe(_settle, arrived)):
        try:
            await arrived
        except asyncio.CancelledError:
            waiting.cancel()
            raise
    return waiting.take()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


os.register_at_fork(
    before=_keyfold.before_fork, after_in_parent=_keyfold.has_forked, after_in_child=_keyfold.forked
)
atexit.register(_keyfold.shut_down)
