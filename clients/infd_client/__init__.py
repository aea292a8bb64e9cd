"""The Python library of infd.

    from infd_client import Client

    with Client.from_url("infd://ada@127.0.0.1:4633") as client:
        client.login()                              # the token: INFD_TOKEN or a token file
        with client.chat(model="demo") as chat:
            for piece in chat.send("hello"):
                print(piece, end="", flush=True)

`Client` blocks and may be used from several threads; `AsyncClient` is for asyncio:

    async with AsyncClient.from_url("infd://ada@127.0.0.1:4633") as client:
        await client.login()
        async with client.chat(model="demo") as chat:
            async for piece in await chat.send("hello"):
                print(piece, end="", flush=True)

What the daemon refuses is raised as the exception of its code, all of them `InfdError`; what goes
wrong on the way as `ConnectionLost`, `CallTimeout` and the like, all of them `ClientError`.
"""

from __future__ import annotations

from infd_client.address import Address, find_token
from infd_client.aio import AsyncClient
from infd_client.blocking import Client
from infd_client.chat import Chat
from infd_client.chat_aio import AsyncChat
from infd_client.failures import (
    AddressError,
    CallTimeout,
    ClientClosed,
    ClientError,
    ConnectFailed,
    ConnectionLost,
)
from infd_client.options import UNSET, Timeout
from infd_client.results import Result
from infd_client.stream import AsyncStream, Stream
from infd_protocol import codes
from infd_protocol.connection import ProtocolError
from infd_protocol.errors import *  # noqa: F403
from infd_protocol.errors import InfdError, registered
from infd_protocol.operations import OPERATIONS

__all__ = [
    "OPERATIONS",
    "UNSET",
    "Address",
    "AddressError",
    "AsyncChat",
    "AsyncClient",
    "AsyncStream",
    "CallTimeout",
    "Chat",
    "Client",
    "ClientClosed",
    "ClientError",
    "ConnectFailed",
    "ConnectionLost",
    "InfdError",
    "ProtocolError",
    "Result",
    "Stream",
    "Timeout",
    "codes",
    "find_token",
]
__all__ += [error.__name__ for error in registered().values()]
