"""What a user's block costs in Python, beside a plain look-up of the same rows with SQLAlchemy in the same run.

Run by `make bench-python`. Each call is timed by itself: the median of all calls, and what 19 of 20 stay below, in
microseconds. The clock's own 0.1 µs are in it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from servers import Place, postgres

USER = "user_a"
KEY = "AIzaSyTestDataNotARealKey0000000000000"
# Nobody answers there, so keys are saved unasked.
NOBODY = "http://127.0.0.1:1"


def main() -> None:
    if sys.argv[1:] == ["production"]:
        measure_production()
    elif sys.argv[1:] == ["local"]:
        measure_local()
    else:
        measure_all()


def measure_all() -> None:
    """Each mode in a process of its own."""
    path = os.environ.get("PYTHONPATH", "")
    with postgres() as server, tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), {"DEPLOY_ENV": "render", "DATABASE_URL": server.new_database(), "PYTHONPATH": path})
        place.environment |= {
            "KEYFOLD_MASTER_KEY": place.keyfold("master-key", "generate").split()[-1],
            "KEYFOLD_PROVIDER_GEMINI_BASE_URL": NOBODY,
            "KEYFOLD_AUTH_ISSUER": "http://127.0.0.1:1",
            "KEYFOLD_ALLOWED_ORIGINS": "https://app.example.com",
        }
        place.save("gemini", KEY, user=USER)
        measured(place, "production")
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), {"DEBUG": "true", "PYTHONPATH": path})
        place.write(".env", f"GEMINI_API_KEY={KEY}\n")
        measured(place, "local")


def measured(place: Place, mode: str) -> None:
    with place.start(sys.executable, __file__, mode) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
    if process.returncode != 0:
        raise SystemExit(f"measuring {mode} mode ended with {process.returncode}")


def measure_production() -> None:
    import sqlalchemy

    import keyfold
    import keyfold.environ

    def block() -> None:
        with keyfold.user_api_keys(USER):
            pass

    def block_and_key() -> None:
        with keyfold.user_api_keys(USER) as keys:
            keys.get("gemini")

    assert keyfold.get_gemini_key(USER) == KEY
    print(f"production, Python {sys.version.split()[0]}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    report("with user_api_keys(user): …, remembered user", each(block, 50_000))
    report("the same, and keys.get(…): opened and recorded", each(block_and_key, 50_000))
    with keyfold.user_api_keys(USER) as keys:
        report("keys.get(…) alone", each(lambda: keys.get("gemini"), 50_000))
    keyfold.environ.install()
    report("os.getenv('PATH') outside a block", each(lambda: os.getenv("PATH"), 50_000))
    with keyfold.user_api_keys(USER):
        report("os.getenv('PATH') in a block", each(lambda: os.getenv("PATH"), 50_000))
        report("os.getenv('GEMINI_API_KEY') in a block", each(lambda: os.getenv("GEMINI_API_KEY"), 50_000))
    keyfold.environ.uninstall()
    report("os.getenv('PATH'), not installed", each(lambda: os.getenv("PATH"), 50_000))

    async def block_async() -> None:
        async with keyfold.user_api_keys(USER):
            pass

    async def block_and_key_async() -> None:
        async with keyfold.user_api_keys(USER) as keys:
            keys.get("gemini")

    report("async with …, remembered user", each_async(block_async, 50_000))
    report("the same, and keys.get(…)", each_async(block_and_key_async, 50_000))

    strangers = (f"stranger_{number}" for number in count())

    async def stranger() -> None:
        async with keyfold.user_api_keys(next(strangers)):
            pass

    async def stranger_in_a_thread() -> None:
        user = next(strangers)
        await asyncio.to_thread(lambda: keyfold.user_api_keys(user).__enter__()._keys.end())

    def stranger_waited_for() -> None:
        with keyfold.user_api_keys(next(strangers)):
            pass

    report("a user seen for the first time: with, two statements", each(stranger_waited_for, 3_000))
    report("  async with", each_async(stranger, 3_000))
    report("  with, by asyncio.to_thread", each_async(stranger_in_a_thread, 3_000))

    address = os.environ["DATABASE_URL"].replace("postgres://", "postgresql+psycopg://")
    engine = sqlalchemy.create_engine(address)
    look_up = sqlalchemy.text(
        "SELECT provider, key FROM api_keys JOIN onboarding_sessions ON api_keys.session_id = onboarding_sessions.id "
        "WHERE user_id = :user"
    )

    def with_sqlalchemy() -> None:
        with engine.connect() as connection:
            assert dict(connection.execute(look_up, {"user": USER}).fetchall())

    report("SQLAlchemy: connect(), select the same rows (sealed)", each(with_sqlalchemy, 3_000))


def measure_local() -> None:
    import keyfold

    def block_and_key() -> None:
        with keyfold.user_api_keys() as keys:
            keys.get("gemini")

    assert keyfold.get_gemini_key() == KEY
    print("local mode")
    report("with user_api_keys(): keys.get(…): asks SQLite and reads .env each time", each(block_and_key, 3_000))
    with keyfold.user_api_keys() as keys:
        report("keys.get(…) alone: reads .env", each(lambda: keys.get("gemini"), 5_000))


def each(work: Callable[[], object], times: int) -> list[float]:
    clock, figures = time.perf_counter, []
    for _ in range(times):
        begun = clock()
        work()
        figures.append(clock() - begun)
    return figures


def each_async(work: Callable[[], Awaitable[object]], times: int) -> list[float]:
    async def calls() -> list[float]:
        clock, figures = time.perf_counter, []
        for _ in range(times):
            begun = clock()
            await work()
            figures.append(clock() - begun)
        return figures

    return asyncio.run(calls())


def report(what: str, figures: list[float]) -> None:
    median, most = statistics.median(figures) * 1e6, sorted(figures)[len(figures) * 19 // 20] * 1e6
    print(f"  {median:8.2f} µs  (19 of 20 below {most:8.2f})  {what}", flush=True)


if __name__ == "__main__":
    main()
