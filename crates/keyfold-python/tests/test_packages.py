"""What `make python` hands out: the sdist holds all that compiles it, and the wheel is one for every Python."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from servers import PATIENCE, ROOT

PACKAGE = ROOT / "crates/keyfold-python"
MATURIN = Path(sys.executable).with_name("maturin")
# Only where documentation is made or its examples are run, which nobody does from an sdist.
DOCUMENTATION = ("#![cfg_attr(any(doc, doctest), doc = ", '#[doc = include_str!("../../../docs/rust.md")]')


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    maturin("sdist", "--out", str(folder))
    (packed,) = folder.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


def test_the_sdist_holds_every_file_that_its_code_includes(sdist: Path) -> None:
    included = 0
    for source in sdist.glob("crates/*/src/**/*.rs"):
        for line in source.read_text().splitlines():
            if line.startswith(DOCUMENTATION):
                continue
            for name in re.findall(r'include(?:_str|_bytes)?!\("([^"]+)"\)', line):
                assert (source.parent / name).is_file(), f"{source.relative_to(sdist)} includes {name}"
                included += 1
    assert included > 20, "they were not found"


def test_the_sdist_holds_every_file_that_its_manifests_name(sdist: Path) -> None:
    read = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"]
    told = subprocess.run(read, cwd=sdist, capture_output=True, text=True, timeout=PATIENCE)
    assert told.returncode == 0, told.stderr
    packages = {package["name"]: package for package in json.loads(told.stdout)["packages"]}
    assert {"keyfold", "keyfold-python"} <= packages.keys()
    for package in packages.values():
        named = [target["src_path"] for target in package["targets"]]
        named += [dependency["path"] for dependency in package["dependencies"] if dependency.get("path")]
        for path in named:
            assert Path(path).is_relative_to(sdist) and Path(path).exists(), f"{package['name']} names {path}"
    project = tomllib.loads((sdist / "pyproject.toml").read_text())["project"]
    for name in (project["readme"], *project["license-files"], "Cargo.lock", "python/keyfold/py.typed"):
        assert (sdist / name).is_file(), name


def test_the_wheel_is_for_every_python_and_typed_and_can_be_imported(tmp_path: Path) -> None:
    wheel = wheel_of_the_tested_library(tmp_path)
    # For CPython 3.9 and every later one, as PyO3 was told.
    assert re.fullmatch(r"keyfold-[0-9.]+-cp39-abi3-linux_\w+\.whl", wheel.name), wheel.name
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    # As the guide says, but without fetching what it needs besides.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(installed), f"{wheel}[fastapi]"], check=True, timeout=PATIENCE)
    modules = {f"keyfold/{path.name}" for path in (PACKAGE / "python/keyfold").glob("*.py*") if path.is_file()}
    assert {"keyfold/py.typed", "keyfold/_keyfold.pyi", "keyfold/_keyfold.abi3.so"} | modules <= names
    about = next(name for name in names if name.endswith(".dist-info/METADATA"))
    assert "Provides-Extra: fastapi\n" in (installed / about).read_text()
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    found = "import keyfold; print(keyfold.__file__); print(keyfold.mode())"
    environment = {"PYTHONPATH": str(installed), "DEBUG": "true", "PATH": os.environ["PATH"]}
    told = subprocess.run(
        [sys.executable, "-c", found], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert told.stdout.split() == [str(installed / "keyfold/__init__.py"), "local"], told.stderr


def wheel_of_the_tested_library(folder: Path) -> Path:
    """As `maturin build` packs it, but of the library that was compiled for these tests: compiling takes minutes."""
    import keyfold._keyfold

    library = folder / "libkeyfold_python.so"
    shutil.copyfile(keyfold._keyfold.__file__, library)
    subprocess.run(["strip", str(library)], check=True, timeout=PATIENCE)
    # What Cargo says when it has compiled the package.
    target = {
        "kind": ["cdylib", "rlib"],
        "crate_types": ["cdylib", "rlib"],
        "name": "keyfold_python",
        "src_path": str(PACKAGE / "src/lib.rs"),
        "edition": "2024",
    }
    profile = {"opt_level": "0", "debug_assertions": True, "overflow_checks": True, "test": False}
    compiled = {
        "reason": "compiler-artifact",
        "package_id": f"path+file://{PACKAGE}#0.1.0",
        "manifest_path": str(PACKAGE / "Cargo.toml"),
        "target": target,
        "profile": profile,
        "features": [],
        "filenames": [str(library)],
        "executable": None,
        "fresh": True,
    }
    (folder / "messages").write_text(json.dumps(compiled) + "\n")
    cargo = folder / "cargo"
    cargo.write_text(f'#!/bin/sh\n[ "$1" = rustc ] || exec cargo "$@"\ncat {folder}/messages\n')
    cargo.chmod(0o755)
    maturin("build", "--locked", "--compatibility", "linux", "--out", str(folder), CARGO=str(cargo))
    (wheel,) = folder.glob("*.whl")
    return wheel


def maturin(*arguments: str, **settings: str) -> None:
    done = subprocess.run(
        [str(MATURIN), *arguments],
        cwd=PACKAGE,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
