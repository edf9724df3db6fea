"""SIP over WebSocket (RFC 7118): the handshake, and one SIP message in each WebSocket message."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from websockets.exceptions import NegotiationError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from presence._fastcore import Message, receive_whole
from presence.transport.connection import Connection
from presence.transport.tls import Session

if TYPE_CHECKING:
    from presence.transport.stream import StreamListener

HANDSHAKE_BYTES = 16 * 1024
"""The most that is read of a handshake; browsers send some 600 bytes, and cookies."""

SIP = Subprotocol("sip")

_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n")
_REFUSAL = "unframeable stream"


class WebSocketConnection(Connection):
    """One WebSocket connection, over TLS when it has a session."""

    needs_handshake = True

    def __init__(self, listener: "StreamListener", session: Session | None, origins: tuple[str, ...]) -> None:
        super().__init__(listener, session)
        self._protocol = ServerProtocol(
            origins=cast(Sequence[Origin], origins) or None,
            subprotocols=[SIP],
            select_subprotocol=_select,
            max_size=listener.limits.max_message_bytes,
        )
        self._shaken_bytes = 0
        self._text = True
        """Whether the peer speaks in text: it is answered alike (RFC 7118 section 4.2)."""
        self._is_leaving = False
        """Whether the last word was said, and the peer's is waited for."""
        self._begun: bytearray | None = None
        self._begun_text = True

    # ---- what comes in ----

    def take(self, data: bytes) -> None:
        """Go through the handshake, then take frames."""
        now, protocol = self._listener.now(), self._protocol
        if self._is_leaving:
            return
        if protocol.state is State.CONNECTING:
            self._shaken_bytes += len(data)
            if self._shaken_bytes > HANDSHAKE_BYTES:
                self._listener.tally.drops["handshake refused"] += 1
                self.abort()
                return
        protocol.receive_data(data)
        events = protocol.events_received()
        if events and isinstance(events[0], Request):
            # What is no frame leaves its error behind, and nothing in the buffer.
            alone = len(events) == 1 and not protocol.reader.buffer and protocol.parser_exc is None
            if not self._shake_hands(events[0], alone=alone):
                return
            events = []
        messages: list[Message] = []
        answers, heard = 0, False
        for frame in events:
            assert isinstance(frame, Frame)
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                answers += self._take_frame(frame, messages, now)
            # A ping between fragments does not complete them.
            heard = heard or self._begun is None
        self._transmit()
        if protocol.state is State.OPEN:
            self.account(now, heard=heard, incomplete=self._begun is not None or bool(protocol.reader.buffer))
        self.hand_up(messages, answers, now)
        if protocol.close_expected():
            if protocol.parser_exc is not None:
                self._listener.tally.drops[_REFUSAL] += 1
            elif protocol.state is State.CONNECTING:
                self._listener.tally.drops["handshake refused"] += 1
            # RFC 6455 section 7.1.1: who has been heard out is closed at once.
            self._is_leaving = protocol.close_rcvd is not None
            self.close()

    def _shake_hands(self, request: Request, *, alone: bool) -> bool:
        if not alone:
            # RFC 6455 section 4.1: frames come after our answer, and a body never.
            self._listener.tally.drops["handshake refused"] += 1
            self.abort()
            return False
        self._protocol.send_response(self._protocol.accept(request))
        if self._protocol.state is State.OPEN:
            self._transmit()
            self.established()
        return True

    def _take_frame(self, frame: Frame, messages: list[Message], now: float) -> bool:
        """Put a message that is whole now to the others; return whether it was an answer to a NOTIFY."""
        if frame.opcode is not Opcode.CONT:
            self._begun_text = frame.opcode is Opcode.TEXT
        data = bytes(frame.data)
        if self._begun is not None:
            self._begun += data
            data = b""
        elif not frame.fin:
            self._begun = bytearray(data)
        if not frame.fin:
            return False
        if self._begun is not None:
            data, self._begun = bytes(self._begun), None
        return self._take_message(data, messages, now)

    def _take_message(self, data: bytes, messages: list[Message], now: float) -> bool:
        if self._begun_text and not data.isascii() and not _is_text(data):
            # RFC 6455 section 8.1: what is called text must be UTF-8.
            if self._protocol.state is State.OPEN:
                self._protocol.fail(CloseCode.INVALID_DATA, "not UTF-8")
                self._listener.tally.drops[_REFUSAL] += 1
            return False
        if not data.strip(b"\r\n"):
            # Keep-alives of RFC 5626 section 4.4.1 may come here too (RFC 7118 section 6).
            if data == b"\r\n\r\n":
                self.send(b"\r\n")
            return False
        self._text = self._begun_text
        message = receive_whole(data, self._listener.table, now)
        if message is None:
            return True
        messages.append(message)
        return False

    # ---- what goes out ----

    def send(self, message: bytes) -> None:
        """Queue one message as one WebSocket message."""
        protocol = self._protocol
        if protocol.state is not State.OPEN:
            return
        if self._text and (message.isascii() or _is_text(message)):
            protocol.send_text(message)
        else:
            protocol.send_binary(message)
        self._transmit()

    def send_joined(self, messages: bytes) -> None:
        """Queue NOTIFYs that stand one behind the other, each for itself (RFC 7118 section 5)."""
        start = 0
        while start < len(messages):
            head_end = messages.index(b"\r\n\r\n", start) + 4
            length = _LENGTH.search(messages, start, head_end)
            end = head_end + (int(length[1]) if length is not None else 0)
            self.send(messages[start:end])
            start = end

    @property
    def standing(self) -> bool:
        """Whether a request may still be sent on it."""
        return super().standing and not self._is_leaving

    def close(self) -> None:
        """Say the last word, and close when the peer has; a second call closes at once.

        What the peer sends meanwhile is read: left unread it would have the kernel throw our last word away.
        """
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.GOING_AWAY)
            self._transmit()
        if self._is_leaving or self._stream is None or self._stream.is_closing():
            super().close()
            return
        self._is_leaving = True
        self.flush()
        if self._session is not None:
            self._stream.write(self._session.end())
        self._stream.write_eof()
        self._listener.leaving.begin(self, self._listener.now())

    def _transmit(self) -> None:
        for data in self._protocol.data_to_send():
            # Nothing stands for the end of the stream, which `close` brings.
            if data:
                self.write(data)


def _select(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol:
    # RFC 7118 section 4.1: what is spoken here is agreed on, or nothing is.
    if SIP not in offered:
        raise NegotiationError("Sec-WebSocket-Protocol must offer sip (RFC 7118)")
    return SIP


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
