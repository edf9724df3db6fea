"""linphonec without sound, set up in a folder, worked by typed commands and read on its terminal."""

from pathlib import Path

from running import Program
from ways import Way, password_of

CONFIG = """\
[sip]
sip_port=-1
sip_tcp_port=-1
sip_tls_port=-1
default_proxy=0
guess_hostname=0
contact=sip:{user}@127.0.0.1
register_only_when_network_is_up=0
publish_presence=1
root_ca={authority}
verify_server_certs=1
verify_server_cn=1
[net]
firewall_policy=0
dns_srv_enabled=0
[misc]
version_check_url_root=
[proxy_0]
reg_proxy=<sip:127.0.0.1:{port};transport={transport}>
reg_route=<sip:127.0.0.1:{port};transport={transport};lr>
reg_identity=sip:{user}@example.com
reg_expires=600
reg_sendregister=1
publish=1
publish_expires=600
"""

CREDENTIALS = """\
[auth_info_0]
username={user}
passwd={password}
algorithm={algorithm}
domain=example.com
realm=example.com
available_algorithms={algorithm}
"""

KNOWN = ("MD5", "SHA-256")
"""Algorithms of digest."""


class Linphone(Program):
    """One linphonec with an account that registers, publishes and watches through the server."""

    def __init__(self, user: str, folder: Path, way: Way, port: int) -> None:
        home = folder / f"linphone-{user}"
        for needed in (".local/share/linphone", ".config/linphone"):
            (home / needed).mkdir(parents=True)
        config = CONFIG.format(user=user, port=port, transport=way.transport, authority=way.authority)
        if way.challenged:
            known = way.algorithm if way.algorithm in KNOWN else KNOWN[0]
            config += CREDENTIALS.format(user=user, password=password_of(user), algorithm=known)
        (home / "linphonerc").write_text(config)
        super().__init__(["linphonec", "-c", str(home / "linphonerc"), "-d", "6"], home, HOME=str(home))
        self.wait_for("linphonec> ")

    def watch(self, name: str) -> None:
        """Put somebody on the list of friends, which subscribes to their presence."""
        self.type(f"friend add {name} sip:{name}@example.com\n")

    def wait_status(self, name: str, status: str, *, after: int = 0) -> int:
        """Return where in the output the status of a friend was shown."""
        return self.wait_for(rf'Friend "{name}" <sip:{name}@example\.com> is {status}', after=after).end()

    def wait_registered(self) -> None:
        """Return once it is registered, which it waits for before it subscribes or publishes."""
        self.wait_for("to \\[LinphoneRegistrationOk\\]")
