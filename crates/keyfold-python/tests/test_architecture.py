"""Services written as for the architecture that Keyfold was made for: its shapes of code, and both its test procedures."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers import PROGRAMS, Place, Postgres, Standin, free_port

# What stands in an application's own file. As there, an `async` function has a plain `with`, and waits inside it.
SERVICE = """
    from services.gemini import call_gemini_api
    from services.user_api_key_context import user_api_keys


    async def generate_content(user_id: str, prompt: str):
        with user_api_keys(user_id) as keys:
            gemini_key = keys.get('gemini')
            exa_key = keys.get('exa')
            response = await call_gemini_api(gemini_key, prompt)
            return response


    async def generate_blog(current_user: dict, prompt: str):
        user_id = current_user.get('id')
        async with user_api_keys(user_id) as keys:
            gemini_key = keys.get('gemini')
            exa_key = keys.get('exa')
            return f"{prompt} with {gemini_key} and {exa_key}"
"""
SYNC_SERVICE = """
    from services.gemini import call_gemini_api_sync as call_gemini_api
    from services.user_api_key_context import user_api_keys


    def generate_content(user_id: str, prompt: str):
        with user_api_keys(user_id) as keys:
            gemini_key = keys.get('gemini')
            response = call_gemini_api(gemini_key, prompt)
            return response
"""
# Gemini, as a client library calls it. Its answer begins with the key that it was called with.
GEMINI = """
    import asyncio, json, os, urllib.request


    def call_gemini_api_sync(gemini_key, prompt):
        request = urllib.request.Request(
            os.environ['KEYFOLD_PROVIDER_GEMINI_BASE_URL'] + '/v1beta/models/gemini-2.5-flash:generateContent',
            data=json.dumps({'contents': [{'parts': [{'text': prompt}]}]}).encode(),
            headers={'x-goog-api-key': gemini_key, 'Content-Type': 'application/json'},
        )
        with urllib.request.urlopen(request) as answer:
            text = json.load(answer)['candidates'][0]['content']['parts'][0]['text']
        return gemini_key + ' ' + text


    async def call_gemini_api(gemini_key, prompt):
        return await asyncio.to_thread(call_gemini_api_sync, gemini_key, prompt)
