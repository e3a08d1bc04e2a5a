"""Runs the providers' Python client libraries, unmodified, against the gateway.

Standard input is JSON: `base` (the gateway's address; `limited_base` and `local_base` are those of others), `users` (for
each user and provider the `credential` to call with and the `fingerprint` of the key that must arrive), `strangers`
(credentials that are refused), `service` (a service token and its user) and `local` (fingerprints of local mode's keys).
Each case prints one line of JSON: language, library, version, case, ok (null: the library has no such thing), detail.
"""

import asyncio
import io
import json
import sys
import traceback
from importlib.metadata import version

import anthropic
import cohere
import exa_py
import google.genai
import google.genai.errors
import groq
import httpx
import httpx2
import mistralai.client
import mistralai.client.errors
import mistralai.client.utils
import openai
import requests
import tavily
import tavily.errors

SETUP = json.load(sys.stdin)
PROMPT = "What is a key fold?"
FILE = b'{"text": "a line of a file"}\n' * 20_000
TIME_OUT = 1.0
# What broken answers end in, below what the libraries make of it.
BROKEN = (
    httpx.TransportError,
    httpx2.TransportError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ConnectionError,
    openai.APIConnectionError,
    anthropic.APIConnectionError,
    groq.APIConnectionError,
)


class Missing(Exception):
    """The library has no such thing; the text says what."""


class Caller:
    """What a library is set up with: where, as whom, and how patient."""

    def __init__(self, base, credential, headers=None, retries=0, time_out=60.0):
        self.base = base
        self.credential = credential
        self.headers = headers or {}
        self.retries = retries
        self.time_out = time_out


class OpenAi:
    package, provider, model = "openai", "openai", "gpt-5-mini"
    timed_out = openai.APITimeoutError
    refused = openai.APIStatusError
    limited = openai.RateLimitError
    kinds = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        403: openai.PermissionDeniedError,
        404: openai.NotFoundError,
        429: openai.RateLimitError,
        500: openai.InternalServerError,
    }
    errors = [("standin:INVALID", 401), ("standin:DENIED", 403), ("standin:BROKEN", 500)]
    make, make_async = openai.OpenAI, openai.AsyncOpenAI

    def options(self, caller):
        return {
            "base_url": f"{caller.base}/openai/v1",
            "api_key": caller.credential,
            "default_headers": caller.headers,
            "max_retries": caller.retries,
            "timeout": caller.time_out,
        }

    def client(self, caller):
        return self.make(**self.options(caller))

    def async_client(self, caller):
        return self.make_async(**self.options(caller))

    def chat(self, text, model=None):
        return {"model": model or self.model, "messages": [{"role": "user", "content": text}]}

    def plain(self, caller, text, model=None):
        with self.client(caller) as client:
            return client.chat.completions.create(**self.chat(text, model)).choices[0].message.content

    def stream(self, caller, text):
        with self.client(caller) as client:
            for chunk in client.chat.completions.create(**self.chat(text), stream=True):
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content

    async def plain_async(self, caller, text):
        async with self.async_client(caller) as client:
            answer = await client.chat.completions.create(**self.chat(text))
            return answer.choices[0].message.content

    async def stream_async(self, caller, text):
        async with self.async_client(caller) as client:
            async for chunk in await client.chat.completions.create(**self.chat(text), stream=True):
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content

    def models(self, caller):
        with self.client(caller) as client:
            return [model.id for model in client.models.list()]

    def more(self, caller):
        """What else the library is used for: a text that begins with the fingerprint, each."""
        with self.client(caller) as client:
            yield "responses", client.responses.create(model=self.model, input=PROMPT).output_text
            with client.responses.stream(model=self.model, input=PROMPT) as events:
                pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
            yield "responses, streamed", "".join(pieces)
            raw = client.embeddings.with_raw_response.create(model="text-embedding-3-small", input="four")
            expect(raw.parse().data[0].embedding == [4.0, 0.5, 0.25, -1.0], "the embedding is another one")
            yield "embeddings", f"fp={raw.headers['x-key-fingerprint']}"

    def upload(self, caller):
        with self.client(caller) as client:
            file = client.files.create(file=("lines.jsonl", FILE), purpose="fine-tune")
            expect(file.bytes == len(FILE), f"{file.bytes} bytes arrived")
            return file.id.removeprefix("file-")

    def bad(self, caller):
        with self.client(caller) as client:
            client.chat.completions.create(model=self.model, messages=[])

    def status(self, error):
        return error.status_code


