"""While one waits for the database, others run; and waiting can be given up."""

from __future__ import annotations

from servers import Place

# A database that answers only once the test lets it: a lock on the rows that every look-up reads.
SLOW_DATABASE = """
import os, psycopg, keyfold

class SlowDatabase:
    def __enter__(self):
        keyfold.get_gemini_key('user_c')    # Keyfold is open
        self.lock = psycopg.connect(os.environ['DATABASE_URL'])
        self.watch = psycopg.connect(os.environ['DATABASE_URL'], autocommit=True)
        self.lock.execute('LOCK TABLE onboarding_sessions IN ACCESS EXCLUSIVE MODE')
        return self
    def somebody_waits(self):
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        return self.watch.execute(query).fetchone()[0] > 0
    def answers(self):
        self.lock.rollback()
    def __exit__(self, *_):
        self.lock.close()
        self.watch.close()
"""


def test_another_thread_runs_while_one_waits(production: Place) -> None:
    production.write("slow.py", SLOW_DATABASE)
    production.run("""
        import os, threading, keyfold
        from slow import SlowDatabase
        found = []
        with SlowDatabase() as database:
            thread = threading.Thread(target=lambda: found.append(keyfold.get_gemini_key('user_a')))
            thread.start()
            # This runs while that thread waits: otherwise nobody would ever let it go on.
            while not database.somebody_waits():
                pass
            assert not found
            database.answers()
            thread.join()
        assert found == [os.environ['KEY_A']]
        """)


def test_other_tasks_run_while_one_waits(production: Place) -> None:
    production.write("slow.py", SLOW_DATABASE)
    production.run("""
        import asyncio, os, keyfold
        from slow import SlowDatabase

        async def look_up(use):
            return await use()
        async def in_a_block():
            async with keyfold.user_api_keys('user_a') as keys:
                return await keys.aget('gemini')

        async def main(use):
            with SlowDatabase() as database:
                task = asyncio.create_task(look_up(use))
                while not database.somebody_waits():
                    await asyncio.sleep(0)
                assert not task.done()
                database.answers()
                return await task

        async def all_of_them():
            return (await keyfold.aget_user_api_keys('user_a'))['gemini']
        for use in (in_a_block, lambda: keyfold.aget_user_key('user_a', 'gemini'), all_of_them):
            assert asyncio.run(main(use)) == os.environ['KEY_A']
            # Each time as if for the first time.
            child = os.fork()
            if child:
                raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """)


def test_a_task_that_waits_can_be_cancelled(production: Place) -> None:
    production.write("slow.py", SLOW_DATABASE)
    production.run("""
        import asyncio, os, keyfold
        from slow import SlowDatabase

        async def in_a_block():
            async with keyfold.user_api_keys('user_a'):
                raise SystemExit('it was cancelled')

        async def main():
            with SlowDatabase() as database:
                task = asyncio.create_task(in_a_block())
                while not database.somebody_waits():
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    await task
                    raise SystemExit('it was cancelled')
                except asyncio.CancelledError:
                    pass
                database.answers()
            async with keyfold.user_api_keys('user_a') as keys:
                assert keys.get('gemini') == os.environ['KEY_A']
        asyncio.run(main())
        """)


def test_a_thread_that_waits_can_be_interrupted(production: Place) -> None:
    production.write("slow.py", SLOW_DATABASE)
    production.run("""
        import os, signal, threading, keyfold
        from slow import SlowDatabase
        with SlowDatabase() as database:
            def interrupt():
                while not database.somebody_waits():
                    pass
                os.kill(os.getpid(), signal.SIGINT)
            thread = threading.Thread(target=interrupt)
            thread.start()
            try:
                keyfold.get_gemini_key('user_a')
                raise SystemExit('it was interrupted')
            except KeyboardInterrupt:
                pass
            thread.join()
            database.answers()
        assert keyfold.get_gemini_key('user_a') == os.environ['KEY_A']
        """)


def test_a_database_that_goes_away_raises_and_does_not_hang(production: Place) -> None:
    production.write("slow.py", SLOW_DATABASE)
    production.run("""
        import asyncio, keyfold
        from slow import SlowDatabase
        async def look_up():
            async with keyfold.user_api_keys('user_a'):
                raise SystemExit('it does not answer')
        with SlowDatabase():
            for use in (lambda: keyfold.get_gemini_key('user_a'), lambda: asyncio.run(look_up())):
                try:
                    use()
                    raise SystemExit('it does not answer')
                except keyfold.UnavailableError as error:
                    assert error.code == 'database_unavailable', error
        """)
