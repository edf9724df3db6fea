import dataclasses
import tomllib
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from presence.cli.configuration import write_markdown, write_toml
from presence.config import Config, Given, load
from presence.errors import ConfigError
from presence.settings import RESERVED, SECTIONS, SETTINGS
from presence.shape import Listener

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def toml(tmp_path):
    """Write a file of settings and return its name."""

    def write(text: str) -> str:
        path = tmp_path / "p.toml"
        path.write_text(text)
        return str(path)

    return write


def refusal(*args, **kwargs) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def outcome(given: Given) -> Config | str:
    """Return the settings, or the text of the refusal."""
    try:
        return load(flags=[given])
    except ConfigError as error:
        return str(error)


# The table


def test_the_config_has_every_section_of_the_table():
    names = [field.name for field in dataclasses.fields(Config)]
    assert names == [*SECTIONS, "origins", "warnings"]
    assert not set(RESERVED) & set(SECTIONS)


@pytest.mark.parametrize("setting", [s for s in SETTINGS if not s.obsolete], ids=lambda setting: setting.name)
def test_every_setting_has_help_and_takes_its_own_default(setting):
    assert setting.rule.help.endswith(".")
    assert setting.read(setting.default) == setting.default
    assert getattr(getattr(Config(), setting.section), setting.key) is not None


def test_the_reference_is_what_the_table_says():
    assert (ROOT / "docs" / "configuration.md").read_text() == write_markdown(), "run: make docs"


def test_printed_settings_read_back_as_themselves(toml):
    config = load(assignments=["server.domain=example.com", "presence.contact_user=", "http.listen="])
    again = load([toml(write_toml(config))])
    for section in SECTIONS:
        assert getattr(again, section) == getattr(config, section)


def test_no_settings_are_the_defaults():
    config = load()
    assert config == Config()
    assert config.presence.max_expires_subscribe == 3600
    assert config.server.policy == "open"
    assert config.origin("server", "policy") == "default"
    assert config.warnings == ()


# Sources


def test_each_source_is_over_the_one_before(toml):
    path = toml("[presence]\nmax_expires_publish = 1\nexpires_offset = 1\n[log]\nlevel='error'")
    environ = {
        "PRESENCE_PRESENCE__EXPIRES_OFFSET": "2",
        "PRESENCE_PRESENCE__MIN_EXPIRES_PUBLISH": "1",
        "PRESENCE_LOG__LEVEL": "warning",
        "PRESENCE_DEBUG": "1",
        "HOME": "/",
    }
    config = load([path], environ, ["log.level=info"], [Given("log.level", "debug", "--log-level")])
    assert config.presence.max_expires_publish == 1
    assert config.origin("presence", "max_expires_publish") == path
    assert config.presence.expires_offset == 2
    assert config.origin("presence", "expires_offset") == "environment variable PRESENCE_PRESENCE__EXPIRES_OFFSET"
    assert config.log.level == "debug"
    assert config.origin("log", "level") == "--log-level"
    assert config.origin("log", "format") == "default"


def test_a_later_file_is_over_an_earlier_one(tmp_path):
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text("[presence]\nexpires_offset = 1\ncontact_user = 'a'")
    second.write_text("[presence]\nexpires_offset = 2")
    config = load([str(first), str(second)])
    assert (config.presence.expires_offset, config.presence.contact_user) == (2, "a")


def test_a_section_with_underscores_is_found_in_the_environment():
    assert load(environ={"PRESENCE_PRESENCE_XML__FORCE_ACTIVE": "yes"}).presence_xml.force_active is True


def test_lists_are_separated_by_commas_and_replace_each_other():
    environ = {"PRESENCE_SERVER__DOMAIN": "example.com, Example.ORG"}
    assert load(environ=environ).server.domain == ("example.com", "example.org")
    assert load(environ=environ, assignments=["server.domain="]).server.domain == ()


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("0", False), ("false", False)])
def test_opensips_spelling_of_truth_is_taken(toml, text, value):
    config = load([toml(f"[presence]\nend_sub_on_timeout = {text}")])
    assert config.presence.end_sub_on_timeout is value
    assert load(assignments=[f"presence.end_sub_on_timeout={text}"]).presence.end_sub_on_timeout is value


