"""A tool server over standard input and output that behaves, or does not, as it is told."""

import json
import os
import subprocess
import sys
import threading
import time

ARGUMENTS = sys.argv[1:]
LOCK = threading.Lock()
CANCELLED = []
ANSWERS = {}
TOOLS = [
    "echo", "meta", "environment", "pid", "slow", "never", "crash", "large", "endless", "binary", "garbage", "grandchild",
    "change", "ask", "progress", "cancelled", "parts", "structured", "fail", "refuse", "do.it",
    "hang", "deafen", "flood",
]


def write(message):
    with LOCK:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def raw(data):
    with LOCK:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def tool(name):
    return {"name": name, "description": f"Does {name}.", "inputSchema": {"type": "object"}}


def listed(params):
    if "--heavy" in ARGUMENTS:
        count, size = map(int, ARGUMENTS[ARGUMENTS.index("--heavy") + 1:][:2])
        heavy = [{**tool(f"heavy_{number}"), "description": "x" * size} for number in range(count)]
        return {"tools": [tool("light"), *heavy]}
    if "--pages" not in ARGUMENTS:
        broken = [
            {"name": "broken_type", "inputSchema": {"type": "nonsense"}},
            {"name": "broken_pattern", "inputSchema": {"type": "object", "properties": {"a": {"pattern": "("}}}},
            {"name": "no_object", "inputSchema": {"type": "string"}},
        ]
        none = [{"name": "no_schema", "inputSchema": "none"}] if "--no-schema" in ARGUMENTS else []
        return {"tools": [tool(name) for name in TOOLS] + broken + none}
    page = int(params.get("cursor") or 0)
    last = int(ARGUMENTS[ARGUMENTS.index("--pages") + 1])
    result = {"tools": [tool(f"page_{page}")]}
    return result if page + 1 == last else {**result, "nextCursor": str(page + 1)}


def ask(method, params=None):
    identity = f"from-server-{method}"
    arrived = ANSWERS[identity] = threading.Event()
    write({"jsonrpc": "2.0", "id": identity, "method": method, **({"params": params} if params else {})})
    arrived.wait(10)
    return arrived.message.get("result", arrived.message.get("error"))


def text(value):
    return {"content": [{"type": "text", "text": value if isinstance(value, str) else json.dumps(value)}]}


def call(identity, name, arguments, meta):
    if name == "echo":
        return text(arguments.get("text", ""))
    if name == "meta":
        return text(meta)
    if name == "environment":
        return text(dict(os.environ))
    if name == "pid":
        return text(str(os.getpid()))
    if name == "slow":
        time.sleep(arguments["seconds"])
        return text("at last")
    if name == "never":
        return None
    if name == "crash":
        os._exit(3)
    if name == "large":
        return text("x" * arguments["bytes"])
    if name == "endless":
        while True:
            raw(b"x" * 65536)
    if name == "binary":
        raw(b'{"jsonrpc": "2.0", "\xff\xfe\n')
        return None
    if name == "garbage":
        raw(b"Traceback: this is no message\n")
        return None
    if name == "grandchild":
        child = subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        return text(str(child.pid))
    if name == "change":
        TOOLS.append("added")
        write({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        return text("changed")
    if name == "ask":
        elicitation = {"message": "Really?", "requestedSchema": {"type": "object", "properties": {"yes": {"type": "boolean", "default": True}}}}
        sampling = {"messages": [{"role": "user", "content": {"type": "text", "text": "Hello"}}], "maxTokens": 5}
        return text({
            "ping": ask("ping"),
            "roots": ask("roots/list"),
            "elicitation": ask("elicitation/create", elicitation),
            "sampling": ask("sampling/createMessage", sampling),
        })
    if name == "progress":
        for step in range(3):
            params = {"progressToken": meta["progressToken"], "progress": step, "total": 3}
            write({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        write({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "half way"}})
        return text("done")
    if name == "cancelled":
        return text(CANCELLED)
    if name == "parts":
        return {"content": [
            {"type": "text", "text": "one"},
            {"type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo="},
            {"type": "text", "text": "two"},
        ]}
    if name == "structured":
        return {"content": [], "structuredContent": {"answer": 42}}
    if name == "fail":
        return {"isError": True, **text("the file is gone")}
    if name == "do.it":
        return text("did it")
    raise ValueError(f"no tool `{name}` here")


def answer(message):
    identity, params = message["id"], message.get("params") or {}
    try:
        result = call(identity, params["name"], params.get("arguments") or {}, params.get("_meta"))
        if result is not None:
            write({"jsonrpc": "2.0", "id": identity, "result": result})
    except ValueError as error:
        write({"jsonrpc": "2.0", "id": identity, "error": {"code": -32602, "message": str(error)}})


def read_no_more(message):
    name = message["params"]["name"]
    if name == "deafen":
        write({"jsonrpc": "2.0", "id": message["id"], "result": text("what?")})
    pings = 0
    while name == "flood":
        pings += 1
        write({"jsonrpc": "2.0", "id": f"flood-{pings}", "method": "ping"})
    time.sleep(1000)


def main():
    print("a secret-free line on standard error", file=sys.stderr)
    if "--banner" in ARGUMENTS:
        raw(b"Welcome to the server!\n\nIt speaks JSON.\n")
    if "--refuse-to-start" in ARGUMENTS:
        sys.exit(7)
    for line in sys.stdin:
        message = json.loads(line)
        method = message.get("method")
        if method is None:
            arrived = ANSWERS[message["id"]]
            arrived.message = message
            arrived.set()
        elif "--deaf" in ARGUMENTS:
            continue
        elif method == "initialize":
            version = message["params"]["protocolVersion"]
            capabilities = {"tools": {"listChanged": True}}
            information = {"name": "test", "version": "1"}
            result = {"protocolVersion": version, "capabilities": capabilities, "serverInfo": information}
            write({"jsonrpc": "2.0", "id": message["id"], "result": result})
        elif method == "tools/list":
            write({"jsonrpc": "2.0", "id": message["id"], "result": listed(message.get("params") or {})})
        elif method == "ping":
            write({"jsonrpc": "2.0", "id": message["id"], "result": {}})
        elif method == "tools/call" and message["params"]["name"] in ["hang", "deafen", "flood"]:
            read_no_more(message)
        elif method == "notifications/cancelled":
            CANCELLED.append(message["params"]["requestId"])
        elif method == "tools/call":
            threading.Thread(target=answer, args=[message], daemon=True).start()


if "--stubborn" in ARGUMENTS:
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    main()
    time.sleep(1000)
else:
    main()
