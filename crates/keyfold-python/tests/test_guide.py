"""Every block of Python in the documentation does what the text beside it says."""

from __future__ import annotations

import re
import textwrap

import pytest
from servers import ROOT, Place

# What comes before and after each block of a document, in the order in which they stand there.
GUIDE = [
    # A user's keys.
    ("user_id = 'user_a'", "assert gemini_key == os.environ['KEY_A']"),
    # The one line of `services/user_api_key_context.py`.
    ("", "assert get_gemini_key('user_a') == os.environ['KEY_A'] and user_api_keys and UserAPIKeyContext"),
    # Code that reads the environment.
    (
        "",
        """
        assert keyfold.environ.is_installed()
        with keyfold.user_api_keys('user_a'):
            assert os.getenv('GEMINI_API_KEY') == os.environ['KEY_A']
        """,
    ),
    # A child that is to have the user's keys.
    (
        """
        import subprocess, sys, keyfold, keyfold.environ
        command = [sys.executable, '-c', "import os; assert os.environ['GEMINI_API_KEY'] == os.environ['KEY_A']"]
        context = keyfold.user_api_keys('user_a')
        context.__enter__()
        checked, run = [], subprocess.run
        subprocess.run = lambda *given, **named: checked.append(run(*given, **named, check=True))
        """,
        "context.__exit__(None, None, None)\nassert len(checked) == 1",
    ),
    # FastAPI.
    (
        """
        from typing import Annotated
        from fastapi import Depends, FastAPI
        app = FastAPI()
        async def current_user() -> str: return 'user_a'
        """,
        """
        @app.get('/key')
        async def key(keys: Keys) -> str: return keys['gemini']
        @app.get('/none')
        async def none(keys: Keys) -> str: return keys['tavily']
        from fastapi.testclient import TestClient
        with TestClient(app) as client:
            assert client.get('/key').json() == os.environ['KEY_A']
            assert client.post('/generate', params={'prompt': 'x'}).status_code == 200
            assert client.get('/none').json()['code'] == 'no_api_key'
        """,
    ),
]
DOCUMENTS = {"docs/python.md": GUIDE, "crates/keyfold-python/README.md": GUIDE[:1]}
# Blocks in other documents: what the programs that run it have of it.
ELSEWHERE = {
    "docs/gateway.md": ("OpenAI", "crates/keyfold-server/tests/clients/clients.py"),
    "docs/why-not-the-environment.md": ("GEMINI_API_KEY", "docs/why-not-the-environment/naive.py"),
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_works(document: str, production: Place) -> None:
    found, expected = blocks(document), DOCUMENTS[document]
    assert len(found) == len(expected), f"{document} has {len(found)} blocks of Python; each needs its check here"
    for block, (before, after) in zip(found, expected):
        production.run("import os\n" + "\n".join(map(textwrap.dedent, (before, block, after))))


def test_no_other_document_has_blocks_that_nothing_runs() -> None:
    documents = [str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))]
    assert len(documents) > 20
    for document in documents:
        if document not in DOCUMENTS and blocks(document):
            (block,), (part, program) = blocks(document), ELSEWHERE[document]
            assert part in block and part in (ROOT / program).read_text(), document


def blocks(document: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)
