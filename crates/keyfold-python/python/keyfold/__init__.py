"""Each user's own AI provider keys: kept sealed, opened for exactly that user.

    from keyfold import user_api_keys

    with user_api_keys(user_id) as keys:    # also `async with`
        gemini_key = keys.get("gemini")     # str or None

The settings are those of the program `keyfold`; they are read at first use. What goes wrong is a `KeyfoldError`.
"""

from ._context import (
    UserAPIKeyContext,
    UserKeys,
    aget_user_api_keys,
    aget_user_key,
    get_copilotkit_key,
    get_exa_key,
    get_gemini_key,
    get_tavily_key,
    get_user_api_keys,
    mode,
    user_api_keys,
)
from .errors import (
    EnvFileError,
    EnvironmentWriteError,
    KeyfoldError,
    KeyUnreadableError,
    MasterKeyError,
    NoAPIKeyError,
    SettingsError,
    ShutDownError,
    StartError,
    UnavailableError,
    UnknownProviderError,
    UserIdError,
    UserRefusedError,
)

__all__ = [
    "EnvFileError",
    "EnvironmentWriteError",
    "KeyUnreadableError",
    "KeyfoldError",
    "MasterKeyError",
    "NoAPIKeyError",
    "SettingsError",
    "ShutDownError",
    "StartError",
    "UnavailableError",
    "UnknownProviderError",
    "UserAPIKeyContext",
    "UserIdError",
    "UserKeys",
    "UserRefusedError",
    "aget_user_api_keys",
    "aget_user_key",
    "get_copilotkit_key",
    "get_exa_key",
    "get_gemini_key",
    "get_tavily_key",
    "get_user_api_keys",
    "mode",
    "user_api_keys",
]
