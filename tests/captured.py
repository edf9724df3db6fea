"""Literal messages of clients in the field: lines of a capture made into bytes, and what is asked about the answers."""

from net import Agent, Network

from presence._fastcore import Message


def wire(text: str, **fields: str) -> bytes:
    """Turn the lines of a capture into a message; `fields` fill in what the server chose."""
    head, _, body = text.strip("\n").partition("\n\n")
    content = f"{body}\n".replace("\n", "\r\n") if body else ""
    for name, value in {"length": str(len(content)), **fields}.items():
        head = head.replace(f"${name}", value)
    return (head.replace("\n", "\r\n") + "\r\n\r\n" + content).encode()


def publish(agent: Agent, text: str, **fields: str) -> str:
    """Send a captured PUBLISH that must be taken, and return its entity-tag."""
    response = agent.ask(wire(text, **fields))
    assert response.status == 200
    etag = response.header("SIP-ETag")
    assert etag
    assert response.header("Expires") is not None
    return etag


def shown(net: Network, user: str = "alice") -> str:
    """Return the document a watcher finds."""
    return net.agent("carol").subscribe(uri=f"sip:{user}@example.com", expires=0).body


def the_notify(agent: Agent) -> Message:
    """Return the only NOTIFY that came."""
    (notify,) = agent.notifies
    return notify
