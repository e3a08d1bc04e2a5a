"""What the tests stand on: a place in local mode, a place in production, and the servers that these need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Place, Postgres, Standin, postgres, standin


@pytest.fixture(scope="session")
def database_server() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def providers() -> Iterator[Standin]:
    with standin() as started:
        yield started


@pytest.fixture
def local(tmp_path: Path, providers: Standin) -> Place:
    """A developer's machine: no sign-in, SQLite, keys in `.env`."""
    settings = {name: value for name, value in providers.settings.items() if "_AUTH" not in name}
    return Place(tmp_path, {"DEBUG": "true", **settings})


@pytest.fixture(scope="session")
def shared_production(
    tmp_path_factory: pytest.TempPathFactory, database_server: Postgres, providers: Standin
) -> Place:
    """Production, where tester A and tester B have keys of their own, and tester C has none."""
    place = Place(
        tmp_path_factory.mktemp("production"),
        {"DEPLOY_ENV": "render", "DATABASE_URL": database_server.new_database(), **providers.settings},
    )
    place.environment["KEYFOLD_MASTER_KEY"] = place.keyfold("master-key", "generate").split()[-1]
    place.environment |= {"KEYFOLD_ALLOWED_ORIGINS": "https://app.example.com", "KEYFOLD_METRICS_ADDR": "off"}
    place.save("gemini", providers.key("gemini", 1), user="user_a")
    place.save("exa", providers.key("exa", 1), user="user_a")
    place.save("gemini", providers.key("gemini", 2), user="user_b")
    # What the tests compare with.
    place.environment |= {
        "KEY_A": providers.key("gemini", 1),
        "EXA_A": providers.key("exa", 1),
        "KEY_B": providers.key("gemini", 2),
    }
    return place


@pytest.fixture
def production(shared_production: Place, tmp_path: Path) -> Place:
    return Place(tmp_path, shared_production.environment)
