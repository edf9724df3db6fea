"""The application usages that are served, a file each, named for their AUID (RFC 4825 section 5)."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from presence.xcap.services import Services
from presence.xcap.usage import Usage
from presence.xcap.usages.dialog_rules import DialogRules, OpenXcapDialogRules
from presence.xcap.usages.oma_pres_rules import OmaPresRules
from presence.xcap.usages.pidf_manipulation import PidfManipulation
from presence.xcap.usages.pres_content import PresContent
from presence.xcap.usages.pres_rules import PresRules
from presence.xcap.usages.resource_lists import ResourceLists
from presence.xcap.usages.rls_services import RlsServices
from presence.xcap.usages.test_app import TestApp
from presence.xcap.usages.user_profile import LockedUserProfile, UserProfile
from presence.xcap.usages.watchers import Watchers
from presence.xcap.usages.xcap_caps import XcapCaps
from presence.xcap.usages.xcap_directory import XcapDirectory


def usages(
    disabled: Collection[str] = (), services: Services | None = None, *, rls_index: bool = False
) -> Mapping[str, Usage]:
    """Return the application usages by AUID, without those that are switched off.

    `services` knows the RLS services of all users; without it their URIs are unique in their document only.
    `rls_index` serves the global document of rls-services, which shows everybody's lists to whoever may read the
    global tree (RFC 4826 section 4.4.9). xcap-caps cannot be switched off: all servers must have it (RFC 4825
    section 12).
    """
    everything: tuple[Usage, ...] = (
        PresRules(),
        OmaPresRules(),
        ResourceLists(),
        RlsServices(services or Services(lambda: ()), index=rls_index),
        PidfManipulation(),
        PresContent(),
        UserProfile(),
        LockedUserProfile(),
        XcapDirectory(),
        Watchers(),
        OpenXcapDialogRules(),
        DialogRules(),
        TestApp(),
        XcapCaps(),
    )
    return MappingProxyType(
        {usage.auid: usage for usage in everything if usage.auid not in disabled or usage.auid == XcapCaps.auid}
    )
