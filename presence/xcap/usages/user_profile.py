"""org.openmobilealliance.user-profile: what users say about themselves (OMA-TS-XDM_Shared_Profile-V2_0)."""

from lxml import etree

from presence.errors import BadRequest
from presence.sip.headers import parse_uri
from presence.xcap.documents import Key
from presence.xcap.errors import ConstraintFailure
from presence.xcap.schema import SchemaUsage
from presence.xcap.usage import World


class UserProfile(SchemaUsage):
    """Profiles of nobody but the owner."""

    auid = "org.openmobilealliance.user-profile"
    content_type = "application/vnd.oma.user-profile+xml"
    namespace = "urn:oma:xml:xdm:user-profile"
    root = "user-profiles"

    def check(self, tree: etree._Element, body: bytes, key: Key, world: World) -> None:
        """Raise `ConstraintFailure` with OMA's phrase for the profile of somebody else."""
        for profile in tree.iterfind(f"{{{self.namespace}}}user-profile"):
            try:
                owner = parse_uri(profile.get("uri", "").strip()).aor()
            except BadRequest:
                owner = None
            if owner != key.owner:
                raise ConstraintFailure("Wrong User Profile URI")


class LockedUserProfile(UserProfile):
    """What the operator says about a user, in documents that only its own tools write."""

    auid = "org.openmobilealliance.locked-user-profile"
    read_only = True

    def generate(self, key: Key, world: World) -> bytes | None:
        """Return what is stored."""
        stored = world.documents.get(key)
        return None if stored is None else stored.body