class Groq(OpenAi):
    package, provider, model = "groq", "groq", "openai/gpt-oss-20b"
    timed_out = groq.APITimeoutError
    refused = groq.APIStatusError
    limited = groq.RateLimitError
    kinds = {
        400: groq.BadRequestError,
        401: groq.AuthenticationError,
        403: groq.PermissionDeniedError,
        404: groq.NotFoundError,
        429: groq.RateLimitError,
        500: groq.InternalServerError,
    }
    make, make_async = groq.Groq, groq.AsyncGroq

    def options(self, caller):
        # The library appends /openai/v1 itself.
        return super().options(caller) | {"base_url": f"{caller.base}/groq"}

    def models(self, caller):
        with self.client(caller) as client:
            return [model.id for model in client.models.list().data]

    def more(self, caller):
        return []

    def upload(self, caller):
        with self.client(caller) as client:
            heard = client.audio.transcriptions.create(file=("speech.wav", FILE), model="whisper-large-v3")
            expect(f"speech.wav, {len(FILE)} bytes" in heard.text, heard.text)
            return fingerprint(heard.text)


class Anthropic(OpenAi):
    package, provider, model = "anthropic", "anthropic", "claude-haiku-4-5"
    timed_out = anthropic.APITimeoutError
    refused = anthropic.APIStatusError
    limited = anthropic.RateLimitError
    kinds = {
        400: anthropic.BadRequestError,
        401: anthropic.AuthenticationError,
        403: anthropic.PermissionDeniedError,
        404: anthropic.NotFoundError,
        429: anthropic.RateLimitError,
        500: anthropic.InternalServerError,
    }
    make, make_async = anthropic.Anthropic, anthropic.AsyncAnthropic

    def options(self, caller):
        return super().options(caller) | {"base_url": f"{caller.base}/anthropic"}

    def chat(self, text, model=None):
        return super().chat(text, model) | {"max_tokens": 99}

    def plain(self, caller, text, model=None):
        with self.client(caller) as client:
            return client.messages.create(**self.chat(text, model)).content[0].text

    def stream(self, caller, text):
        with self.client(caller) as client, client.messages.stream(**self.chat(text)) as stream:
            yield from stream.text_stream

    async def plain_async(self, caller, text):
        async with self.async_client(caller) as client:
            return (await client.messages.create(**self.chat(text))).content[0].text

    async def stream_async(self, caller, text):
        async with self.async_client(caller) as client, client.messages.stream(**self.chat(text)) as stream:
            async for piece in stream.text_stream:
                yield piece

    def more(self, caller):
        with self.client(caller) as client:
            count = client.messages.count_tokens(model=self.model, messages=self.chat(PROMPT)["messages"])
            expect(count.input_tokens == 5, f"{count.input_tokens} tokens")
        return []

    def upload(self, caller):
        with self.client(caller) as client:
            file = client.beta.files.upload(file=("lines.jsonl", FILE))
            expect(file.size_bytes == len(FILE), f"{file.size_bytes} bytes arrived")
            return file.id.removeprefix("file_")

    def bad(self, caller):
        with self.client(caller) as client:
            client.messages.create(model=self.model, messages=[], max_tokens=9)