def test_listeners_come_taken_apart():
    config = load(assignments=["server.listen=UDP:localhost:0,tcp:[::1]:5060"])
    assert config.server.listen == ("udp:127.0.0.1:0", "tcp:[::1]:5060")
    assert config.server.listeners == (Listener("udp", "127.0.0.1", 0), Listener("tcp", "::1", 5060))


def test_http_address_comes_taken_apart():
    assert load(assignments=["http.listen=[::1]:80"]).http.address == ("::1", 80)
    assert load(assignments=["http.listen="]).http.address is None


# What belongs together


def test_on_loopback_requests_of_ours_stay_on_loopback():
    assert load().server.target_networks == (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def test_beyond_loopback_they_may_go_everywhere():
    server = load(assignments=["server.listen=udp:0.0.0.0:5060", "server.allow_unauthenticated=1"]).server
    assert server.allowed_targets == ("0.0.0.0/0", "::/0")


def test_chosen_targets_are_kept():
    server = load(assignments=["server.allowed_targets=192.0.2.0/24, 2001:db8::/32"]).server
    assert server.target_networks == (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("xcap.example.com", "http://xcap.example.com/xcap-root"),
        ("XCAP.example.com:8000", "http://xcap.example.com:8000/xcap-root"),
        ("[2001:db8::1]:80", "http://[2001:db8::1]:80/xcap-root"),
        ("https://xcap.example.com/", "https://xcap.example.com"),
        ("https://[2001:DB8::1]:443/a/b/", "https://[2001:db8::1]:443/a/b"),
    ],
)
def test_xcap_servers_are_hosts_or_root_uris(given, root):
    assert load(assignments=[f"presence_xml.xcap_server={given}"]).presence_xml.xcap_server == (root,)


@pytest.mark.parametrize(
    "given",
    [
        *("ftp://xcap.example.com", "http://user:secret@xcap.example.com/", "http://xcap.example.com/?a", "http://"),
        *("xcap.example.com:99999", "http://xcap.example.com/#a", "http://xcap.example.com/a b", "[::1", "a\nb", "a b"),
    ],
)
def test_what_is_no_xcap_server_is_refused(given):
    assert "presence_xml.xcap_server" in refusal(assignments=[f"presence_xml.xcap_server={given}"])


@pytest.mark.parametrize("name", ["", "..", "a/b", "a?b"])
def test_a_document_name_is_one_segment(name):
    refusal(assignments=[f"presence_xml.pres_rules_filename={name}"])


def test_force_active_is_the_open_policy():
    config = load(assignments=["presence_xml.force_active=1"])
    assert config.server.policy == "open"
    assert config.origin("server", "policy") == "presence_xml.force_active"


def test_force_active_and_rules_contradict_each_other():
    message = refusal(assignments=["presence_xml.force_active=1", "server.policy=rules"])
    assert "server.policy" in message
    assert "presence_xml.force_active" in message


def test_rfc3261_22_1_there_is_always_a_challenge_to_offer():
    assert "at least one algorithm" in refusal(assignments=["auth.algorithms="])
    assert "in --set" in refusal(assignments=["auth.algorithms="])


def test_rfc8760_2_3_no_algorithm_is_offered_twice():
    assert "names an algorithm twice" in refusal(assignments=["auth.algorithms=MD5,SHA-256,MD5"])


@pytest.mark.parametrize("name", ["server.listen", "http.listen"])
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "[2001:db8::1]"])
def test_listening_beyond_loopback_wants_to_be_meant(name, host):
    entry = f"udp:{host}:5060" if name == "server.listen" else f"{host}:8080"
    given = [f"{name}={entry}", "xcap.authentication=none"]
    message = refusal(assignments=given)
    assert message.startswith(name)
    assert "server.allow_unauthenticated = true" in message
    assert "auth.required" in message or "xcap.authentication" in message
    load(assignments=[*given, "server.allow_unauthenticated=true"])


