"""An application whose users bring their own keys.

    make python                  # in a checkout of Keyfold, which is not on PyPI
    pip install "$(ls "$PWD"/target/wheels/keyfold-*.whl)[fastapi]" "pyjwt[crypto]" uvicorn
    uvicorn main:app

In local mode nobody signs in. In production each request carries a token of the issuer in KEYFOLD_AUTH_ISSUER, whose keys
are at KEYFOLD_AUTH_JWKS_URL, made for one of KEYFOLD_AUTHORIZED_PARTIES; and what is done for it is done with that user's
keys. Of Clerk the issuer is https:// and the instance's host, and the keys are at /.well-known/jwks.json there.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Annotated, Any, Union

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

import keyfold
import keyfold.environ
from keyfold import UserKeys
from keyfold.fastapi import answer_errors, keys_of

# Libraries that read `os.getenv("GEMINI_API_KEY")` get the key of the request's user.
keyfold.environ.install()

# This example verifies tokens by itself, so it needs all three, whatever else Keyfold could derive.
SIGN_IN = ("KEYFOLD_AUTH_ISSUER", "KEYFOLD_AUTH_JWKS_URL", "KEYFOLD_AUTHORIZED_PARTIES")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """In production it does not start without what it verifies tokens with."""
    missing = [name for name in SIGN_IN if not os.environ.get(name)]
    if missing and await run_in_threadpool(keyfold.mode) == "production":
        raise RuntimeError(f"{', '.join(missing)} must be set: this application verifies tokens with them")
    yield


app = FastAPI(lifespan=lifespan)
answer_errors(app)
bearer = HTTPBearer(auto_error=False)


@cache
def key_set() -> jwt.PyJWKClient:
    """Where the issuer's public keys are; fetched when needed, and remembered."""
    return jwt.PyJWKClient(os.environ["KEYFOLD_AUTH_JWKS_URL"])


def verified(token: str) -> dict[str, Any]:
    """The claims of a token, if it is good."""
    issuer, parties = os.environ["KEYFOLD_AUTH_ISSUER"], os.environ["KEYFOLD_AUTHORIZED_PARTIES"].split(",")
    claims: dict[str, Any] = jwt.decode(
        token,
        key_set().get_signing_key_from_jwt(token).key,
        algorithms=["RS256"],
        issuer=issuer,
        options={"require": ["exp", "iss", "sub"], "verify_aud": False},
    )
    if claims.get("azp") not in parties:
        raise jwt.InvalidTokenError("made for another application")
    return claims


async def current_user(
    credentials: Annotated[Union[HTTPAuthorizationCredentials, None], Depends(bearer)],
) -> Union[str, None]:
    """Who makes the request. Only what was verified counts."""
    if await run_in_threadpool(keyfold.mode) == "local":
        return None
    if credentials is None:
        raise HTTPException(401, "Sign in first.", {"WWW-Authenticate": "Bearer"})
    try:
        claims = await run_in_threadpool(verified, credentials.credentials)
    except jwt.PyJWKClientConnectionError as error:
        raise HTTPException(503, "Who you are cannot be checked at the moment. Try again shortly.") from error
    except jwt.PyJWTError as error:
        raise HTTPException(401, "Sign in again.", {"WWW-Authenticate": "Bearer"}) from error
    user: str = claims["sub"]
    return user


Keys = Annotated[UserKeys, Depends(keys_of(current_user))]


@app.get("/providers")
async def providers(keys: Keys) -> list[str]:
    """For which providers this user has keys."""
    return sorted(keys)


@app.post("/generate")
async def generate(prompt: str, keys: Keys) -> dict[str, str]:
    """Here the user's key is handed to a client library."""
    gemini_key = keys.get("gemini")
    if gemini_key is None:
        raise HTTPException(404, "Save your Gemini key first.")
    return {"text": await ask_gemini(prompt, gemini_key)}


@app.post("/research")
def research(query: str, keys: Keys) -> dict[str, str]:
    """Older code, in a thread, which reads the environment."""
    exa_key = os.getenv("EXA_API_KEY")
    if exa_key is None:
        raise HTTPException(404, "Save your Exa key first.")
    return {"text": f"what Exa says of {query}, asked with …{exa_key[-4:]}"}


async def ask_gemini(prompt: str, key: str) -> str:
    """Stands for a call of Gemini's library."""
    return f"what Gemini says of {prompt}, asked with …{key[-4:]}"