class Gemini:
    package, provider, model = "google-genai", "gemini", "gemini-flash-latest"
    timed_out = (httpx.TimeoutException, httpx2.TimeoutException)
    refused = google.genai.errors.APIError
    limited = google.genai.errors.ClientError
    kinds = {400: limited, 401: limited, 403: limited, 404: limited, 429: limited}
    kinds[500] = google.genai.errors.ServerError
    errors = [("standin:INVALID", 400), ("standin:DENIED", 403), ("standin:BROKEN", 500)]

    def client(self, caller):
        options = {
            "base_url": f"{caller.base}/gemini",
            "headers": caller.headers,
            "timeout": int(caller.time_out * 1000),
            "retry_options": {"attempts": caller.retries + 1},
        }
        return google.genai.Client(api_key=caller.credential, http_options=options)

    def plain(self, caller, text, model=None):
        with self.client(caller) as client:
            return client.models.generate_content(model=model or self.model, contents=text).text

    def stream(self, caller, text):
        with self.client(caller) as client:
            for chunk in client.models.generate_content_stream(model=self.model, contents=text):
                yield chunk.text

    async def plain_async(self, caller, text):
        async with self.client(caller).aio as client:
            return (await client.models.generate_content(model=self.model, contents=text)).text

    async def stream_async(self, caller, text):
        async with self.client(caller).aio as client:
            async for chunk in await client.models.generate_content_stream(model=self.model, contents=text):
                yield chunk.text

    def models(self, caller):
        with self.client(caller) as client:
            return [model.name for model in client.models.list()]

    def more(self, caller):
        with self.client(caller) as client:
            count = client.models.count_tokens(model=self.model, contents=PROMPT)
            expect(count.total_tokens == 5, f"{count.total_tokens} tokens")
        return []

    def upload(self, caller):
        with self.client(caller) as client:
            # It follows the address that the provider names, without the path of its own.
            raised(Exception, lambda: client.files.upload(file=io.BytesIO(FILE), config={"mime_type": "text/plain"}))
        raise Missing("leaves the base address")

    def bad(self, caller):
        self.plain(caller, "standin:INVALID")

    def status(self, error):
        return error.code


class Mistral:
    package, provider, model = "mistralai", "mistral", "mistral-small-latest"
    timed_out = (httpx.TimeoutException, httpx2.TimeoutException)
    refused = mistralai.client.errors.MistralError
    limited = mistralai.client.errors.SDKError
    kinds = dict.fromkeys((400, 401, 403, 404, 429, 500), limited)
    errors = [("standin:INVALID", 401), ("standin:DENIED", 403), ("standin:BROKEN", 500)]

    def client(self, caller):
        backoff = mistralai.client.utils.BackoffStrategy(500, 2000, 1.5, 60_000)
        retries = mistralai.client.utils.RetryConfig("backoff", backoff, True) if caller.retries else None
        return mistralai.client.Mistral(
            api_key=caller.credential,
            server_url=f"{caller.base}/mistral",
            timeout_ms=int(caller.time_out * 1000),
            retry_config=retries,
        )

    def chat(self, caller, text, model=None):
        messages = [{"role": "user", "content": text}]
        return {"model": model or self.model, "messages": messages, "http_headers": caller.headers}

    def plain(self, caller, text, model=None):
        with self.client(caller) as client:
            return client.chat.complete(**self.chat(caller, text, model)).choices[0].message.content

    def stream(self, caller, text):
        with self.client(caller) as client, client.chat.stream(**self.chat(caller, text)) as events:
            for event in events:
                if event.data.choices[0].delta.content:
                    yield event.data.choices[0].delta.content

    async def plain_async(self, caller, text):
        async with self.client(caller) as client:
            answer = await client.chat.complete_async(**self.chat(caller, text))
            return answer.choices[0].message.content

    async def stream_async(self, caller, text):
        async with self.client(caller) as client:
            async with await client.chat.stream_async(**self.chat(caller, text)) as events:
                async for event in events:
                    if event.data.choices[0].delta.content:
                        yield event.data.choices[0].delta.content

    def models(self, caller):
        with self.client(caller) as client:
            return [model.id for model in client.models.list(http_headers=caller.headers).data]

    def more(self, caller):
        with self.client(caller) as client:
            answer = client.embeddings.create(model="mistral-embed", inputs=["four"])
            expect(answer.data[0].embedding == [4.0, 0.5, 0.25, -1.0], "the embedding is another one")
        return []

    def upload(self, caller):
        with self.client(caller) as client:
            file = client.files.upload(file={"file_name": "lines.jsonl", "content": FILE}, purpose="fine-tune")
            expect(file.size_bytes == len(FILE), f"{file.size_bytes} bytes arrived")
            return file.id.removeprefix("file-")

    def bad(self, caller):
        self.plain(caller, PROMPT, "no-such-model")

    def status(self, error):
        return error.status_code


