"""The mapping, the users, and what goes wrong."""

from __future__ import annotations

import pytest
from servers import Place, Postgres


def test_keys_are_a_mapping_inside_their_block_and_empty_outside(production: Place) -> None:
    production.run("""
        import asyncio, copy, os, pickle
        from collections.abc import Mapping
        import keyfold

        a, exa = os.environ['KEY_A'], os.environ['EXA_A']
        context = keyfold.user_api_keys('user_a')
        with context as keys:
            assert isinstance(keys, Mapping) and isinstance(keys, keyfold.UserKeys)
            assert set(keys) == {'gemini', 'exa'} and len(keys) == 2
            assert 'gemini' in keys and 'tavily' not in keys and 'nosuch' not in keys and 7 not in keys
            assert keys['gemini'] == a and keys.get('exa', 'x') == exa and keys.get('tavily', 'x') == 'x'
            assert dict(keys) == dict(**keys) == {'gemini': a, 'exa': exa}
            assert sorted(keys.values()) == sorted([a, exa])
            # Nothing of it in what is printed, and no copies.
            assert a not in repr(keys) + str(keys) + repr(context) + repr(vars(keyfold))
            for copying in (copy.copy, copy.deepcopy, pickle.dumps):
                try:
                    copying(keys)
                    raise SystemExit('it was copied')
                except TypeError:
                    pass
            for provider, code in (('tavily', 'no_api_key'), ('nosuch', 'unknown_provider')):
                try:
                    keys[provider]
                    raise SystemExit('there is no such key')
                except KeyError as error:
                    assert isinstance(error, keyfold.NoAPIKeyError) and error.code == code, error
                    assert 'Save one' in str(error) or 'gemini' in str(error), error
        assert keys.get('gemini') is None and 'gemini' not in keys and list(keys) == [] and len(keys) == 0
        assert dict(keys) == {} and not keys
        try:
            keys['gemini']
            raise SystemExit('the block has ended')
        except keyfold.NoAPIKeyError as error:
            assert 'block' in str(error)
        # The same context again, and twice at once.
        with context as one, context as two:
            assert one is not two and one['gemini'] == two['gemini'] == a
        # And by several tasks, of which each ends its own.
        async def main():
            begun, ended = asyncio.Event(), asyncio.Event()
            async def first():
                async with context as keys:
                    begun.set()
                    await ended.wait()
                    assert keys['gemini'] == a
            async def second():
                await begun.wait()
                async with context:
                    pass
                ended.set()
            await asyncio.gather(first(), second())
            begun.clear(); ended.clear()
            async def third():
                async with context as keys:
                    begun.set()
                    await ended.wait()
                    return keys.get('gemini')
            task = asyncio.create_task(third())
            await begun.wait()
            async with context as keys:
                ended.set()
                assert await task == a and keys['gemini'] == a
        asyncio.run(main())
        """)


def test_blocks_end_with_an_exception_too(production: Place) -> None:
    production.run("""
        import asyncio, keyfold
        kept = []
        def fails():
            with keyfold.user_api_keys('user_a') as keys:
                kept.append(keys)
                raise ZeroDivisionError
        async def fails_too():
            async with keyfold.user_api_keys('user_a') as keys:
                kept.append(keys)
                raise ZeroDivisionError
        for failing in (fails, lambda: asyncio.run(fails_too())):
            try:
                failing()
                raise SystemExit('swallowed')
            except ZeroDivisionError:
                assert len(kept.pop()) == 0
        """)


def test_odd_provider_names_are_providers_that_nobody_has(production: Place, local: Place) -> None:
    program = """
        import asyncio, keyfold
        with keyfold.user_api_keys('user_a') as keys:
            for name in ('', '\\ud800', 'gemini\\udcff', 'a\\0b', 'x' * 1_000_000, 'ユーザー', '../gemini', 'GEMINI '):
                assert keys.get(name) is None and keys.get(name, 1) == 1 and name not in keys
                assert asyncio.run(keys.aget(name)) is None
                assert keyfold.UserAPIKeyContext.get_user_key('user_a', name) is None
                try:
                    keys[name]
                    raise SystemExit(f'{name[:9]!r} was taken')
                except keyfold.UnknownProviderError as error:
                    assert isinstance(error, KeyError)
        """
    production.run(program)
    local.run(program)