def test_xcap_that_asks_for_proof_is_served_to_other_machines():
    load(assignments=["http.listen=0.0.0.0:8080"])
    assert "http.listen" in refusal(assignments=["http.listen=0.0.0.0:8080", "xcap.root="])


def test_the_shortest_interval_may_not_be_above_the_longest():
    message = refusal(assignments=["presence.min_expires_publish=7200"])
    assert message == (
        "presence.min_expires_publish = 7200 in --set is above presence.max_expires_publish = 3600 in default"
    )


def test_a_listener_is_not_named_twice():
    assert "twice" in refusal(assignments=["server.listen=udp:127.0.0.1:5060,udp:localhost:5060"])
    load(assignments=["server.listen=udp:127.0.0.1:0,udp:127.0.0.1:0"])


def test_a_server_without_listeners_is_refused():
    assert refusal(assignments=["server.listen="]).startswith("server.listen")


# Refusals


def test_a_mistyped_key_is_told_with_the_likely_one(toml):
    path = toml("[server]\nlisen = []")
    assert refusal([path]) == f"unknown key server.lisen in {path}; did you mean server.listen?"


def test_a_key_in_the_wrong_section_is_told_with_the_right_one():
    assert refusal(assignments=["server.max_expires_publish=1"]).endswith("did you mean presence.max_expires_publish?")


def test_a_key_outside_every_section_is_told_with_the_right_one(toml):
    assert refusal([toml("durability = 'os'")]).endswith("did you mean database.durability?")


def test_an_unknown_section_is_told(toml):
    path = toml("[sever]\n")
    assert refusal([path]) == f"unknown section sever in {path}; did you mean server?"


def test_an_unknown_variable_of_ours_is_told():
    message = refusal(environ={"PRESENCE_SERVER__LISEN": "x"})
    assert message.startswith("unknown key server.lisen in environment variable PRESENCE_SERVER__LISEN")


def test_a_reserved_section_is_accepted_while_it_is_empty(toml):
    load([toml("[rls]\n")])
    assert "has no keys yet" in refusal([toml("[rls]\nmax_expires = 1")])


@pytest.mark.parametrize(
    ("toml_value", "expected"),
    [
        ("max_expires_publish = 0", "a whole number from 1 to 2147483647"),
        ("max_expires_publish = true", "a whole number"),
        ("max_expires_publish = '12x'", "a whole number"),
        ("max_expires_publish = '\u0661'", "a whole number"),
        ("waiting_subs_daysno = 31", "from 1 to 30"),
        ("min_expires_subscribe = 3601", "from 0 to 3600"),
        ("end_sub_on_timeout = 2", "true or false"),
        ("end_sub_on_timeout = []", "true or false"),
        ("notify_failure = 'drop'", "remove or keep"),
        ("contact_user = 'a b'", "letters, digits"),
        ("contact_user = 1", "letters, digits"),
    ],
)
def test_a_value_that_is_not_allowed_is_told_with_what_is(toml, toml_value, expected):
    path = toml(f"[presence]\n{toml_value}")
    message = refusal([path])
    assert message.startswith(f"presence.{toml_value.split()[0]} = ")
    assert f" in {path}: expected " in message
    assert expected in message


@pytest.mark.parametrize(
    "entry",
    [
        *("udp", "udp:", "sctp:127.0.0.1:5060", "udp:127.0.0.1", "udp:127.0.0.1:65536", "udp:::1:5060"),
        *("udp:[127.0.0.1]:1", "udp:127.0.0.1:-1", "udp:127.0.0.1:\u0665", "udp:[::1:1", "udp:127.0.0.1:1 x"),
        "udp:host:1",
    ],
)
def test_a_listener_that_is_none_is_told(entry):
    assert "expected udp:ADDRESS:PORT" in refusal(assignments=[f"server.listen={entry}"])


@pytest.mark.parametrize("domain", ["a b", "sip:example.com", "alice@example.com", "example.com:5060", "[nonsense:]"])
def test_a_domain_that_is_none_is_told(domain):
    assert "expected a host name" in refusal(assignments=[f"server.domain={domain}"])


