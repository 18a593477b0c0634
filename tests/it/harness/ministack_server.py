"""Serves MiniStack on a free port, prints the port, and exits when the process at the other end of stdin does."""

import asyncio
import os
import socket
import sys
import threading

listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
# It puts both into the URLs of its queues, and reads them when it is imported.
os.environ.update(MINISTACK_HOST="127.0.0.1", GATEWAY_PORT=str(port), LOG_LEVEL="ERROR")

from hypercorn.asyncio import serve  # noqa: E402
from hypercorn.config import Config  # noqa: E402
from ministack.app import app  # noqa: E402
from ministack.services import sqs  # noqa: E402

send, send_batch = sqs._act_send_message, sqs._act_send_message_batch


def send_message_batch(data, url):
    """Keeps the trace headers, which MiniStack drops in a batch."""
    headers = iter([entry.get("MessageSystemAttributes") for entry in data["Entries"]])
    sqs._act_send_message = lambda one, url: send({**one, "MessageSystemAttributes": next(headers)}, url)
    try:
        return send_batch(data, url)
    finally:
        sqs._act_send_message = send


sqs._HANDLERS["SendMessageBatch"] = send_message_batch


def exit_with_stdin():
    sys.stdin.read()
    os._exit(0)


# Keep its own output off stdout, from which the port is read.
stdout, sys.stdout = sys.stdout, sys.stderr
threading.Thread(target=exit_with_stdin, daemon=True).start()
config = Config()
config.bind = [f"fd://{listener.fileno()}"]
config.loglevel = "ERROR"
print(port, file=stdout, flush=True)
asyncio.run(serve(app, config))
