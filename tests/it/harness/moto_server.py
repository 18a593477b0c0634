"""Serves moto on a free port, prints the port, and exits when the process at the other end of stdin does."""

import logging
import os
import sys
import threading
import time

from moto.dynamodb.responses import DynamoHandler
from moto.events.models import EventsBackend
from moto.server import ThreadedMotoServer
from moto.sqs.models import SQSBackend

# AWS executes each write and each receive atomically. moto's threads interleave: two writes can find the same condition
# true, and two receives can take one message, or move one dead letter. So these run one at a time.
LOCK = threading.Lock()


def one_at_a_time(method):
    def locked(*args, **kwargs):
        with LOCK:
            return method(*args, **kwargs)

    return locked


DynamoHandler.call_action = one_at_a_time(DynamoHandler.call_action)
receive_now = one_at_a_time(SQSBackend.receive_message)


def receive_message(self, queue_name, count, wait_seconds, *rest, **kwargs):
    """Long polling that does not block others."""
    until = time.monotonic() + wait_seconds
    while True:
        messages = receive_now(self, queue_name, count, 0, *rest, **kwargs)
        if messages or time.monotonic() >= until:
            return messages
        time.sleep(0.2)


SQSBackend.receive_message = receive_message
send_batch = SQSBackend.send_message_batch


def send_message_batch(self, queue_name, entries):
    """Keeps the trace headers, which moto drops in a batch."""
    messages, failed = send_batch(self, queue_name, entries)
    given = {entry["Id"]: entry.get("MessageSystemAttributes") or {} for entry in entries.values()}
    for message in messages:
        message.system_attributes = given[message.user_id]
    return messages, failed


SQSBackend.send_message_batch = one_at_a_time(send_message_batch)


class Shared(dict):
    """A dictionary whose values can be iterated while another thread adds one: what is iterated is a copy."""

    def values(self):
        return list(super().values())

    def items(self):
        return list(super().items())


def share(backend, name):
    """Lets one test create a queue or a bus while a request of another iterates over all of them."""
    initialize = backend.__init__

    def initialized(self, *args, **kwargs):
        initialize(self, *args, **kwargs)
        setattr(self, name, Shared(getattr(self, name)))

    backend.__init__ = initialized


share(SQSBackend, "queues")
share(EventsBackend, "event_buses")

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
