"""Real servers of a test run's own, gone when it ends; and places in which Keyfold and programs that use it run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = Path(os.environ.get("KEYFOLD_TEST_PROGRAMS", ROOT / "target" / "debug"))
# So many seconds, and something hangs.
PATIENCE = 120


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port


class Postgres:
    """A PostgreSQL with a folder and a port of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._databases = 0

    def address_of(self, database: str) -> str:
        return f"postgres://keyfold@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        self._databases += 1
        name = f"test_{self._databases}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.address_of(name)

    def connect(self, database: str) -> psycopg.Connection[Any]:
        address = database if "://" in database else self.address_of(database)
        return psycopg.connect(address, autocommit=True)


@contextmanager
def postgres() -> Iterator[Postgres]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        raise RuntimeError("PostgreSQL's server is not installed; run `make test`, which installs it")
    bin = programs[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="keyfold-python-"))
    owner: list[str] = []
    if os.getuid() == 0:
        # PostgreSQL refuses to run as root.
        shutil.chown(folder, "postgres")
        owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def run(program: str, *arguments: str) -> None:
        command = [*owner, str(bin / program), "-D", str(folder / "data"), *arguments]
        # The server keeps what it inherits open.
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd=folder)
        if done.returncode != 0:
            log = folder / "log"
            raise RuntimeError(f"{program} failed\n{log.read_text() if log.exists() else ''}")

    port = free_port()
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories= -c fsync=off -c max_connections=200"
    try:
        run("initdb", "-U", "keyfold", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        run("pg_ctl", "-l", str(folder / "log"), "-w", "-o", options, "start")
        try:
            yield Postgres(folder, port)
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Standin:
    """Plays the providers, and a token issuer."""

    def __init__(self, settings: dict[str, str], keys: dict[str, str]) -> None:
        self.settings = settings
        self._keys = keys

    def key(self, provider: str, number: int) -> str:
        """A key that the stand-in takes. Test data."""
        return self._keys[provider].removesuffix("00000001") + f"{number:08d}"

    def token_for(self, user: str) -> str:
        with urllib.request.urlopen(f"{self.settings['KEYFOLD_AUTH_ISSUER']}/token/{user}") as answer:
            return str(answer.read().decode()).strip()


@contextmanager
def standin() -> Iterator[Standin]:
    listen = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    command = [str(PROGRAMS / "keyfold-standin"), "--listen", listen[0], "--issuer", listen[1]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            settings, keys = {}, {}
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("# user_a: "):
                    break
                if line.startswith("# ") and line.count(": ") == 1:
                    provider, key = line[2:].strip().split(": ")
                    keys[provider] = key
                elif "=" in line and not line.startswith("#"):
                    name, value = line.strip().split("=", 1)
                    settings[name] = value
            else:
                raise RuntimeError("the stand-in did not start")
            yield Standin(settings, keys)
        finally:
            process.terminate()


class Place:
    """A folder and an environment in which programs run; nothing of this process's own environment is in it."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **settings}

    def with_settings(self, **settings: str) -> Place:
        return Place(self.folder, {**self.environment, **settings})

    def without(self, *names: str) -> Place:
        return Place(self.folder, {name: value for name, value in self.environment.items() if name not in names})

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def keyfold(self, *arguments: str, input: str = "") -> str:
        """Runs the program `keyfold`."""
        return self._run([str(PROGRAMS / "keyfold"), *arguments], input)

    def save(self, provider: str, key: str, user: str | None = None) -> None:
        """Saves a user's key, as an operator does."""
        self.keyfold("keys", "set", provider, *(["--user", user] if user else []), input=key + "\n")

    def run(self, program: str, *, python: str = sys.executable) -> str:
        """Runs a program in Python, which must end with status 0; what it printed."""
        # With what goes unraised and unawaited on standard error.
        return self._run([python, "-X", "dev", "-W", "error", "-c", textwrap.dedent(program)])

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def _run(self, command: list[str], input: str = "") -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, input=input, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr and "panicked" not in done.stderr, done.stderr
        return done.stdout
