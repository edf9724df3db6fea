"""baresip on loopback, without sound: set up in a folder, worked with its keys, read on its terminal."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from running import Program
from ways import OPEN_UDP, Way, password_of

CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:0
{trusted}net_interface 127.0.0.1
dns_server 127.0.0.1:{dns_port}
audio_player none
audio_source none
audio_alert none
module_path {modules}
module stdio.so
module_tmp account.so
module_app contact.so
module_app menu.so
module_app mwi.so
module_app presence.so
"""

MODULES = ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules", "/usr/lib64/baresip/modules")

ONLINE, OFFLINE, QUIT = "[", "]", "q"
"""Keys."""


class Softphone(Program):
    """One baresip with its trace of SIP messages on."""

    def __init__(
        self, folder: Path, *, dns_port: int, account: str = "", contacts: tuple[str, ...] = (), way: Way = OPEN_UDP
    ) -> None:
        folder.mkdir()
        trusted = f"sip_cafile {way.authority}\n" if way.transport == "tls" else ""
        modules = next((place for place in MODULES if Path(place).is_dir()), MODULES[0])
        (folder / "config").write_text(CONFIG.format(dns_port=dns_port, modules=modules, trusted=trusted))
        (folder / "accounts").write_text(f"{account or '# none'}\n")
        lines = [f'"{name}" <sip:{name}@example.com>;presence=p2p\n' for name in contacts]
        (folder / "contacts").write_text("".join(lines) or "# none\n")
        super().__init__(["baresip", "-4", "-f", str(folder), "-s"], folder)
        self.wait_for("baresip is ready")

    def wait_status(self, name: str, status: str) -> None:
        """Return once the list of contacts shows a status; it is looked at again after each NOTIFY."""
        while True:
            seen = len(self.output)
            self.type("C")
            if self.wait_for(rf"--- Contacts \(\d+\) ---\n(?:.*\n)*?>? +(\w+) {name} <", after=seen)[1] == status:
                return
            self.wait_for(r"CSeq: \d+ NOTIFY\nServer: baresip", after=seen)

    def sent(self, method: str) -> list[str]:
        """Return the requests of a method it sent so far, retransmissions too, without their bodies."""
        return re.findall(rf"(?m)^{method} \S+ SIP/2\.0\n(?:.+\n)+", self.output)

    def answers(self, method: str) -> list[str]:
        """Return status and reason of the responses to a method it got so far."""
        return re.findall(rf"(?m)^SIP/2\.0 (\d+ .+)\n(?:(?!CSeq:).+\n)*CSeq: \d+ {method}$", self.output)


def account_of(user: str, server_port: int, *, way: Way = OPEN_UDP, mwi: bool = False) -> str:
    """Write the line of an account that registers, publishes and subscribes through the server."""
    way_out = f'outbound="sip:127.0.0.1:{server_port};transport={way.transport}"'
    proof = f";auth_user={user};auth_pass={password_of(user)}" if way.challenged else ""
    return f"<sip:{user}@example.com>;{way_out};regint=60;pubint=60;mwi={'yes' if mwi else 'no'}{proof}"


@contextmanager
def silent_name_server() -> Iterator[int]:
    """Stand where a name server would be and see that nobody asks."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        yield listener.getsockname()[1]
        try:
            question = listener.recv(512)
        except BlockingIOError:
            return
        raise AssertionError(f"a name was looked up: {question!r}")