def test_a_context_says_whose_it_is_and_is_ended_only_after_it_began(production: Place) -> None:
    production.run("""
        import asyncio, keyfold
        context = keyfold.UserAPIKeyContext('user_a')
        assert context.user_id == 'user_a' and keyfold.user_api_keys().user_id is None
        def ended():
            context.__exit__(None, None, None)
        def ended_async():
            asyncio.run(context.__aexit__(None, None, None))
        for end in (ended, ended_async):
            try:
                end()
                raise SystemExit('it ended')
            except RuntimeError as error:
                assert 'has not begun' in str(error)
        with context as keys:
            assert keys.get('gemini')
        try:
            ended()
            raise SystemExit('it ended twice')
        except RuntimeError:
            pass
        """)


def test_odd_user_ids_are_users_or_refused(production: Place, local: Place) -> None:
    program = """
        import asyncio, keyfold
        for user in ("a'b;--", '../..', 'user_A', 'user_a ', 'ユーザー|1', '🦀', 'ü' * 255, '%s', 'local', 'None'):
            keyfold.get_user_api_keys(user)
            if keyfold.mode() == 'production':
                assert keyfold.get_gemini_key(user) is None, user
        for user in ('', 'a\\0b', 'a\\nb', 'u' * 256, 'u' * 10_000_000, '\\ud800'):
            for use in (keyfold.get_gemini_key, lambda user: keyfold.user_api_keys(user).__enter__(),
                        lambda user: asyncio.run(keyfold.user_api_keys(user).__aenter__())):
                try:
                    use(user)
                    raise SystemExit(f'{user[:9]!r} was taken')
                except keyfold.UserIdError as error:
                    assert isinstance(error, ValueError) and error.code == 'invalid_request'
                    assert 'user_id' in str(error), error
        for user in (7, b'user_a', ['user_a'], object(), True):
            for use in (keyfold.user_api_keys, keyfold.get_gemini_key):
                try:
                    use(user)
                    raise SystemExit(f'{user!r} was taken')
                except TypeError:
                    pass
        """
    production.run(program)
    local.run(program)


def test_nobody_is_a_user_in_local_mode_only(production: Place, local: Place) -> None:
    production.run("""
        import asyncio, keyfold
        async def enter():
            async with keyfold.user_api_keys():
                pass
        for use in (keyfold.get_gemini_key, keyfold.get_user_api_keys, lambda: keyfold.user_api_keys().__enter__(),
                    lambda: keyfold.UserAPIKeyContext.get_user_key(None, 'gemini'), lambda: asyncio.run(enter())):
            try:
                use()
                raise SystemExit('nobody is no user here')
            except keyfold.UserIdError as error:
                assert 'production' in str(error), error
        """)
    local.run("""
        import keyfold
        with keyfold.user_api_keys(None):
            assert keyfold.mode() == 'local'
        """)


def test_settings_are_read_at_first_use_and_what_is_wrong_is_told(production: Place, local: Place) -> None:
    failing = """
        import keyfold, keyfold.environ
        keyfold.user_api_keys('user_a')
        keyfold.environ.install()
        for _ in range(2):
            try:
                with keyfold.user_api_keys('user_a'):
                    raise SystemExit('it opened')
            except keyfold.{kind} as error:
                assert isinstance(error, keyfold.KeyfoldError) and error.code == '{code}', error.code
                assert '{words}' in str(error), str(error)
        """

    def refuses(place: Place, kind: str, code: str, words: str) -> None:
        place.run(failing.format(kind=kind, code=code, words=words))

    refuses(production.without("DATABASE_URL"), "SettingsError", "invalid_settings", "DATABASE_URL")
    refuses(production.without("KEYFOLD_MASTER_KEY"), "SettingsError", "invalid_settings", "KEYFOLD_MASTER_KEY")
    other = production.keyfold("master-key", "generate").split()[-1]
    refuses(production.with_settings(KEYFOLD_MASTER_KEY=other), "MasterKeyError", "master_key_unavailable", "master key")
    away = production.with_settings(DATABASE_URL="postgres://keyfold@127.0.0.1:1/none")
    refuses(away, "StartError", "cannot_start", "database")
    refuses(local.with_settings(DEBUG="perhaps"), "SettingsError", "invalid_settings", "perhaps")
    local.write(".env", 'GEMINI_API_KEY="open\n')
    local.run("""
        import keyfold
        try:
            keyfold.get_gemini_key()
            raise SystemExit('it was read')
        except keyfold.KeyfoldError as error:
            assert '.env' in str(error) and 'line 1' in str(error), error
        """)


