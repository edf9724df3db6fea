"""A softphone under rules that its buddy writes by XCAP: it waits, sees, and is shut out (RFC 4745, RFC 5025)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from pjsua import Pjsua
from rawagent import BUSY, RawAgent
from running import Server, needs, running_server
from ways import OPEN_UDP

pytestmark = needs(module="pjsua2")

RULES = (
    '<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy" xmlns="urn:ietf:params:xml:ns:pres-rules">'
    '<cp:rule id="a"><cp:conditions><cp:identity><cp:one id="sip:bob@example.com"/></cp:identity></cp:conditions>'
    "<cp:actions><sub-handling>{}</sub-handling></cp:actions><cp:transformations>"
    "<provide-services><all-services/></provide-services><provide-persons><all-persons/></provide-persons>"
    "<provide-all-attributes/></cp:transformations></cp:rule></cp:ruleset>"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path, "--policy=rules", "--set=xcap.authentication=none") as server:
        yield server


def write_rules(server: Server, handling: str) -> int:
    """Put Alice's rules about Bob and return the status."""
    path = f"{server.http}/xcap-root/pres-rules/users/sip:alice@example.com/index"
    fields = {"content-type": "application/auth-policy+xml"}
    return httpx.put(path, content=RULES.format(handling), headers=fields, trust_env=False, timeout=20).status_code


def test_pjsua_waits_sees_what_it_is_allowed_to_and_is_shut_out(
    server: Server, carol: RawAgent, run: Callable[[Pjsua], Pjsua], tmp_path: Path
) -> None:
    carol.publish("alice", "open", BUSY)
    bob = run(Pjsua("bob", tmp_path, OPEN_UDP, server.port, buddies=("alice",)))
    seen = bob.wait_for(r"Subscription-State: pending;").end()
    seen = bob.wait_for(r"\+ buddy sip:alice@example\.com \w+ .* PENDING ", after=seen).end()
    assert "rpid:busy" not in bob.output
    assert "alice@example.com online" not in bob.output

    assert write_rules(server, "allow") == 201
    seen = bob.wait_for(r"\+ buddy sip:alice@example\.com online busy .* ACTIVE ", after=seen).end()

    assert write_rules(server, "block") == 200
    seen = bob.wait_for(r"Subscription-State: terminated;reason=rejected", after=seen).end()
    bob.wait_for(r"\+ buddy sip:alice@example\.com \w+ .* TERMINATED rejected", after=seen)
