"""Processes that fork, servers that do, and how a process ends."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import keyfold.errors
import pytest
from servers import PATIENCE, Place, Postgres, free_port

PACKAGE = Path(keyfold.errors.__file__).parents[1]

FORKS = """
import os, traceback, keyfold

def in_a_child(work):
    '''Does it in a child that forks off here, which must end with status 0.'''
    child = os.fork()
    if child == 0:
        try:
            work()
        except SystemExit:
            raise
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        # With everything that the interpreter does at its end, as a server's workers do.
        raise SystemExit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("deployment", ["local", "production"])
def test_a_forked_child_has_a_keyfold_of_its_own(deployment: str, local: Place, production: Place) -> None:
    place = local if deployment == "local" else production
    local.write(".env", f"GEMINI_API_KEY={production.environment['KEY_A']}\n")
    place = place.with_settings(KEY_A=production.environment["KEY_A"])
    place.write("forks.py", FORKS)
    place.run("""
        import os, threading
        from forks import *
        a = os.environ['KEY_A']
        def look(user='user_a'):
            assert keyfold.get_gemini_key(user) == a
        # Before the parent ever used it, after, in a child's child, and in a row.
        in_a_child(look)
        look()
        in_a_child(look)
        in_a_child(lambda: (look(), in_a_child(look), look()))
        for _ in range(5):
            in_a_child(look)
            look()
        # Inside a block: it goes on in the child, and in the parent.
        with keyfold.user_api_keys('user_a') as keys:
            assert keys.get('gemini') == a
            def go_on():
                assert keys.get('gemini') == a and 'gemini' in keys
                look()
            in_a_child(go_on)
            go_on()
        # While other threads are at it.
        stop = threading.Event()
        def work():
            while not stop.is_set():
                look()
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        for _ in range(5):
            in_a_child(look)
        stop.set()
        for thread in threads: thread.join()
        """)


def test_a_child_of_c_code_that_tells_nobody_has_one_too(production: Place) -> None:
    production.run("""
        import ctypes, os, keyfold
        assert keyfold.get_gemini_key('user_a')
        child = ctypes.PyDLL(None).fork()
        if child == 0:
            os._exit(0 if keyfold.get_gemini_key('user_a') == os.environ['KEY_A'] else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert keyfold.get_gemini_key('user_a') == os.environ['KEY_A']
        """)


def test_a_pool_of_forked_processes(production: Place) -> None:
    production.write("work.py", "import keyfold\ndef look(user): return keyfold.get_gemini_key(user)\n")
    production.run("""
        import multiprocessing, os
        from work import look
        assert look('user_b') == os.environ['KEY_B']
        for method in ('fork', 'spawn', 'forkserver'):
            with multiprocessing.get_context(method).Pool(3) as pool:
                assert pool.map(look, ['user_a', 'user_b', 'user_c'] * 4) == [os.environ['KEY_A'], os.environ['KEY_B'], None] * 4
                pool.close()
                pool.join()
        """)


def test_no_connection_of_a_parent_is_used_by_a_child(production: Place, database_server: Postgres) -> None:
    production.write("forks.py", FORKS)
    production.run("""
        import psycopg
        from forks import *
        keyfold.get_gemini_key('user_a')
        with psycopg.connect(os.environ['DATABASE_URL'], autocommit=True) as watch:
            count = lambda: watch.execute("SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'").fetchone()[0]
            before = count()
            def look():
                keyfold.get_gemini_key('user_a')
                assert count() > before
            in_a_child(look)
            # What the child did and ended broke nothing of the parent's.
            assert keyfold.get_gemini_key('user_b') == os.environ['KEY_B']
        """)


@pytest.mark.parametrize("deployment", ["local", "production"])
def test_a_process_ends_by_itself_and_its_threads_with_it(deployment: str, local: Place, production: Place) -> None:
    place = local if deployment == "local" else production
    place.run("""
        import atexit, os, threading
        def native_threads():
            return [open(f'/proc/self/task/{task}/comm').read().strip() for task in os.listdir('/proc/self/task')]
        def check():
            assert not [name for name in native_threads() if 'keyfold' in name or 'tokio' in name], native_threads()
            os.write(1, b'checked')
        atexit.register(check)    # runs last
        import warnings; warnings.simplefilter('ignore', ResourceWarning)
        import keyfold
        keyfold.get_gemini_key('user_a')
        assert 'keyfold' in native_threads()
        """)


def test_use_while_the_interpreter_shuts_down_is_a_clear_exception(production: Place) -> None:
    told = production.run("""
        import asyncio, atexit, os
        def last():
            # Keyfold has ended by now: it was imported later.
            for use in (lambda: keyfold.get_gemini_key('user_a'), keyfold.mode,
                        lambda: asyncio.run(keyfold.aget_user_key('user_a', 'gemini'))):
                try:
                    use()
                    os.write(1, b'it opened')
                except keyfold.ShutDownError as error:
                    assert error.code == 'shut_down' and 'ending' in str(error)
                    os.write(1, b'refused ')
        atexit.register(last)
        import keyfold
        class Late:
            def __del__(self, keyfold=keyfold):
                try:
                    keyfold.get_gemini_key('user_a')
                except Exception as error:
                    os.write(1, type(error).__name__.encode())
        keyfold.late = Late()
        keyfold.get_gemini_key('user_a')
        """)
    assert told == "refused refused refused ShutDownError", told


