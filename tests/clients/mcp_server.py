"""A tool server made with the Python package `mcp`, over standard input and output, or over streamable HTTP on the port that is given."""

import base64
import os
import sys
import time

from mcp.server.mcpserver import Image, MCPServer

server = MCPServer("python", log_level="WARNING")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def process() -> str:
    """Tells the id of the server's process."""
    return str(os.getpid())


@server.tool()
def picture() -> Image:
    """Returns a picture of one pixel."""
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    return Image(data=base64.b64decode(pixel), format="png")


@server.tool()
def wait(seconds: float) -> str:
    """Waits."""
    time.sleep(seconds)
    return "waited"


@server.tool()
def divide(a: float, b: float) -> float:
    """Divides one number by another."""
    return a / b


if len(sys.argv) > 1:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
else:
    server.run("stdio")
