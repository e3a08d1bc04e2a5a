"""The snippets and the test procedures of the architecture that Keyfold was made for, unchanged, in both modes."""

from __future__ import annotations

import json
import urllib.request

import pytest
from servers import Place, Standin, free_port

# What stands in an application's own file.
SERVICE = """
    from services.user_api_key_context import user_api_keys


    def generate_content(user_id: str, prompt: str):
        with user_api_keys(user_id) as keys:
            gemini_key = keys.get('gemini')
            return f"{prompt} with {gemini_key}"


    async def generate_blog(current_user: dict, prompt: str):
        user_id = current_user.get('id')
        async with user_api_keys(user_id) as keys:
            gemini_key = keys.get('gemini')
            exa_key = keys.get('exa')
            return f"{prompt} with {gemini_key} and {exa_key}"
"""


@pytest.fixture
def services(local: Place, production: Place) -> None:
    """The file `services/user_api_key_context.py` is one line in both."""
    for place in (local, production):
        place.write("services/__init__.py", "")
        place.write("services/user_api_key_context.py", "from keyfold import *\n")
        place.write("services/content.py", SERVICE)


@pytest.mark.usefixtures("services")
def test_a_developer_enters_a_key_and_it_is_used(local: Place) -> None:
    local.write(".env", "GEMINI_API_KEY=test-data-not-a-real-key\n")
    local.run("""
        import asyncio
        from services.content import generate_blog, generate_content
        from services.user_api_key_context import user_api_keys, UserAPIKeyContext, get_gemini_key, get_exa_key

        with user_api_keys() as keys:
            gemini_key = keys.get('gemini')
            assert gemini_key == 'test-data-not-a-real-key'
            assert keys.get('exa') is None

        # Any user is the developer.
        assert generate_content('anybody', 'x') == 'x with test-data-not-a-real-key'
        assert asyncio.run(generate_blog({}, 'x')) == 'x with test-data-not-a-real-key and None'
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
        from services.content import generate_blog, generate_content
        from services.user_api_key_context import (
            user_api_keys, UserAPIKeyContext, get_user_api_keys, get_gemini_key, get_exa_key, get_tavily_key,
            get_copilotkit_key)

        a, exa_a, b = os.environ['KEY_A'], os.environ['EXA_A'], os.environ['KEY_B']
        with user_api_keys('user_a') as keys_a, user_api_keys('user_b') as keys_b:
            assert keys_a.get('gemini') == a and keys_b.get('gemini') == b
            assert keys_a.get('exa') == exa_a and keys_b.get('exa') is None

        assert generate_content('user_a', 'x') == f'x with {a}'
        assert asyncio.run(generate_blog({'id': 'user_b'}, 'x')) == f'x with {b} and None'
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


@pytest.mark.parametrize("deployment", ["local", "production"])
@pytest.mark.usefixtures("services")
def test_a_key_saved_through_the_api_is_there_for_the_program(
    deployment: str, local: Place, production: Place, providers: Standin
) -> None:
    place, user = (local, None) if deployment == "local" else (production, f"user_of_{deployment}")
    port, key = free_port(), providers.key("gemini", 3)
    place = place.with_settings(PORT=str(port), HOST="127.0.0.1", KEYFOLD_LOG="info", KEYFOLD_LOG_FORMAT="text")
    place.run("import keyfold; assert keyfold.get_gemini_key('user_of_production') is None")
    from servers import PROGRAMS

    with place.start(str(PROGRAMS / "keyfold"), "serve") as server:
        try:
            assert server.stdout is not None
            next(line for line in server.stdout if "istening" in line or f":{port}" in line)
            headers = {"Content-Type": "application/json"}
            if user:
                headers["Authorization"] = f"Bearer {providers.token_for(user)}"
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/api/keys/gemini",
                method="PUT",
                data=json.dumps({"key": key}).encode(),
                headers=headers,
            )
            with urllib.request.urlopen(request) as answer:
                assert answer.status == 201
            # Beside the server that runs.
            place.with_settings(EXPECTED=key, WHO=user or "").run("""
                import os
                from services.user_api_key_context import user_api_keys
                with user_api_keys(os.environ['WHO'] or None) as keys:
                    assert keys.get('gemini') == os.environ['EXPECTED']
                """)
        finally:
            server.terminate()
            server.stdout.close() if server.stdout else None
