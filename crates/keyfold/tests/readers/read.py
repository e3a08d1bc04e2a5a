"""Reads CASES/.env.* with python-dotenv; writes {reader: {case: {name: value}}} to OUT."""

import json
import logging
import pathlib
import sys

from dotenv import dotenv_values
from dotenv.parser import parse_stream

cases, out = map(pathlib.Path, sys.argv[1:])

# One warning per line that python-dotenv skips would drown the test's own output.
logging.disable(logging.WARNING)


def grammar(file):
    """The variables without interpolation, or None if python-dotenv would skip a line."""
    with file.open(encoding="utf-8") as stream:
        bindings = list(parse_stream(stream))
    if any(binding.error for binding in bindings):
        return None
    return {binding.key: binding.value for binding in bindings if binding.key is not None}


readers = {"python-dotenv": dotenv_values, "python-dotenv grammar": grammar}
read = {
    reader: {file.suffix: values(file) for file in cases.glob(".env.*")}
    for reader, values in readers.items()
}
out.write_text(json.dumps(read))