def test_software_cannot_smuggle_header_fields(toml):
    assert "printable" in refusal([toml('[server]\nsoftware = "x\\r\\nVia: y"')])


@pytest.mark.parametrize("text", ["[server", "\x00", "a = 1\na = 2", "[a]\nb = 'ü"])
def test_a_file_that_is_no_toml_is_told(toml, text):
    assert refusal([toml(text)]).startswith("cannot read ")


def test_a_file_that_is_not_utf8_or_not_there_is_told(tmp_path):
    (tmp_path / "p.toml").write_bytes(b"[log]\n# \xff")
    assert refusal([str(tmp_path / "p.toml")]).startswith("cannot read ")
    assert refusal([str(tmp_path / "none.toml")]).endswith("No such file or directory")


def test_an_assignment_without_value_is_told():
    assert refusal(assignments=["server.listen"]) == '--set "server.listen": expected SECTION.KEY=VALUE'


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.obsolete], ids=lambda setting: setting.name)
def test_an_opensips_key_without_effect_is_accepted_and_told_once(setting):
    config = load(assignments=[f"{setting.name}=1", f"{setting.name}=2"])
    assert config.warnings == (f"{setting.name} in --set has no effect: {setting.obsolete}",)


def test_toml_takes_what_is_written_of_a_text_with_del():
    taken = outcome(Given("xcap_client.user", "a\x7fb", "--set"))
    assert isinstance(taken, Config)
    assert tomllib.loads(write_toml(taken))["xcap_client"]["user"] == "a\x7fb"


@pytest.mark.parametrize("section", ["presence_xml", "xcap", "xcap_client"])
def test_where_opensips_keeps_its_documents_is_accepted(section, toml):
    """The module has them since OpenSIPS 1.6 or later, and the tutorial's configurations name them."""
    keys = 'db_url = "mysql://x"\nxcap_table = "xcap"\n'
    if section != "xcap_client":
        keys += "integrated_xcap_server = 1\n"
    config = load([toml(f"[{section}]\n{keys}")])
    assert all(f"{section}." in warning for warning in config.warnings)
    assert len(config.warnings) == keys.count("\n")


@given(st.sampled_from(SETTINGS), st.text(max_size=40))
@example(next(setting for setting in SETTINGS if setting.name == "xcap_client.user"), "\x7f")
def test_any_text_is_taken_or_refused_on_one_line(setting, text):
    taken = outcome(Given(setting.name, text, "--set"))
    if isinstance(taken, Config):
        assert tomllib.loads(write_toml(taken))
    else:
        assert "\n" not in taken


_TOML_VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(SETTINGS), _TOML_VALUES)
def test_any_toml_value_is_taken_or_refused_on_one_line(setting, value):
    taken = outcome(Given(setting.name, value, "p.toml"))
    assert isinstance(taken, Config) or "\n" not in taken


@pytest.mark.parametrize("given", ["xcap.authentication=basic", "xcap.basic=true"])
def test_rfc4825_14_basic_needs_tls(given):
    with pytest.raises(ConfigError, match=r"xcap\.(authentication|basic) = .* in --set needs TLS"):
        load(assignments=[given])
    assert load(assignments=[given, "http.certificate=a.pem"]).http.certificate == "a.pem"


@pytest.mark.parametrize("root", ["xcap-root", "/", "/xcap-root/", "/a b", "/a?b", "http://a/b"])
def test_the_xcap_root_is_a_path(root):
    with pytest.raises(ConfigError, match=r"xcap\.root"):
        load(assignments=[f"xcap.root={root}"])


def test_without_proof_xcap_is_served_on_loopback_unless_that_is_allowed():
    load(assignments=["xcap.authentication=none"])
    open_ = ["xcap.authentication=none", "http.listen=0.0.0.0:8080"]
    with pytest.raises(ConfigError, match=r"http\.listen"):
        load(assignments=open_)
    load(assignments=[*open_, "server.allow_unauthenticated=true"])
