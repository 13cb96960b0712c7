"""Three tool servers that nobody here wrote: one of npm and one of PyPI as child processes, and one over streamable HTTP."""

import json
import os
import socket
import subprocess
import sys
import time


class ThreeServers:
    """Their records, and the remote one, which runs from `start` on."""

    def __init__(self, work):
        self.here = os.path.dirname(os.path.abspath(__file__))
        self.node = os.path.join(work, "node_modules/.bin/node")
        self.everything = os.path.join(work, "node_modules/@modelcontextprotocol/server-everything/dist/index.js")
        self.python = sys.executable
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def write(self, data, settings):
        """Writes the records and the settings, which allow the two programs, into a data directory."""
        records = [
            {"name": "npm", "label": "server-everything", "server_type": "stdio", "command": self.node, "args": [self.everything, "stdio"]},
            {"name": "pypi", "label": "mcp", "server_type": "stdio", "command": self.python, "args": [os.path.join(self.here, "mcp_server.py")]},
            {"name": "far", "label": "server-everything", "server_type": "remote", "url": f"http://127.0.0.1:{self.port}/mcp"},
        ]
        allowed = {"allow_stdio_mcp": True, "mcp_command_allowlist": [self.node, self.python]}
        for name, content in [("mcp_servers.json", records), ("settings.json", {**settings, **allowed})]:
            with open(os.path.join(data, name), "w") as file:
                json.dump(content, file)

    def start(self):
        """Starts the remote server and waits until it listens."""
        environment = {**os.environ, "PORT": str(self.port)}
        process = subprocess.Popen([self.node, self.everything, "streamableHttp"], env=environment, stdout=subprocess.DEVNULL)
        for _ in range(300):
            with socket.socket() as door:
                if door.connect_ex(("127.0.0.1", self.port)) == 0:
                    return process
            assert process.poll() is None, "the remote server ended"
            time.sleep(0.1)
        raise AssertionError("the remote server does not listen")
