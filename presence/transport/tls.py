"""TLS without sockets: what a listener presents and demands, and the ciphering of one connection (RFC 5922).

The contexts can be read anew at any time: connections that stand keep the session they have.
"""

import contextlib
import os
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from presence.errors import ConfigError

READ_BYTES = 65536

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_DEMANDS = {"none": ssl.CERT_NONE, "request": ssl.CERT_OPTIONAL, "require": ssl.CERT_REQUIRED}


class Files(NamedTuple):
    """What the section `tls` of the settings says."""

    certificate: str
    key: str
    """Empty when it is in the file of the certificate."""
    client_ca: str
    client_certificates: str
    """none, request or require."""
    minimum_version: str
    key_log: str
    server_ca: str
    """Who vouches for servers we connect to; empty is whom the system trusts."""


class Security:
    """The contexts of all TLS listeners."""

    def __init__(self, files: Files) -> None:
        """Read the files; raises ConfigError that says what to do."""
        self._files = files
        self.load()
        self._looked = self._seen

    def load(self) -> None:
        """Read the files anew; raises ConfigError, and what was in force stays."""
        seen = self._look()
        try:
            self._inward, self._outward = self._server_context(), self._client_context()
        except (OSError, ValueError) as error:
            # A file that went away between two looks, say.
            raise ConfigError(f"the files of tls cannot be read: {error}") from None
        finally:
            # What is at fault is tried again when it has changed again.
            self._seen = seen

    def look(self) -> bool:
        """Return whether files are others than those last read, and were so at the last look: nobody is writing."""
        before, self._looked = self._looked, self._look()
        return self._looked != self._seen and self._looked == before

    def accept(self) -> "Session":
        """Return the session of a connection that came in."""
        return Session(self._inward, server_side=True)

    def connect(self, name: str) -> "Session":
        """Return the session of a connection to the server of that name, or IP address."""
        return Session(self._outward, server_side=False, name=name)

    def _look(self) -> list[tuple[int, int, int] | None]:
        files = self._files
        return [_stamp(path) for path in (files.certificate, files.key, files.client_ca, files.server_ca)]

    def _server_context(self) -> ssl.SSLContext:
        files = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # A peer that renegotiates over and over has us do the costly half each time.
        context.options |= ssl.OP_NO_RENEGOTIATION
        self._prepare(context)
        context.verify_mode = _DEMANDS[files.client_certificates]
        if files.client_ca:
            _load_authorities(context, "tls.client_ca", files.client_ca)
        return context

    def _client_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The names are compared as RFC 5922 has it, not as HTTP has it: see `is_named`.
        context.check_hostname = False
        self._prepare(context)
        if self._files.server_ca:
            _load_authorities(context, "tls.server_ca", self._files.server_ca)
        else:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context

    def _prepare(self, context: ssl.SSLContext) -> None:
        files = self._files
        context.minimum_version = _VERSIONS[files.minimum_version]
        _load_own(context, files.certificate, files.key)
        if files.key_log:
            try:
                # Made before OpenSSL makes it for everybody to read.
                os.close(os.open(files.key_log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
                context.keylog_filename = files.key_log
            except OSError as error:
                raise ConfigError(f"tls.key_log: cannot write {files.key_log}: {error.strerror}") from None


class Session:
    """The TLS of one connection: bytes of the wire in and out, plain text on the other side."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, name: str = "") -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        # RFC 6066 section 3: an address is no server name.
        named = name if name and not _is_address(name) else None
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=named)
        self._name = name
        self.is_open = False
        """Whether the handshake is done."""
        self._said_end = False
        self.ended = False
        """Whether the peer has said that nothing more comes."""

    def begin(self) -> bytes:
        """Return what opens the handshake."""
        self._shake()
        return self.pending()

    def receive(self, data: bytes) -> bytes:
        """Return the plain text of what came, which may be none yet; raises ssl.SSLError."""
        self._incoming.write(data)
        if not self.is_open:
            self._shake()
            if not self.is_open:
                return b""
        parts = []
        try:
            while not self.ended:
                if part := self._tls.read(READ_BYTES):
                    parts.append(part)
                else:
                    self.ended = True
                # A record is read whole and no more than it: asking once more would only raise.
                if not self._incoming.pending and not self._tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def encipher(self, data: bytes) -> bytes:
        """Return what carries the plain text."""
        self._tls.write(data)
        return self._outgoing.read()

    def pending(self) -> bytes:
        """Return what TLS itself has to say to the peer."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def end(self) -> bytes:
        """Return what tells the peer that nothing more comes."""
        if self.is_open and not self._said_end:
            self._said_end = True
            # It wants the peer's farewell, for which nobody waits (RFC 8446 section 6.1).
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
        return self.pending()

    def names(self) -> tuple[str, ...]:
        """Return who the peer's verified certificate says it is, nothing when it was not asked for."""
        return read_names(self._tls.getpeercert() or {})

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        if self._name and not is_named(self._tls.getpeercert() or {}, self._name):
            raise ssl.SSLCertVerificationError(f"the certificate is not for {self._name}")
        self.is_open = True


def read_names(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the identities in a verified certificate (RFC 5922 section 7.1).

    They are its `sip:` and `sips:` URIs, users among them, and its host names; the common name counts where there is
    no alternative name at all.
    """
    alternatives = certificate.get("subjectAltName", ())
    uris = [value for kind, value in alternatives if kind == "URI" and value.lower().startswith(("sip:", "sips:"))]
    hosts = [value.lower() for kind, value in alternatives if kind == "DNS"]
    if not alternatives:
        subject = [entry for part in certificate.get("subject", ()) for entry in part]
        hosts = [value.lower() for kind, value in subject if kind == "commonName" and _is_host(value)]
    return (*uris, *hosts)


def is_named(certificate: Mapping[str, Any], host: str) -> bool:
    """Return whether a verified certificate is that host's: whole names, no wildcards (RFC 5922 section 7.2)."""
    if _is_address(host):
        addresses = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "IP Address"]
        return ip_address(host) in map(ip_address, addresses)
    names = read_names(certificate)
    domains = [uri[4:].partition(";")[0].lower() for uri in names if uri[:4].lower() == "sip:" and "@" not in uri]
    # A host name counts only where no `sip:` URI names a domain.
    return host.lower() in (domains or [name for name in names if ":" not in name])


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_host(text: str) -> bool:
    return "." in text and all(part.isascii() and part.replace("-", "").isalnum() for part in text.split("."))


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _load_own(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Read our certificate and key; raises ConfigError that tells the two apart."""
    for name, path in (("tls.certificate", certificate), ("tls.key", key)):
        if path:
            _check_readable(name, path)
    where = key or certificate

    def refuse() -> NoReturn:
        raise ConfigError(f"tls.key: {where} is encrypted; decrypt it with `openssl pkey -in {where} -out FILE`")

    try:
        context.load_cert_chain(certificate, key or None, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"tls.key: the key in {where} is not the key of the first certificate in {certificate}"
            ) from None
        reason = f"{certificate} must hold our certificate, before those of its issuers, and {where} its key"
        raise ConfigError(f"tls.certificate: {reason}, both in PEM: {explain(error)}") from None


def _load_authorities(context: ssl.SSLContext, name: str, path: str) -> None:
    _check_readable(name, path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigError(f"{name}: {path} must hold certificates in PEM: {explain(error)}") from None


def _check_readable(name: str, path: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{name}: cannot read {path}: {error.strerror}") from None


def explain(error: ssl.SSLError) -> str:
    """Return what went wrong in OpenSSL's words; an error of our own making has no reason of its."""
    return str(getattr(error, "reason", None) or error).replace("_", " ").lower()
