"""`keyfold.environ`: the providers' variables are those of the user in whose block they are read."""

from __future__ import annotations

import pytest
from servers import Place

BEGIN = """
import asyncio, contextvars, os, subprocess, sys, threading
from concurrent.futures import ThreadPoolExecutor
from os import environ, getenv    # imported before: the same object all the same
import keyfold, keyfold.environ
keyfold.environ.install()
A, B, EXA_A, OUTSIDE = os.environ['KEY_A'], os.environ['KEY_B'], os.environ['EXA_A'], 'test-data-of-the-operator'
"""


@pytest.fixture
def place(production: Place) -> Place:
    production.write("begin.py", BEGIN)
    return production.with_settings(GEMINI_API_KEY="test-data-of-the-operator", EXA_API_KEY="test-data-of-the-operator")


def test_every_look_up_answers_with_the_users_key(place: Place) -> None:
    place.run("""
        from begin import *
        assert os.getenv('GEMINI_API_KEY') == getenv('GEMINI_API_KEY') == OUTSIDE
        with keyfold.user_api_keys('user_b'):
            assert os.getenv('GEMINI_API_KEY') == getenv('GEMINI_API_KEY') == os.getenv('GEMINI_API_KEY', 'x') == B
            assert os.environ['GEMINI_API_KEY'] == environ['GEMINI_API_KEY'] == os.environ.get('GEMINI_API_KEY') == B
            assert 'GEMINI_API_KEY' in os.environ and b'GEMINI_API_KEY' in os.environb
            assert os.getenvb(b'GEMINI_API_KEY') == os.environb[b'GEMINI_API_KEY'] == B.encode()
            # Google's libraries look there too.
            assert os.environ['GOOGLE_API_KEY'] == B
            # No key of this user's: unset, whatever the process has.
            assert os.getenv('EXA_API_KEY') is None and os.getenv('EXA_API_KEY', 'x') == 'x'
            assert 'EXA_API_KEY' not in environ
            for look in (lambda: os.environ['EXA_API_KEY'], lambda: os.environb[b'EXA_API_KEY']):
                try:
                    look()
                    raise SystemExit('there is none')
                except KeyError:
                    pass
            # Everything else is as it was.
            assert os.environ['PATH'] == os.getenv('PATH') and 'PATH' in environ and os.getenv('NO_SUCH') is None
            with keyfold.user_api_keys('user_a'):
                assert os.environ['GEMINI_API_KEY'] == A and os.environ['EXA_API_KEY'] == EXA_A
            assert os.environ['GEMINI_API_KEY'] == B
        assert os.environ['GEMINI_API_KEY'] == os.environ['EXA_API_KEY'] == OUTSIDE
        assert 'GOOGLE_API_KEY' not in os.environ

        keyfold.environ.install()
        assert keyfold.environ.is_installed()
        keyfold.environ.uninstall()
        assert not keyfold.environ.is_installed() and type(os.environ).__module__ == 'os'
        with keyfold.user_api_keys('user_b'):
            assert os.environ['GEMINI_API_KEY'] == OUTSIDE
        """)


def test_on_a_developers_machine_they_answer_from_the_env_file(local: Place) -> None:
    local.write(".env", "GEMINI_API_KEY=test-data-in-the-file\n")
    local.run("""
        import os, keyfold, keyfold.environ
        keyfold.environ.install()
        assert os.getenv('GEMINI_API_KEY') is None
        with keyfold.user_api_keys():
            assert os.getenv('GEMINI_API_KEY') == 'test-data-in-the-file'
        """)


def test_whatever_is_copied_has_no_users_key(place: Place) -> None:
    place.run("""
        from begin import *
        before = os.environ.copy()
        with keyfold.user_api_keys('user_a'):
            copies = [os.environ.copy(), dict(os.environ), {**os.environ}, dict(os.environ.items()), os.environ | {}]
            for copied in copies:
                assert set(before) - set(copied) == {'GEMINI_API_KEY', 'EXA_API_KEY'}
            assert len(os.environ) == len(list(os.environ)) == len(before) - 2
            assert "'GEMINI_API_KEY'" not in repr(os.environ) and OUTSIDE not in os.environ.values()
        assert os.environ.copy() == before and len(os.environ) == len(before)
        """)