class Cohere:
    package, provider, model = "cohere", "cohere", "command-a-03-2025"
    timed_out = (httpx.TimeoutException, httpx2.TimeoutException)
    refused = cohere.core.api_error.ApiError
    limited = cohere.TooManyRequestsError
    kinds = {
        400: cohere.BadRequestError,
        401: cohere.UnauthorizedError,
        403: cohere.ForbiddenError,
        404: cohere.NotFoundError,
        429: cohere.TooManyRequestsError,
        500: cohere.InternalServerError,
    }
    errors = [("standin:INVALID", 401), ("standin:DENIED", 403), ("standin:BROKEN", 500)]

    def options(self, caller):
        return {"base_url": f"{caller.base}/cohere", "api_key": caller.credential, "timeout": caller.time_out}

    def client(self, caller):
        return cohere.ClientV2(**self.options(caller))

    def async_client(self, caller):
        return cohere.AsyncClientV2(**self.options(caller))

    def each(self, caller):
        return {"additional_headers": caller.headers, "max_retries": caller.retries}

    def chat(self, caller, text, model=None):
        messages = [{"role": "user", "content": text}]
        return {"model": model or self.model, "messages": messages, "request_options": self.each(caller)}

    def plain(self, caller, text, model=None):
        return self.client(caller).chat(**self.chat(caller, text, model)).message.content[0].text

    def stream(self, caller, text):
        for event in self.client(caller).chat_stream(**self.chat(caller, text)):
            if event.type == "content-delta":
                yield event.delta.message.content.text

    async def plain_async(self, caller, text):
        async with self.async_client(caller) as client:
            return (await client.chat(**self.chat(caller, text))).message.content[0].text

    async def stream_async(self, caller, text):
        async with self.async_client(caller) as client:
            async for event in client.chat_stream(**self.chat(caller, text)):
                if event.type == "content-delta":
                    yield event.delta.message.content.text

    def models(self, caller):
        return [model.name for model in self.client(caller).models.list(request_options=self.each(caller)).models]

    def more(self, caller):
        answer = self.client(caller).embed(
            model="embed-v4.0", texts=["four"], input_type="search_query", embedding_types=["float"]
        )
        expect(answer.embeddings.float_ == [[4.0, 0.5, 0.25, -1.0]], "the embedding is another one")
        return []

    def upload(self, caller):
        data = ("lines.jsonl", FILE)
        made = self.client(caller).datasets.create(name="lines", type="embed-input", data=data)
        return made.id.removeprefix("standin-")

    def bad(self, caller):
        self.client(caller).chat(model=self.model, messages=[], request_options=self.each(caller))

    def status(self, error):
        return error.status_code


class Exa:
    package, provider, model, retries = "exa-py", "exa", None, False
    timed_out = exa_py.ExaTimeoutError
    refused = limited = ValueError
    kinds = dict.fromkeys((400, 401, 403, 404, 429, 500), ValueError)
    errors = [("standin:INVALID", 401), ("standin:DENIED", 403), ("standin:BROKEN", 500)]

    def options(self, caller):
        return {"api_key": caller.credential, "timeout": caller.time_out}

    def client(self, caller):
        return exa_py.Exa(base_url=f"{caller.base}/exa", **self.options(caller))

    def async_client(self, caller):
        return exa_py.AsyncExa(api_base=f"{caller.base}/exa", **self.options(caller))

    def plain(self, caller, text, model=None):
        found = self.client(caller).search(text, num_results=2, extra_headers=caller.headers)
        expect(len(found.results) == 2, f"{len(found.results)} results")
        return found.results[0].title.removesuffix(" (result 1)")

    def stream(self, caller, text):
        for chunk in self.client(caller).stream_answer(text, extra_headers=caller.headers):
            if chunk.content:
                yield chunk.content

    async def plain_async(self, caller, text):
        async with self.async_client(caller) as client:
            return (await client.search(text)).results[0].title.removesuffix(" (result 1)")

    async def stream_async(self, caller, text):
        async with self.async_client(caller) as client:
            async for chunk in await client.stream_answer(text):
                if chunk.content:
                    yield chunk.content

    def models(self, caller):
        return None

    def more(self, caller):
        client = self.client(caller)
        yield "answer", client.answer(PROMPT).answer
        yield "contents", client.get_contents(["https://a.example"], text=True).results[0].text

    def upload(self, caller):
        raise Missing("has no uploads")

    def bad(self, caller):
        self.client(caller).search(PROMPT, num_results=1000)

    def status(self, error):
        return int(str(error).split("status code ")[1].split(":")[0])


