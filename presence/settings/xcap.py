"""Settings of the XCAP server."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from presence.settings.setting import key
from presence.settings.xcap_client import APPLICATION, OBSOLETE_XCAP
from presence.shape import REALM_OR_NOTHING, USER, XCAP_ROOT_OR_NOTHING, XCAP_URI, parse_user
from presence.values import Aor

MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Xcap:
    """Our own XCAP server, on the HTTP port (RFC 4825)."""

    root: str = key(
        "/xcap-root", "Path of the XCAP root on the HTTP port; empty is no XCAP server.", shape=XCAP_ROOT_OR_NOTHING
    )
    uris: tuple[str, ...] = key(
        (),
        "URIs of the XCAP root that clients are given; references in documents that begin with one of them are to our "
        "own documents. Empty: whatever a client calls us.",
        shape=XCAP_URI,
    )
    authentication: Literal["digest", "basic", "none"] = key(
        "digest",
        "How users prove who they are: by digest, by Basic over TLS, or not at all, for labs: whoever reaches the "
        "port then reads and writes every user's documents.",
    )
    basic: bool = key(False, "Take Basic credentials too where a request comes over TLS.")
    realm: str = key(
        "",
        "Realm of challenges; empty is auth.realm, or the user's SIP domain where that is empty too.",
        shape=REALM_OR_NOTHING,
    )
    administrators: tuple[str, ...] = key(
        (), "Users who may read and write everybody's documents, and write global ones.", shape=USER
    )
    disabled_applications: tuple[str, ...] = key(
        (), "Application usages (AUIDs) that are not served; xcap-caps always is.", shape=APPLICATION
    )
    max_document_bytes: int = key(
        256 * 1024,
        "Largest document and body taken; pictures may have 300 KiB in any case.",
        within=(1024, 16 * MEGABYTE),
    )
    max_depth: int = key(64, "How deep the elements of a document may be nested.", within=(4, 200))
    max_elements: int = key(20_000, "Most elements of a document.", within=(1, 1_000_000))
    documents_per_user: int = key(100, "Most documents of one user.", within=(1, 1_000_000))
    allow_external_references: bool = key(
        False, "Let documents refer to those of other users and of other XCAP servers."
    )
    openxcap_clients: Literal["auto", "always", "never"] = key(
        "auto",
        "Who is served as OpenXCAP would where that is not what RFC 4825 says (attribute values without quotes, "
        "documents of no type, conflicts named by XPath): clients that call themselves python-xcaplib or "
        "xcapclient, or Python-urllib and leave node selectors unescaped or types unsaid; everybody; or nobody.",
    )

    OBSOLETE: ClassVar[Mapping[str, str]] = OBSOLETE_XCAP

    @property
    def administrator_names(self) -> frozenset[Aor]:
        """The addresses of record of `administrators`."""
        return frozenset(parse_user(entry) for entry in self.administrators)