def test_a_start_that_failed_is_tried_again(production: Place) -> None:
    production.run("""
        import os, keyfold
        good = os.environ['DATABASE_URL']
        os.environ['DATABASE_URL'] = 'postgres://keyfold@127.0.0.1:1/none'
        try:
            keyfold.get_gemini_key('user_a')
            raise SystemExit('there is no such database')
        except keyfold.StartError:
            pass
        os.environ['DATABASE_URL'] = good
        assert keyfold.get_gemini_key('user_a') == os.environ['KEY_A']
        """)


@pytest.fixture
def own_production(production: Place, database_server: Postgres) -> Place:
    """Production with a database of its own, to break something in."""
    place = production.with_settings(DATABASE_URL=database_server.new_database())
    place.save("gemini", place.environment["KEY_A"], user="user_a")
    place.save("exa", place.environment["EXA_A"], user="user_a")
    place.save("gemini", place.environment["KEY_B"], user="user_b")
    return place


def test_an_unreadable_key_raises_and_says_what_to_do(own_production: Place, database_server: Postgres) -> None:
    with database_server.connect(own_production.environment["DATABASE_URL"]) as connection:
        # Tester B's row stands where tester A's should.
        connection.execute("""
            UPDATE api_keys SET key = (SELECT key FROM api_keys JOIN onboarding_sessions s ON session_id = s.id
                                       WHERE s.user_id = 'user_b')
            WHERE provider = 'gemini' AND session_id = (SELECT id FROM onboarding_sessions WHERE user_id = 'user_a')""")
    own_production.run("""
        import asyncio, os, keyfold
        async def later():
            async with keyfold.user_api_keys('user_a') as keys:
                await keys.aget('gemini')
        with keyfold.user_api_keys('user_a') as keys:
            assert 'gemini' in keys and keys.get('exa') == os.environ['EXA_A']
            for use in (lambda: keys.get('gemini'), lambda: keys['gemini'], lambda: dict(keys),
                        lambda: keyfold.get_user_api_keys('user_a'), lambda: asyncio.run(later())):
                try:
                    use()
                    raise SystemExit('it was read')
                except keyfold.KeyUnreadableError as error:
                    assert error.code == 'key_unreadable' and 'Enter it again' in str(error), error
                    assert os.environ['KEY_B'] not in repr(error)
        """)


def test_suspended_users_are_refused(own_production: Place) -> None:
    own_production.keyfold("users", "suspend", "user_a")
    own_production.run("""
        import keyfold
        try:
            keyfold.get_gemini_key('user_a')
            raise SystemExit('suspended')
        except keyfold.UserRefusedError as error:
            assert error.code == 'user_suspended'
        assert keyfold.get_gemini_key('user_b')
        """)


def test_every_key_that_leaves_is_in_the_audit_log_and_no_other(
    own_production: Place, database_server: Postgres
) -> None:
    own_production.run("""
        import keyfold
        with keyfold.user_api_keys('user_a') as keys:
            assert 'exa' in keys and len(keys) == 2
            keys.get('gemini')
        keyfold.get_user_api_keys('user_b')
        """)
    # They are there although the program ended at once.
    with database_server.connect(own_production.environment["DATABASE_URL"]) as connection:
        rows = connection.execute(
            "SELECT user_id, provider, actor FROM audit_events WHERE action = 'key.released' ORDER BY id"
        ).fetchall()
    assert rows == [("user_a", "gemini", "application"), ("user_b", "gemini", "application")]


def test_many_threads_at_once_each_have_their_own_users_keys(production: Place) -> None:
    production.run("""
        import os, threading, keyfold
        expected = {'user_a': os.environ['KEY_A'], 'user_b': os.environ['KEY_B'], 'user_c': None}
        # All of them begin before Keyfold is open.
        barrier, wrong = threading.Barrier(24), []
        def work(number):
            barrier.wait()
            for round in range(50):
                user = ('user_a', 'user_b', 'user_c')[(number + round) % 3]
                with keyfold.user_api_keys(user) as keys:
                    if keys.get('gemini') != expected[user]:
                        wrong.append(user)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not wrong, wrong
        """)