def test_a_thread_that_is_left_behind_keeps_no_process_from_ending(production: Place) -> None:
    production.run("""
        import threading, keyfold
        begun = threading.Event()
        def work():
            while True:
                try:
                    with keyfold.user_api_keys('user_a') as keys:
                        keys.get('gemini'); keyfold.get_gemini_key('user_b'); begun.set()
                except keyfold.ShutDownError:
                    pass
        for _ in range(3):
            threading.Thread(target=work, daemon=True).start()
        begun.wait()
        """)


def test_what_the_library_logs_goes_to_pythons_logging(production: Place) -> None:
    production.run("""
        import logging, keyfold
        kept = []
        class Keep(logging.Handler):
            def emit(self, record): kept.append(record)
        logging.getLogger('keyfold').addHandler(Keep())
        logging.getLogger('keyfold').setLevel(logging.INFO)
        # The state directory cannot be made: a file stands there.
        import os
        open('taken', 'w').close()
        os.environ['KEYFOLD_STATE_DIR'] = 'taken'
        assert keyfold.get_gemini_key('user_a') == os.environ['KEY_A']
        assert any('strict' in record.getMessage() for record in kept), kept
        assert os.environ['KEY_A'] not in str([record.getMessage() for record in kept])
        """)


APPLICATION = """
import json, os, threading
import keyfold, keyfold.environ

# Loaded before the server forks, and used there.
assert keyfold.get_gemini_key('user_a') == os.environ['KEY_A']
keyfold.environ.install()

def wsgi(environ, start_response):
    # Stands for a user whose identity was checked.
    user = environ['PATH_INFO'].strip('/')
    with keyfold.user_api_keys(user) as keys:
        body = json.dumps([os.getpid(), keys.get('gemini'), os.getenv('GEMINI_API_KEY')]).encode()
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [body]

async def asgi(scope, receive, send):
    if scope['type'] == 'lifespan':
        while True:
            message = await receive()
            await send({'type': message['type'] + '.complete'})
            if message['type'] == 'lifespan.shutdown':
                return
    async with keyfold.user_api_keys(scope['path'].strip('/')) as keys:
        body = json.dumps([os.getpid(), keys.get('gemini'), os.getenv('GEMINI_API_KEY')]).encode()
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'application/json')]})
    await send({'type': 'http.response.body', 'body': body})
"""

SERVERS = {
    "gunicorn": ["gunicorn", "--preload", "--workers=3", "application:wsgi"],
    "gunicorn, threads": ["gunicorn", "--preload", "--workers=2", "--threads=4", "application:wsgi"],
    "gunicorn, uvicorn's workers": [
        "gunicorn", "--preload", "--workers=3", "--worker-class=uvicorn_worker.UvicornWorker", "application:asgi",
    ],
    "uvicorn": ["uvicorn", "--workers=2", "--lifespan=on", "application:asgi"],
}  # fmt: skip


@pytest.mark.parametrize("server", SERVERS)
def test_servers_whose_workers_fork(server: str, production: Place) -> None:
    port = free_port()
    program, *arguments = SERVERS[server]
    listen = [f"--bind=127.0.0.1:{port}"] if program == "gunicorn" else ["--host=127.0.0.1", f"--port={port}"]
    place = production.with_settings(PYTHONPATH=str(production.folder))
    place.write("application.py", APPLICATION)
    expected = {"user_a": place.environment["KEY_A"], "user_b": place.environment["KEY_B"], "user_c": None}
    told: list[str] = []
    with place.start(sys.executable, "-m", program, *listen, *arguments) as process:
        try:
            wait_for(port, process)
            workers = set()
            for number in range(120):
                user = ["user_a", "user_b", "user_c"][number % 3]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/{user}", timeout=PATIENCE) as answer:
                    worker, key, variable = json.load(answer)
                assert key == variable == expected[user], (user, server)
                workers.add(worker)
            assert process.pid not in workers
            process.send_signal(signal.SIGTERM)
            assert process.stdout is not None
            told = list(process.stdout)
            process.wait(PATIENCE)
        finally:
            process.kill()
    assert process.returncode in (0, -signal.SIGTERM), told
    assert not [line for line in told if re.search("error|traceback|panicked|killed|timeout", line, re.I)], told


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/user_c", timeout=PATIENCE):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                assert process.stdout is not None
                raise AssertionError(process.stdout.read()) from None


def interpreters() -> list[str]:
    """Other versions of Python that are on this machine."""
    found = {}
    for minor in (9, 10, 12, 13, 14, 15):
        name = f"python3.{minor}"
        places = [shutil.which(name), *map(str, Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/{name}"))]
        for place in filter(None, places):
            if subprocess.run([place, "-c", ""], capture_output=True).returncode == 0:
                found[minor] = place
    return list(found.values())


def test_it_works_with_every_python_that_is_here(production: Place) -> None:
    others = interpreters()
    if not others:
        pytest.skip("no other Python than the tests' own is here")
    place = production.with_settings(PYTHONPATH=str(PACKAGE), KEYFOLD=str(PACKAGE))
    for python in others:
        place.run(
            """
            import asyncio, os, sys, keyfold, keyfold.environ
            assert keyfold.__file__.startswith(os.environ['KEYFOLD'])
            keyfold.environ.install()
            with keyfold.user_api_keys('user_a') as keys:
                assert keys.get('gemini') == os.getenv('GEMINI_API_KEY') == os.environ['KEY_A']
            async def main():
                async with keyfold.user_api_keys('user_b') as keys:
                    assert await keys.aget('gemini') == os.getenv('GEMINI_API_KEY') == os.environ['KEY_B']
            asyncio.run(main())
            child = os.fork()
            if child == 0:
                os._exit(keyfold.get_gemini_key('user_a') != os.environ['KEY_A'])
            assert os.waitpid(child, 0)[1] == 0
            """,
            python=python,
        )
    print("tried with", *others)
