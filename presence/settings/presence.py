"""Settings of publications, subscriptions and their NOTIFYs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from presence.settings.setting import HOUR_S, INTERVAL_MAX_S, key
from presence.settings.xcap_client import OBSOLETE_XCAP, XCAP_SERVER
from presence.shape import CONTACT_USER, DOCUMENT_NAME, RULES_USAGE, USER, parse_user
from presence.values import Aor


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Publications, subscriptions and their NOTIFYs, for every event package."""

    max_expires_subscribe: int = key(
        3600,
        "Longest subscription granted, in seconds; a longer request is shortened to it.",
        within=(1, INTERVAL_MAX_S),
    )
    max_expires_publish: int = key(
        3600,
        "Longest publication granted, in seconds; a longer request is shortened to it.",
        within=(1, INTERVAL_MAX_S),
    )
    min_expires_subscribe: int = key(
        0,
        "Shortest subscription granted, in seconds; a shorter request gets 423. RFC 6665 section 4.2.1.1 "
        "allows that below one hour only.",
        within=(0, HOUR_S),
    )
    min_expires_publish: int = key(
        0,
        "Shortest publication granted, in seconds; a shorter request gets 423 (RFC 3903 section 6).",
        within=(0, INTERVAL_MAX_S),
    )
    expires_offset: int = key(
        0,
        "Seconds by which peers are told a shorter interval than is kept, so that a refresh comes in time.",
        within=(0, HOUR_S),
    )
    contact_user: str = key("presence", "User part of our Contact in responses and NOTIFYs.", shape=CONTACT_USER)
    gruu: bool = key(
        True,
        "Let our Contact be a GRUU (RFC 5627, which RFC 6665 section 4.5.1 demands). False where the address in it "
        "reaches us from inside one network only.",
    )
    answer_202: Literal["never", "pending", "always"] = key(
        "never",
        "When a SUBSCRIBE is answered 202 in place of 200, for clients of RFC 3265 that wait for it; RFC 6665 "
        "section 8.3.1 forbids it.",
    )
    notify_interval_s: int = key(
        0,
        "Shortest time between two NOTIFYs that tell changes of one presentity, in seconds; what changes meanwhile "
        "is told together. RFC 3856 section 6.10 and RFC 3857 section 4.10 recommend 5; 0 tells each change at once.",
        within=(0, HOUR_S),
    )
    deactivate_at_shutdown_s: int = key(
        0,
        "0 leaves subscriptions in the database for the next start. Otherwise a server that is stopped ends them all "
        "as deactivated, evenly over so many seconds, so that watchers move to other servers without a stampede.",
        within=(0, HOUR_S),
    )
    end_sub_on_timeout: bool = key(True, "End a subscription when its NOTIFY is not answered at all.")
    notify_failure: Literal["remove", "keep"] = key(
        "keep",
        "What becomes of a subscription whose NOTIFY got a failure without Retry-After that is not among those "
        "for which RFC 6665 section 4.2.2 demands removal (404, 405, 410, 416, 480-485, 489, 501, 604).",
    )
    composition: Literal["merge", "newest"] = key(
        "merge",
        "What of a presentity's publications watchers see: all of them merged (RFC 3903 section 6, RFC 4479), or the "
        "newest of each event package alone, for publishers that leave stale ones behind.",
    )
    persons: Literal["all", "newest"] = key(
        "all",
        "Which <person> elements of several publications watchers see: all, which says that the state of the person "
        "is ambiguous (RFC 4479 section 3.2), or those of the newest publication that has any.",
    )
    mix_dialog_presence: bool = key(
        False,
        "Let calls that are published as event dialog show in presence too, as a person on the phone.",
    )
    notify_offline_body: bool = key(
        True,
        "Tell watchers of a presentity for whom nothing is published a document that says closed. False sends NOTIFYs "
        "without a body then, as OpenSIPS does unless told otherwise; RFC 3856 section 6.6 wants a document.",
    )
    bla_fix_remote_target: bool = key(
        True,
        "In bodies published as dialog;sla let the identity of the remote party stand for its target, as Polycom "
        "phones need it to pick a call up.",
    )
    waiting_subs_daysno: int = key(
        3, "Days a subscription nobody decided about is remembered as waiting.", within=(1, 30)
    )

    winfo_open: bool = key(
        True,
        "Let everybody have the watcher information of everybody where server.policy is open, as with OpenSIPS. False "
        "lets the presentity alone see its watchers (RFC 3857 section 4.6), and others themselves, as under rules.",
    )
    winfo_administrators: tuple[str, ...] = key(
        (), "Users who may see the watchers of every presentity, whatever the policy.", shape=USER
    )

    @property
    def winfo_administrator_names(self) -> frozenset[Aor]:
        """The addresses of record of `winfo_administrators`."""
        return frozenset(parse_user(entry) for entry in self.winfo_administrators)

    enable_sphere_check: bool = key(
        False,
        "Let rules ask for the sphere of a presentity (RFC 5025 section 3.1.2), as its publications say it, and decide "
        "again when it changes. Without it conditions on a sphere are false.",
    )

    OBSOLETE: ClassVar[Mapping[str, str]] = {
        "bla_presentity_spec": "there is no script; see presence_xml.bla_presentity",
        "db_url": "the database is database.path",
        "presentity_table": "the tables have fixed names",
        "active_watchers_table": "the tables have fixed names",
        "watchers_table": "the tables have fixed names",
        "clean_period": "what expires is removed when it expires",
        "db_update_period": "every change is written before it is answered, see database.durability",
        "fallback2db": "every change is written before it is answered, see database.durability",
        "subs_htable_size": "the table of subscriptions grows by itself",
        "pres_htable_size": "the table of presentities grows by itself",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceXml:
    """The packages presence, presence.winfo and dialog;sla."""

    force_active: bool = key(False, "Accept every watcher; true is the same as server.policy = open.")
    pidf_manipulation: bool = key(
        True,
        "Compose the presence document that a presentity keeps by XCAP (RFC 4827) with what is published, as the "
        "oldest publication.",
    )
    generate_offline_body: bool = key(
        False,
        "Tell watchers once how a publication ended: with its tuple, closed. False shows only what is left.",
    )
    disable_bla: bool = key(False, "Do not serve the package dialog;sla (bridged line appearance).")
    bla_presentity: Literal["contact", "request-uri", "to"] = key(
        "contact",
        "Where a SUBSCRIBE to dialog;sla names the line: the user of Contact at the domain of From, the Request-URI "
        "or To.",
    )
    xcap_server: tuple[str, ...] = key(
        (),
        "XCAP servers documents are fetched from, asked in turn until one has it. A server named without a path has "
        "the root /xcap-root. Without any, documents are what the table xcap holds.",
        shape=XCAP_SERVER,
    )
    pres_rules_filename: str = key("index", "Name of the documents that are fetched.", shape=DOCUMENT_NAME)
    lost_rule: Literal["rejected", "deactivated", "probation"] = key(
        "rejected",
        "How the subscription of a watcher ends when none of the presentity's rules is about it any more: rejected, as "
        "RFC 5025 has it, deactivated as with OpenSIPS, so that the watcher subscribes anew at once, or probation, so "
        "that it does later (xcapauth_userdel_reason of Kamailio).",
    )
    pres_rules_auid: tuple[str, ...] = key(
        ("pres-rules", "org.openmobilealliance.pres-rules"),
        "Application usages whose documents are the rules of a presentity; all of them count together.",
        shape=RULES_USAGE,
    )
    default_policy: Literal["allow", "block", "confirm", "polite-block"] = key(
        "confirm",
        "What becomes of watchers of a presentity without rules documents, unless table `watchers` says otherwise.",
    )
    unmatched: Literal["block", "confirm"] = key(
        "block",
        "What becomes of watchers whom no rule of the documents matches; RFC 5025 section 3.2.1 has block.",
    )

    OBSOLETE: ClassVar[Mapping[str, str]] = OBSOLETE_XCAP