"""


@pytest.fixture
def services(local: Place, production: Place) -> None:
    """The file `services/user_api_key_context.py` is one line in both."""
    for place in (local, production):
        write_services(place)


def write_services(place: Place) -> None:
    place.write("services/__init__.py", "")
    place.write("services/user_api_key_context.py", "from keyfold import *\n")
    place.write("services/gemini.py", GEMINI)
    place.write("services/content.py", SERVICE)
    place.write("services/sync_content.py", SYNC_SERVICE)


@pytest.mark.usefixtures("services")
def test_a_developer_enters_a_key_and_it_is_used(local: Place, providers: Standin) -> None:
    local.write(".env", f"GEMINI_API_KEY={providers.key('gemini', 1)}\n")
    local.with_settings(KEY=providers.key("gemini", 1)).run("""
        import asyncio, os
        from services import content, sync_content
        from services.user_api_key_context import user_api_keys, UserAPIKeyContext, get_gemini_key, get_exa_key

        with user_api_keys() as keys:
            gemini_key = keys.get('gemini')
            assert gemini_key == os.environ['KEY']
            assert keys.get('exa') is None

        # Any user is the developer.
        assert asyncio.run(content.generate_content('anybody', 'x')).startswith(gemini_key + ' ')
        assert sync_content.generate_content('anybody', 'x').startswith(gemini_key + ' ')
        assert asyncio.run(content.generate_blog({}, 'x')) == f'x with {gemini_key} and None'
        assert get_gemini_key() == UserAPIKeyContext.get_user_key(None, 'gemini') == gemini_key
        assert get_exa_key() is None
        """)


@pytest.mark.usefixtures("services")
def test_an_edit_of_the_env_file_counts_at_once(local: Place) -> None:
    local.run("""
        from pathlib import Path
        from services.user_api_key_context import user_api_keys

        with user_api_keys() as keys:
            for key in ('test-data-1', 'test-data-2'):
                Path('.env').write_text(f'GEMINI_API_KEY={key}\\n')
                assert keys.get('gemini') == key
        """)


@pytest.mark.usefixtures("services")
def test_testers_a_and_b_each_see_only_their_own_key(production: Place) -> None:
    production.run("""
        import asyncio, os
        from services import content, sync_content
        from services.user_api_key_context import (
            user_api_keys, UserAPIKeyContext, get_user_api_keys, get_gemini_key, get_exa_key, get_tavily_key,
            get_copilotkit_key)

        a, exa_a, b = os.environ['KEY_A'], os.environ['EXA_A'], os.environ['KEY_B']
        with user_api_keys('user_a') as keys_a, user_api_keys('user_b') as keys_b:
            assert keys_a.get('gemini') == a and keys_b.get('gemini') == b
            assert keys_a.get('exa') == exa_a and keys_b.get('exa') is None

        async def both():
            return await asyncio.gather(*(content.generate_content(user, 'x') for user in ('user_a', 'user_b')))
        answer_a, answer_b = asyncio.run(both())
        assert answer_a.startswith(a + ' ') and answer_b.startswith(b + ' ')
        assert sync_content.generate_content('user_a', 'x').startswith(a + ' ')
        assert asyncio.run(content.generate_blog({'id': 'user_b'}, 'x')) == f'x with {b} and None'
        assert get_user_api_keys('user_a') == {'gemini': a, 'exa': exa_a}
        assert UserAPIKeyContext.get_user_api_keys('user_b') == {'gemini': b}
        assert get_gemini_key('user_a') == a and get_exa_key('user_a') == exa_a
        assert get_tavily_key('user_a') is get_copilotkit_key('user_a') is None

        # A user without keys.
        with user_api_keys('user_c') as keys:
            assert keys.get('gemini') is None and len(keys) == 0
        assert get_user_api_keys('user_c') == {}
        """)


@pytest.mark.usefixtures("services")
def test_in_production_no_key_comes_from_the_environment_or_a_file(production: Place) -> None:
    production.write(".env", "GEMINI_API_KEY=test-data-in-a-file\n")
    production.with_settings(GEMINI_API_KEY="test-data-of-the-process").run("""
        from services.user_api_key_context import user_api_keys
        with user_api_keys('user_c') as keys:
            assert keys.get('gemini') is None
        """)


# The procedure for a developer's machine: `DEBUG=true` in `backend/.env`; onboarding; the keys are in that file then; a
# service uses them.
def test_local_development(local: Place, providers: Standin) -> None:
    env_file = local.write("backend/.env", "# the developer's own\nDEBUG=true\n")
    local.write("frontend/.env", "REACT_APP_API_URL=http://localhost:8000\n")
    write_services(local)
    place = local.without("DEBUG")
    keys = {provider: providers.key(provider, 4) for provider in ("gemini", "exa", "copilotkit")}
    with served(place) as url:
        ask(url, "POST", "/api/onboarding/step/1/complete", {"data": {"api_keys": keys}})
        ask(url, "POST", "/api/onboarding/complete", {})
        kept = env_file.read_text()
        assert kept.startswith("# the developer's own\nDEBUG=true\n"), kept
        for provider in ("GEMINI", "EXA", "COPILOTKIT"):
            assert f"{provider}_API_KEY={keys[provider.lower()]}\n" in kept, kept
        assert f"REACT_APP_COPILOTKIT_API_KEY={keys['copilotkit']}" in (local.folder / "frontend/.env").read_text()
        generates_with(place, None, keys["gemini"])
        ask(url, "POST", "/api/generate", {"prompt": "x"})
    # It is still so when nothing runs, and an edit counts.
    generates_with(place, None, keys["gemini"])
    other = providers.key("gemini", 5)
    env_file.write_text(kept.replace(keys["gemini"], other))
    generates_with(place, None, other)


# The procedure for production: two users complete onboarding, each with keys of their own; each generates with these;
# the database has them apart, and no `.env` has any.
def test_production(tmp_path: Path, database_server: Postgres, providers: Standin) -> None:
    address = database_server.new_database()
    place = Place(tmp_path, {"DEBUG": "false", "DEPLOY_ENV": "render", "DATABASE_URL": address, **providers.settings})
    place.environment["KEYFOLD_MASTER_KEY"] = place.keyfold("master-key", "generate").split()[-1]
    place.environment |= {"KEYFOLD_ALLOWED_ORIGINS": "https://app.example.com", "KEYFOLD_METRICS_ADDR": "off"}
    for folder in ("backend", "frontend"):
        (tmp_path / folder).mkdir()
    write_services(place)
    keys = {user: providers.key("gemini", number) for number, user in enumerate(("tester_a", "tester_b"), start=6)}
    with served(place) as url:

        def onboard(user: str) -> None:
            token, own = providers.token_for(user), {"gemini": keys[user]}
            ask(url, "POST", "/api/onboarding/step/1/complete", {"data": {"api_keys": own}}, token)
            ask(url, "POST", "/api/onboarding/complete", {}, token)
            ask(url, "POST", "/api/generate", {"prompt": "x"}, token)

        # At the same time.
        with ThreadPoolExecutor() as people:
            list(people.map(onboard, keys))
        for user, key in keys.items():
            generates_with(place, user, key)
            (listed,) = ask(url, "GET", "/api/keys", None, providers.token_for(user))["keys"]
            assert listed["masked"].endswith(key[-4:]) and listed["last_used_at"], listed
    query = (
        "SELECT user_id, provider, key FROM api_keys "
        "JOIN onboarding_sessions ON api_keys.session_id = onboarding_sessions.id ORDER BY user_id"
    )
    with database_server.connect(address) as connection:
        rows = connection.execute(query.encode()).fetchall()
    assert [row[:2] for row in rows] == [("tester_a", "gemini"), ("tester_b", "gemini")]
    assert rows[0][2] != rows[1][2] and all(row[2].startswith("kf1.") for row in rows)
    # Nowhere below the folder where it ran.
    for path in tmp_path.rglob("*"):
        assert path.name != ".env", path
        if path.is_file():
            text = path.read_bytes()
            assert not any(key.encode() in text for key in keys.values()), path


@contextmanager
def served(place: Place) -> Iterator[str]:
    """`keyfold serve` in that place; its address."""
    port = free_port()
    place = place.with_settings(PORT=str(port), HOST="127.0.0.1", KEYFOLD_LOG="info", KEYFOLD_LOG_FORMAT="text")
    with place.with_settings(KEYFOLD_METRICS_ADDR="off").start(str(PROGRAMS / "keyfold"), "serve") as server:
        try:
            assert server.stdout is not None
            said = []
            for line in server.stdout:
                said.append(line)
                if "ready at " in line:
                    break
            else:
                raise AssertionError("".join(said))
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            if server.stdout is not None:
                server.stdout.close()


def ask(url: str, method: str, path: str, body: object, token: str | None = None) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, method=method, data=data, headers=headers)
    with urllib.request.urlopen(request) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def generates_with(place: Place, user: str | None, key: str) -> None:
    """The services of an application beside that server use this key for this user."""
    place.with_settings(EXPECTED=key, WHO=user or "").run("""
        import asyncio, os
        from services import content, sync_content
        who = os.environ['WHO'] or None
        assert asyncio.run(content.generate_content(who, 'x')).startswith(os.environ['EXPECTED'] + ' ')
        assert sync_content.generate_content(who, 'x').startswith(os.environ['EXPECTED'] + ' ')
        """)