def test_child_processes_get_the_users_keys_only_when_asked(place: Place) -> None:
    place.run("""
        from begin import *
        shows = [sys.executable, '-c', 'import os; print(sorted(os.environ.items()))']
        def shown(**options):
            return dict(eval(subprocess.run(shows, capture_output=True, text=True, check=True, **options).stdout))
        try:
            keyfold.environ.for_subprocess()
            raise SystemExit('there is no user')
        except keyfold.KeyfoldError as error:
            assert error.code == 'no_user'
        with keyfold.user_api_keys('user_a') as keys:
            # The environment itself never changes.
            assert shown()['GEMINI_API_KEY'] == OUTSIDE
            subprocess.run(['sh', '-c', 'test "$GEMINI_API_KEY" = "$1"', 'sh', OUTSIDE], check=True)
            assert 'GEMINI_API_KEY' not in shown(env={**os.environ, 'X': '1'})
            asked = shown(env=keyfold.environ.for_subprocess())
            assert asked['GEMINI_API_KEY'] == asked['GOOGLE_API_KEY'] == A and asked['EXA_API_KEY'] == EXA_A
            # Neither others' keys nor Keyfold's secrets.
            assert OUTSIDE not in asked.values()
            assert not {'KEYFOLD_MASTER_KEY', 'DATABASE_URL'} & set(asked) and 'PATH' in asked
        with keyfold.user_api_keys('user_c'):
            assert not {'GEMINI_API_KEY', 'EXA_API_KEY'} & set(shown(env=keyfold.environ.for_subprocess()))
        """)


def test_nobody_changes_the_environment_inside_a_block(place: Place) -> None:
    place.run("""
        from begin import *
        from keyfold.errors import EnvironmentWriteError
        def changes():
            yield lambda: os.environ.__setitem__('GEMINI_API_KEY', 'x')
            yield lambda: os.environ.__delitem__('GEMINI_API_KEY')
            yield lambda: os.environ.pop('GEMINI_API_KEY')
            yield lambda: os.environ.update(GEMINI_API_KEY='x')
            yield lambda: os.environ.setdefault('TAVILY_API_KEY', 'x')
            yield lambda: os.environb.__setitem__(b'GEMINI_API_KEY', b'x')
        with keyfold.user_api_keys('user_a'):
            for change in changes():
                try:
                    change()
                    raise SystemExit('it was changed')
                except EnvironmentWriteError as error:
                    assert error.code == 'environment_write' and 'API_KEY' in str(error)
            os.environ['OTHER'] = 'x'
            assert os.environ.setdefault('GEMINI_API_KEY', 'x') == A
        assert os.environ['GEMINI_API_KEY'] == OUTSIDE and os.environ['OTHER'] == 'x'
        os.environ['GEMINI_API_KEY'] = 'changed'
        assert os.environ['GEMINI_API_KEY'] == 'changed'
        del os.environ['GEMINI_API_KEY']
        assert 'GEMINI_API_KEY' not in os.environ
        """)