class Tavily:
    package, provider, model, retries = "tavily-python", "tavily", None, False
    timed_out = tavily.errors.TimeoutError
    limited = tavily.UsageLimitExceededError
    kinds = {
        400: tavily.BadRequestError,
        401: tavily.InvalidAPIKeyError,
        403: tavily.errors.ForbiddenError,
        404: requests.HTTPError,
        429: tavily.UsageLimitExceededError,
        500: requests.HTTPError,
    }
    refused = tuple(kinds.values())
    errors = [("standin:INVALID", 401), ("standin:DENIED", 403), ("standin:BROKEN", 500)]

    def options(self, caller):
        return {"api_key": caller.credential, "api_base_url": f"{caller.base}/tavily"}

    def client(self, caller):
        session = requests.Session()
        session.headers.update(caller.headers)
        return tavily.TavilyClient(session=session, **self.options(caller))

    def async_client(self, caller):
        return tavily.AsyncTavilyClient(**self.options(caller))

    def plain(self, caller, text, model=None):
        with self.client(caller) as client:
            return client.search(text, timeout=caller.time_out)["results"][0]["content"]

    def stream(self, caller, text):
        with self.client(caller) as client:
            yield from contents(client.research(text, stream=True, timeout=caller.time_out))

    async def plain_async(self, caller, text):
        async with self.async_client(caller) as client:
            return (await client.search(text))["results"][0]["content"]

    async def stream_async(self, caller, text):
        async with self.async_client(caller) as client:
            chunks = [chunk async for chunk in await client.research(text, stream=True)]
            for piece in contents(chunks):
                yield piece

    def models(self, caller):
        return None

    def more(self, caller):
        return []

    def upload(self, caller):
        raise Missing("has no uploads")

    def bad(self, caller):
        with self.client(caller) as client:
            client.search(" ")

    def status(self, error):
        known = [status for status, kind in self.kinds.items() if type(error) is kind]
        return error.response.status_code if isinstance(error, requests.HTTPError) else known[0]


def contents(chunks):
    """The texts in the events of Tavily's stream, which its library hands on as bytes."""
    unread = b""
    for chunk in chunks:
        unread += chunk
        *events, unread = unread.split(b"\n\n")
        for event in events:
            if event.startswith(b"data: "):
                delta = json.loads(event[6:])["choices"][0]["delta"]
                if "content" in delta:
                    yield delta["content"]
    expect(not unread, "the last event is half of one")


def expect(holds, otherwise):
    if not holds:
        raise AssertionError(otherwise)


def fingerprint(text):
    expect(text.startswith("fp="), text)
    return text[3:19]


def own(users, library):
    """Each user's caller and fingerprint for the library's provider."""
    for user in users.values():
        entry = user[library.provider]
        yield Caller(SETUP["base"], entry["credential"]), entry["fingerprint"]


def first(library, **options):
    entry = next(iter(SETUP["users"].values()))[library.provider]
    return Caller(SETUP["base"], entry["credential"], **options)


def belongs(text, expected, prompt=PROMPT):
    expect(text == f"fp={expected} You asked: {prompt}", f"not {expected}'s answer: {text}")


def raised(kinds, call):
    """The exception of those kinds that the call ends in."""
    try:
        result = call()
    except kinds as error:
        return error
    raise AssertionError(f"no error but {result!r}")


def refusal(library, status, call):
    error = raised(library.refused, call)
    expect(library.status(error) == status, f"status {library.status(error)} instead of {status}: {error}")
    expect(type(error) is library.kinds[status], f"{status} is a {type(error).__name__}")
    return error


def plain(library):
    for _ in range(2):
        for caller, expected in own(SETUP["users"], library):
            belongs(library.plain(caller, PROMPT), expected)
    for caller, expected in own(SETUP["users"], library):
        models = library.models(caller)
        expect(models is None or len(models) > 1, f"models: {models}")
        for what, text in library.more(caller):
            expect(fingerprint(text) == expected, f"{what}: {text}")


def streamed(library):
    for caller, expected in own(SETUP["users"], library):
        pieces = list(library.stream(caller, PROMPT))
        expect(len(pieces) > 2, f"in {len(pieces)} pieces only")
        belongs("".join(pieces), expected)


def asynchronous(library):
    async def one(caller, expected, number):
        prompt = f"{PROMPT} ({number})"
        belongs(await library.plain_async(caller, prompt), expected, prompt)
        pieces = [piece async for piece in library.stream_async(caller, prompt)]
        belongs("".join(pieces), expected, prompt)

    async def all_at_once():
        calls = [one(*user, number) for number in range(4) for user in own(SETUP["users"], library)]
        await asyncio.gather(*calls)

    asyncio.run(all_at_once())


