"""Settings of the package dialog."""

from dataclasses import dataclass

from presence.settings.setting import key


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceDialoginfo:
    """The package dialog (busy lamps)."""

    partial: bool = key(
        False,
        "Tell changes of calls as partial state, as RFC 4235 section 3.3 has it. False sends full state each time, "
        "which every phone understands.",
    )
    force_single_dialog: bool = key(
        False,
        "Show the most interesting call only: an early one before confirmed, proceeding, trying and terminated ones.",
    )
    force_dummy_dialog: bool = key(
        False, "Show a dialog that is terminated where there is none, for phones that cannot read an empty document."
    )
    own_dialogs: bool = key(
        False,
        "Tell a subscriber also of the calls it has with the presentity itself, which RFC 4235 section 3.3 leaves out.",
    )
    authorise: bool = key(
        False, "Let the policy decide about each subscriber, as it does for presence. False lets everybody watch calls."
    )
