"""Keeps the caller's keys in the process environment for the time of a request. Do not do this."""

import asyncio, json, os, sys

HOST, PORT = sys.argv[1].split(":")  # where the providers are
KEYS = json.loads(sys.stdin.readline())  # of each user: variable -> key


async def call(path, header, body):
    body = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(HOST, PORT)
    head = f"Host: {HOST}\r\n{header}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(f"POST {path} HTTP/1.1\r\n{head}".encode() + body)
    return (await reader.read()).partition(b"\r\n\r\n")[2]


async def research_and_write(question):
    await call("/exa/search", f"x-api-key: {os.environ['EXA_API_KEY']}", {"query": question})
    prompt = {"contents": [{"parts": [{"text": question}]}]}
    path = "/gemini/v1beta/models/gemini-2.5-flash:generateContent"
    return await call(path, f"x-goog-api-key: {os.environ['GEMINI_API_KEY']}", prompt)


async def serve(reader, writer):
    user, question = (await reader.readline()).decode().strip().split(" ", 1)
    before = {name: os.environ.get(name, "") for name in KEYS[user]}
    os.environ.update(KEYS[user])  # "for this request only"
    writer.write(await research_and_write(question))
    os.environ.update(before)
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