def uploaded(library):
    for caller, expected in own(SETUP["users"], library):
        found = library.upload(caller)
        expect(found == expected, f"{found} instead of {expected}")


def errors(library):
    caller = first(library)
    for wish, status in library.errors:
        refusal(library, status, lambda wish=wish: library.plain(caller, wish))
    refusal(library, 400, lambda: library.bad(caller))
    if library.model and library.package != "mistralai":
        refusal(library, 404, lambda: library.plain(caller, PROMPT, "no-such-model"))
    refusal(library, 429, lambda: library.plain(caller, "standin:QUOTA"))
    # The calls after a refusal work.
    belongs(library.plain(caller, PROMPT), next(own(SETUP["users"], library))[1])


def retried(library):
    prompt = f"{PROMPT} standin:flaky-1-python-{library.package}"
    caller = first(library, retries=2)
    if not getattr(library, "retries", True):
        refusal(library, 429, lambda: library.plain(caller, prompt))
        raise Missing("does not retry")
    belongs(library.plain(caller, prompt), next(own(SETUP["users"], library))[1], prompt)


def timed_out(library):
    raised(library.timed_out, lambda: library.plain(first(library, time_out=TIME_OUT), "standin:slow"))


def cut(library):
    caller = first(library)
    raised(BROKEN, lambda: library.plain(caller, f"{PROMPT} standin:cut"))
    pieces = []

    def read():
        for piece in library.stream(caller, f"{PROMPT} standin:cut"):
            pieces.append(piece)

    raised(BROKEN, read)
    expect(1 <= len(pieces) <= 2, f"{len(pieces)} pieces came before")


def keyfolds_errors(library):
    strangers = SETUP.get("strangers")
    if not strangers:
        raise Missing("not asked for")
    base = SETUP["base"]

    def call(credential, base=base):
        return library.plain(Caller(base, credential), PROMPT)

    words = []
    for credential, status in ((strangers["keyless"], 404), (strangers["forged"], 401)):
        words.append(str(refusal(library, status, lambda: call(credential))))
    limited = SETUP["limited_base"]

    def until_limited():
        # The first call may be the one that is allowed.
        call(strangers["limited"], limited)
        return call(strangers["limited"], limited)

    words.append(str(refusal(library, 429, until_limited)))
    # Tavily's library shows the words of the errors that it knows only.
    if library.package == "tavily-python":
        words = words[1:]
        wanted = ("token", "requests")
    else:
        wanted = ("save one on the keys page", "token", "requests")
    for said, part in zip(words, wanted, strict=True):
        expect(part.lower() in said.lower(), f"{part!r} is not in {said!r}")


def as_service(library):
    service = SETUP.get("service")
    if not service:
        raise Missing("not asked for")
    headers = {"Keyfold-User": service["user"]}
    caller = Caller(SETUP["base"], service["credential"], headers=headers)
    belongs(library.plain(caller, PROMPT), service["fingerprints"][library.provider])


def locally(library):
    local = SETUP.get("local")
    if not local:
        raise Missing("not asked for")
    caller = Caller(local["base"], "not-a-key")
    belongs(library.plain(caller, PROMPT), local["fingerprints"][library.provider])
    belongs("".join(library.stream(caller, PROMPT)), local["fingerprints"][library.provider])


CASES = {
    "plain": plain,
    "stream": streamed,
    "async": asynchronous,
    "upload": uploaded,
    "errors": errors,
    "retry": retried,
    "time-out": timed_out,
    "cut": cut,
    "Keyfold's errors": keyfolds_errors,
    "service token": as_service,
    "local mode": locally,
}
LIBRARIES = [Gemini(), OpenAi(), Anthropic(), Exa(), Mistral(), Groq(), Cohere(), Tavily()]


def run(library, name, case):
    try:
        case(library)
        ok, detail = True, ""
    except Missing as missing:
        ok, detail = None, str(missing)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        ok, detail = False, f"{type(error).__name__}: {error} ({place.name}, line {place.lineno})"
    line = {
        "language": "Python",
        "library": library.package,
        "version": version(library.package),
        "case": name,
        "ok": ok,
        "detail": detail,
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    only = sys.argv[1:]
    for library in LIBRARIES:
        for name, case in CASES.items():
            if not only or library.package in only or name in only:
                run(library, name, case)
