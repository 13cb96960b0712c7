"""One chat of an agent with tools of three tool servers that nobody here wrote, one of which is killed in the middle of a call.

    tool_chat.py SYNAPSE WORK
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request

from three_servers import ThreeServers

synapse, work = sys.argv[1:]


def call(tool, **arguments):
    return {"tool": tool, "arguments": arguments}


ANSWERS = [
    {"text": "", "calls": [call("npm__echo", message="one"), call("pypi__process"), call("far__echo", message="three")]},
    {"text": "", "calls": [call("pypi__wait", seconds=1000), call("npm__echo", message="meanwhile")]},
    {"text": "", "calls": [call("pypi__add", a=20, b=22), call("pypi__process"), call("far__get-sum", a=1, b=2)]},
    {"text": "{results}"},
]


def serve(data):
    """Starts the server and returns it with its address and a key."""
    environment = {**os.environ, "SYNAPSE_DATA_DIR": data, "SYNAPSE_BACKEND_PORT": "0", "SYNAPSE_MODEL_FETCH": "false"}
    # Before the start: a running server takes a second to see a new key.
    key = subprocess.run([synapse, "keys", "create", "chat"], env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    server = subprocess.Popen([synapse, "serve"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    address = next(line for line in server.stdout if line.startswith("listening on ")).split()[2]
    return server, address, key


def chat(address, key):
    """Chats, and yields the events as they come."""
    body = json.dumps({"message": "go", "session_id": "three"}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(f"http://{address}/api/v1/chat/stream", body, headers)
    with urllib.request.urlopen(request, timeout=120) as stream:
        for line in stream:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


with tempfile.TemporaryDirectory() as data:
    servers = ThreeServers(work)
    servers.write(data, {"model": "scripted.it", "scripted": {"it": {"answers": ANSWERS}}})
    with open(os.path.join(data, "user_agents.json"), "w") as file:
        json.dump([{"id": "a1", "name": "Three", "tools": ["all"]}], file)
    far = servers.start()
    server, address, key = serve(data)
    try:
        results, processes = [], []
        for event in chat(address, key):
            print(json.dumps(event)[:300])
            if event["type"] == "tool_execution" and event["tool_name"] == "pypi__wait":
                threading.Timer(1, os.kill, [processes[0], signal.SIGKILL]).start()
            if event["type"] == "tool_result":
                results.append((event["tool_name"], event["preview"]))
                if event["tool_name"] == "pypi__process":
                    processes.append(int(event["preview"]))
            if event["type"] == "response":
                answer = event["content"]
        told = dict(results)
        assert told["far__echo"] == "Echo: three", told
        assert [text for name, text in results if name == "npm__echo"] == ["Echo: one", "Echo: meanwhile"], results
        assert told["pypi__wait"].startswith("Error: ") and "failed during the call" in told["pypi__wait"], told
        assert told["pypi__add"] == "42" and "3" in told["far__get-sum"], told
        assert len(processes) == 2 and processes[0] != processes[1], processes
        assert answer.startswith("42\n"), answer
    finally:
        server.terminate()
        far.kill()
        far.wait()
    assert server.wait(40) == 0

try:
    os.kill(processes[1], 0)
    raise AssertionError("a tool server outlived the server")
except ProcessLookupError:
    pass
