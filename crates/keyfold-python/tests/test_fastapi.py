"""The example application, and the middleware."""

from __future__ import annotations

import pytest
from servers import ROOT, Place, Standin

EXAMPLE = ROOT / "crates/keyfold-python/examples/fastapi_app/main.py"


@pytest.fixture
def deployed(production: Place, providers: Standin) -> Place:
    """The example in production, with what its issuer says of itself."""
    issuer = providers.settings["KEYFOLD_AUTH_ISSUER"]
    place = production.with_settings(
        KEYFOLD_AUTH_JWKS_URL=f"{issuer}/.well-known/jwks.json",
        TOKEN_A=providers.token_for("user_a"),
        TOKEN_B=providers.token_for("user_b"),
        TOKEN_C=providers.token_for("user_c"),
        GEMINI_API_KEY="test-data-of-the-operator",
        EXA_API_KEY="test-data-of-the-operator",
    )
    place.write("main.py", EXAMPLE.read_text())
    return place


def test_the_example_answers_each_user_with_their_own_keys(deployed: Place) -> None:
    deployed.run("""
        import os
        from fastapi.testclient import TestClient
        from main import app
        a, exa_a, b = os.environ['KEY_A'], os.environ['EXA_A'], os.environ['KEY_B']
        with TestClient(app) as client:
            def ask(path, token=None, **params):
                headers = {'Authorization': f'Bearer {token}'} if token else {}
                return client.request('GET' if path == '/providers' else 'POST', path, params=params, headers=headers)
            A, B, C = (os.environ[f'TOKEN_{who}'] for who in 'ABC')
            assert ask('/providers', A).json() == ['exa', 'gemini']
            assert ask('/providers', B).json() == ['gemini']
            assert ask('/providers', C).json() == []
            assert a[-4:] in ask('/generate', A, prompt='x').json()['text']
            assert b[-4:] in ask('/generate', B, prompt='x').json()['text']
            assert ask('/generate', C, prompt='x').status_code == 404
            # In a thread, from the environment.
            assert exa_a[-4:] in ask('/research', A, query='x').json()['text']
            assert ask('/research', B, query='x').status_code == 404
            # Nobody, and somebody else's signature.
            assert ask('/providers').status_code == 401
            head, claims, signature = A.split('.')
            for bad in (f'{head}.{B.split(".")[1]}.{signature}', f'{head}.{claims}.', 'x', A + 'x'):
                answer = ask('/providers', bad)
                assert answer.status_code == 401 and 'WWW-Authenticate' in answer.headers
            # Whoever only says so in a header is nobody.
            assert client.get('/providers', headers={'X-User-Id': 'user_a', 'Keyfold-User': 'user_a'}).status_code == 401
        """)


def test_the_example_works_on_a_developers_machine(local: Place) -> None:
    local.write("main.py", EXAMPLE.read_text())
    local.write(".env", "GEMINI_API_KEY=test-data-gemini-1234\nEXA_API_KEY=test-data-exa-5678\n")
    local.run("""
        from fastapi.testclient import TestClient
        from main import app
        with TestClient(app) as client:
            assert client.get('/providers').json() == ['exa', 'gemini']
            assert '…1234' in client.post('/generate', params={'prompt': 'x'}).json()['text']
            assert '…5678' in client.post('/research', params={'query': 'x'}).json()['text']
        """)


def test_the_example_does_not_start_in_production_without_what_it_verifies_tokens_with(deployed: Place) -> None:
    started = """
        import os
        from fastapi.testclient import TestClient
        from main import app
        try:
            with TestClient(app): pass
            raise SystemExit('it started')
        except RuntimeError as error:
            for name in os.environ['MISSING'].split():
                assert name in str(error), error
        """
    for missing in (("KEYFOLD_AUTH_JWKS_URL",), ("KEYFOLD_AUTH_ISSUER", "KEYFOLD_AUTHORIZED_PARTIES")):
        # Clerk's key alone is enough for Keyfold.
        place = deployed.without(*missing).with_settings(CLERK_PUBLISHABLE_KEY="pk_test_aXNzdWVyLmV4YW1wbGUuY29tJA")
        place.with_settings(MISSING=" ".join(missing)).run(started)


def test_hundreds_of_requests_at_once_each_get_their_own_users_key(deployed: Place) -> None:
    deployed.run("""
        import asyncio, os, httpx2 as httpx
        from main import app
        expected = {'A': os.environ['KEY_A'][-4:], 'B': os.environ['KEY_B'][-4:]}
        async def main():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url='http://example') as client:
                async def ask(who):
                    token = os.environ[f'TOKEN_{who}']
                    answer = await client.post('/generate', params={'prompt': 'x'}, headers={'Authorization': f'Bearer {token}'})
                    assert answer.status_code == 200, answer.text
                    assert answer.json()['text'].endswith(expected[who]), answer.text
                await asyncio.gather(*(ask('AB'[number % 2]) for number in range(200)))
        asyncio.run(main())
        """)