def test_hundreds_of_tasks_threads_and_hand_overs_never_see_each_others_keys(place: Place) -> None:
    place.run("""
        from begin import *
        look = lambda: os.getenv('GEMINI_API_KEY')
        expected = {'user_a': A, 'user_b': B, 'user_c': None, None: OUTSIDE}
        users = list(expected)
        pool = ThreadPoolExecutor(8)

        async def request(number):
            user = users[number % 4]
            async def body():
                loop = asyncio.get_running_loop()
                for round in range(3):
                    assert look() == expected[user], (user, 'in the task')
                    await asyncio.sleep(0)
                    assert await asyncio.to_thread(look) == expected[user], (user, 'to_thread carries it')
                    # A pool does not carry it: there is what stands outside, and never another user's key.
                    assert await loop.run_in_executor(pool, look) == OUTSIDE, (user, 'run_in_executor')
                    context = contextvars.copy_context()
                    assert await loop.run_in_executor(pool, context.run, look) == expected[user], (user, 'by hand')
                    assert await asyncio.create_task(asyncio.to_thread(look)) == expected[user], (user, 'task in a task')
                    other = users[(number + round) % 4]
                    if other is not None:
                        async with keyfold.user_api_keys(other):
                            await asyncio.sleep(0)
                            assert look() == expected[other]
            if user is None:
                await body()
            else:
                async with keyfold.user_api_keys(user):
                    await body()
            assert look() == OUTSIDE

        def in_a_thread(number):
            for round in range(12):
                user = users[(number + round) % 3]
                with keyfold.user_api_keys(user):
                    assert look() == expected[user]
                    started = []
                    fresh = threading.Thread(target=lambda: started.append(look()))
                    fresh.start(); fresh.join()
                    assert started == [OUTSIDE] or started == [expected[user]] and sys.version_info >= (3, 14)
                    assert pool.submit(look).result() == OUTSIDE
                assert look() == OUTSIDE
            return True

        async def main():
            threads = [asyncio.to_thread(in_a_thread, number) for number in range(8)]
            done = await asyncio.gather(*threads, *(request(number) for number in range(300)))
            assert done[:8] == [True] * 8
        asyncio.run(main())
        pool.shutdown()
        """)


def test_who_outlives_a_block_gets_nothing(place: Place) -> None:
    place.run("""
        from begin import *
        async def main():
            go_on = asyncio.Event()
            async def outlives():
                before = os.getenv('GEMINI_API_KEY')
                await go_on.wait()
                return before, os.getenv('GEMINI_API_KEY'), 'GEMINI_API_KEY' in os.environ
            async with keyfold.user_api_keys('user_a'):
                task = asyncio.create_task(outlives())
                await asyncio.sleep(0)
            assert os.getenv('GEMINI_API_KEY') == OUTSIDE
            go_on.set()
            # Neither the user's key, whose request is over, nor the operator's.
            assert await task == (A, None, False)
        asyncio.run(main())
        """)


def test_blocks_that_end_out_of_order_leave_nothing_behind(place: Place) -> None:
    place.run("""
        from begin import *
        a, b = keyfold.user_api_keys('user_a'), keyfold.user_api_keys('user_b')
        a.__enter__(); b.__enter__()
        a.__exit__(None, None, None)
        assert os.getenv('GEMINI_API_KEY') == B
        b.__exit__(None, None, None)
        assert os.getenv('GEMINI_API_KEY') == OUTSIDE

        # A generator that is ended in another context than it began in.
        def parts():
            with keyfold.user_api_keys('user_a'):
                yield os.getenv('GEMINI_API_KEY')
        generator = parts()
        assert contextvars.copy_context().run(next, generator) == A
        generator.close()
        assert os.getenv('GEMINI_API_KEY') == OUTSIDE
        """)


def test_other_variables_answer_whatever_becomes_of_keyfold(place: Place) -> None:
    place.run("""
        from begin import *
        with keyfold.user_api_keys('user_a'):
            keyfold._keyfold.shut_down()
            for name in ('PATH', 'HOME'):
                assert os.environ[name]
        """)


def test_something_else_in_its_place_is_left_alone(production: Place) -> None:
    production.run("""
        import os, keyfold.environ
        class Other(type(os.environ)): pass
        os.environ.__class__ = Other
        try:
            keyfold.environ.install()
            raise SystemExit('it was replaced')
        except keyfold.KeyfoldError as error:
            assert error.code == 'environ_replaced'
        assert type(os.environ) is Other
        """)
