"""Imports and first calls that every rank needs to meet the others; a launcher imports this module before it forks
ranks.

A forked rank shares the memory of what has run before the fork, so it copies fewer pages. Importing this has
no other effect: no signal handlers, no descriptors, no threads.
"""

from __future__ import annotations

import importlib
import os
from urllib.parse import urlsplit

import numpy as np

from fake_torch_dist import public
from fake_torch_dist.meeting.exchange import meet
from fake_torch_dist.meeting.handlers import find_store
from fake_torch_dist.stores.authentication import proof
from fake_torch_dist.stores.messages import Kind, Message, decode, encode
from fake_torch_dist.transports import direct_read
from fake_torch_dist.transports.process_groups import ProcessGroups

IMPORTED = (public, meet, find_store, ProcessGroups)
"""Modules that are otherwise imported when they are first needed."""

# The package's own names, which are otherwise looked for and bound when each is first asked for.
_package = importlib.import_module(__name__.rpartition(".")[0])
vars(_package).update((name, getattr(public, name)) for name in public.__all__)
_bytes = np.frombuffer(os.urandom(16), np.uint8)
direct_read.works(os.getpid(), direct_read.address_of(_bytes), _bytes.tobytes())
decode(encode(Message(Kind.DONE, 0, [proof(b"", b"", b"", b"")])))
urlsplit("env://")