def test_the_middleware_puts_each_request_into_its_users_block(deployed: Place) -> None:
    deployed.run("""
        import asyncio, os, httpx2 as httpx
        from fastapi import BackgroundTasks, FastAPI
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import StreamingResponse
        import keyfold, keyfold.environ
        from keyfold.fastapi import UserKeysMiddleware, answer_errors
        keyfold.environ.install()

        async def user(connection):
            # Stands for a session that the application checked.
            return {'s-a': 'user_a', 's-b': 'user_b', 's-odd': ''}.get(connection.cookies.get('session'))
        app = FastAPI()
        app.add_middleware(UserKeysMiddleware, user=user)
        answer_errors(app)
        later = {}

        @app.get('/async')
        async def in_the_loop(): return os.getenv('GEMINI_API_KEY')
        @app.get('/thread')
        def in_a_thread(): return os.getenv('GEMINI_API_KEY')
        @app.get('/stream')
        async def stream():
            async def parts():
                for _ in range(3):
                    await asyncio.sleep(0)
                    yield os.environ['GEMINI_API_KEY'] + ' '
            return StreamingResponse(parts())
        @app.get('/later')
        async def background(who: str, tasks: BackgroundTasks):
            tasks.add_task(lambda: later.update({who: os.getenv('GEMINI_API_KEY')}))
        @app.get('/fails')
        async def fails():
            async with keyfold.user_api_keys('user_a') as keys: return keys['tavily']

        async def main():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url='http://example') as client:
                async def ask(path, session=None, **params):
                    return await client.get(path, params=params, headers={'Cookie': f'session={session}'} if session else {})
                for path in ('/async', '/thread'):
                    answers = await asyncio.gather(*(ask(path, ('s-a', 's-b', None)[n % 3]) for n in range(150)))
                    expected = [os.environ['KEY_A'], os.environ['KEY_B'], 'test-data-of-the-operator']
                    assert [answer.json() for answer in answers] == [expected[n % 3] for n in range(150)]
                assert (await ask('/stream', 's-b')).text == 3 * (os.environ['KEY_B'] + ' ')
                await ask('/later', 's-a', who='a'); await ask('/later', 's-b', who='b')
                assert later == {'a': os.environ['KEY_A'], 'b': os.environ['KEY_B']}
                # What goes wrong is an answer that says what to do.
                answer = await ask('/fails')
                problem = answer.json()
                assert answer.status_code == problem['status'] == 404 and problem['code'] == 'no_api_key', answer.text
                assert problem['type'] == 'urn:keyfold:problem:no_api_key' and problem['title'] == 'No API key'
                assert problem['request_id'] == answer.headers['x-request-id'] != '' and 'tavily' in problem['detail'].lower()
                # A caller's own id, if it can be passed on.
                for own, same in (('r-1.a_B', True), ('x' * 129, False), ('a b', False), ('"', False)):
                    answer = await client.get('/fails', headers={'X-Request-Id': own})
                    assert (answer.json()['request_id'] == answer.headers['x-request-id'] == own) is same, own
                assert answer.headers['content-type'] == 'application/problem+json'
                refused = await ask('/async', 's-odd')
                assert refused.status_code == 401 and refused.json()['request_id'] == refused.headers['x-request-id']
        asyncio.run(main())
        """)


def test_a_database_that_is_away_is_an_answer_too(deployed: Place) -> None:
    deployed.with_settings(DATABASE_URL="postgres://keyfold@127.0.0.1:1/none").run("""
        from fastapi import FastAPI
        from fastapi.testclient import TestClient
        from keyfold.fastapi import UserKeysMiddleware
        app = FastAPI()
        app.add_middleware(UserKeysMiddleware, user=lambda connection: 'user_a')
        @app.get('/')
        async def root(): raise SystemExit('there are no keys')
        with TestClient(app) as client:
            answer = client.get('/')
            assert answer.status_code == 503 and answer.json()['code'] == 'cannot_start'
            assert 'Retry-After' in answer.headers and '127.0.0.1' not in answer.text
        """)


def test_it_is_not_needed_where_nobody_uses_it(local: Place) -> None:
    local.run("""
        import sys, keyfold, keyfold.environ
        assert not {'fastapi', 'starlette', 'pydantic'} & set(sys.modules)
        """)
