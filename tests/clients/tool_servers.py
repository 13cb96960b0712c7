"""Three tool servers that nobody here wrote, side by side: one of npm and one of PyPI as child processes, and one over streamable HTTP.

    tool_servers.py DATA_DIR TOOL_SERVERS WORK

writes the records of `mcp_servers.json` into the directory, lets the program (examples/tool_servers.rs) call their tools, kills two of the
servers in the middle of a call, and goes on.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

from three_servers import ThreeServers

data, program, work = sys.argv[1:]
servers = ThreeServers(work)
servers.write(data, {})
far = servers.start()
caller = subprocess.Popen([program, "lines", data], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(tool, arguments=None):
    print(tool, json.dumps(arguments or {}), file=caller.stdin, flush=True)


def answer():
    line = caller.stdout.readline()
    print(line.strip()[:300])
    return json.loads(line)


def call(tool, arguments=None):
    ask(tool, arguments)
    return answer()


def again(tool, arguments):
    """Calls until the server is found, which happens in the background."""
    for _ in range(100):
        told = call(tool, arguments)
        if told != {"failure": "there is no such tool"}:
            break
        time.sleep(0.1)
    return told


def later(action):
    threading.Timer(1, action).start()


try:
    names = call("tools")
    assert {"npm__echo", "npm__get-tiny-image", "pypi__add", "pypi__picture", "far__echo"} <= set(names), names

    assert call("npm__echo", {"message": "one"})["text"] == "Echo: one"
    assert call("pypi__add", {"a": 2, "b": 3})["text"] == "5"
    assert call("far__echo", {"message": "three"})["text"] == "Echo: three"
    assert call("npm__get-tiny-image")["images"] == 1
    assert call("pypi__picture")["images"] == 1
    assert call("far__get-structured-content", {"location": "New York"})["text"]
    assert call("pypi__divide", {"a": 1, "b": 0})["failure"] == "Error executing tool divide"
    assert call("far__trigger-long-running-operation", {"duration": 2, "steps": 2})["text"]

    # One is killed in the middle of a call, and started again by the next one.
    process = int(call("pypi__process")["text"])
    ask("pypi__wait", {"seconds": 1000})
    later(lambda: os.kill(process, signal.SIGKILL))
    assert "failed during the call: it ended (signal: 9 (SIGKILL))" in answer()["failure"]
    assert call("npm__echo", {"message": "still"})["text"] == "Echo: still"
    assert call("pypi__add", {"a": 20, "b": 22})["text"] == "42"
    assert int(call("pypi__process")["text"]) != process

    # So is the remote one, which somebody else starts again. It has forgotten the session.
    ask("far__trigger-long-running-operation", {"duration": 1000, "steps": 1})
    later(far.kill)
    assert "failed during the call" in answer()["failure"]
    far.wait()
    assert call("far__echo", {"message": "anybody?"}) == {"failure": "there is no such tool"}
    far = servers.start()
    assert again("far__echo", {"message": "back"})["text"] == "Echo: back"
    far.kill()
    far.wait()
    far = servers.start()
    assert call("far__echo", {"message": "back again"})["text"] == "Echo: back again"
    process = int(call("pypi__process")["text"])
finally:
    caller.stdin.close()
    caller.wait(20)
    far.kill()
    far.wait()

assert caller.returncode == 0, caller.returncode
try:
    os.kill(process, 0)
    raise AssertionError("a child outlived its server")
except ProcessLookupError:
    pass
