"""Digest authentication: hashes, credentials, nonces and the client's side (RFC 7616, RFC 8760)."""

import hashlib
from contextlib import suppress
from random import Random

import pytest
import sip
from hypothesis import given
from hypothesis import strategies as st

from presence._fastcore import Nonces, hash_hex, parse
from presence.errors import BadRequest, Unauthorized
from presence.sip.challenge import Answerer
from presence.sip.digest import (
    Account,
    Credentials,
    DigestAuthority,
    hash_account,
    read_credentials,
    respond,
)
from presence.values import Aor

NOW = 1_700_000_000.0
REALM = "example.com"
ALL = ("SHA-512-256", "SHA-256", "MD5")


class Accounts:
    """Bob, whose password is `zanzibar`."""

    def find(self, username: str, domain: str) -> Account | None:
        if (username, domain) != ("bob", REALM):
            return None
        hashes = {name: hash_account(name, "bob", REALM, "zanzibar") for name in ALL}
        return Account(Aor("bob", REALM), hashes, hash_account("MD5", "bob@example.com", REALM, "zanzibar"))


def authority(**settings: object) -> DigestAuthority:
    return DigestAuthority(Accounts(), b"s" * 32, **{"algorithms": ALL, **settings})  # type: ignore[arg-type]


def answer(
    nonce: str,
    *,
    username: str = "bob",
    password: str = "zanzibar",
    algorithm: str = "MD5",
    nc: str = "00000001",
    qop: str = "auth",
) -> Credentials:
    cnonce, nc = ("c", nc) if qop else ("", "")
    blank = Credentials(username, REALM, nonce, "sip:x@example.com", "00", algorithm, qop, cnonce, nc)
    ha1 = hash_account(algorithm, username, REALM, password)
    return blank._replace(response=respond(blank, ha1, "PUBLISH"))


def refused(authority: DigestAuthority, given: Credentials, now: float = NOW) -> tuple[str, bool]:
    with pytest.raises(Unauthorized) as caught:
        authority.check(given, "PUBLISH", REALM, now)
    return caught.value.why, all("stale=true" in value for _, value in caught.value.headers)


# ---- hashes ----


@given(st.binary(max_size=600))
def test_the_hashes_are_those_of_the_standard_library(data: bytes) -> None:
    for kind, name in enumerate(("md5", "sha256", "sha512_256")):
        assert hash_hex(kind, data) == hashlib.new(name, data).hexdigest()


def test_there_is_no_fourth_hash() -> None:
    for kind in (-1, 3):
        with pytest.raises(ValueError, match="no hash"):
            hash_hex(kind, b"")


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_rfc7616_3_9_1_example(algorithm: str, response: str) -> None:
    value = (
        'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", '
        f'algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
        f'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="{response}", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    read = read_credentials(value)
    assert read is not None
    ha1 = hash_account(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
    assert respond(read, ha1, "GET") == response


def test_rfc7616_3_9_2_example_as_its_erratum_4897_has_it() -> None:
    read = Credentials(
        "J\u00e4s\u00f8n Doe",
        "api@example.org",
        "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
        "/doe.json",
        "",
        "SHA-512-256",
        "auth",
        "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
        "00000001",
    )
    ha1 = hash_account("SHA-512-256", read.username, read.realm, "Secret, or not?")
    assert respond(read, ha1, "GET") == "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"


# ---- credentials ----

WHOLE = 'username="bob", realm="example.com", nonce="n", uri="sip:x", response="00"'


def test_credentials_come_without_quotes_and_escapes() -> None:
    read = read_credentials(f'digest  {WHOLE} , qop="AUTH",nc=0000000A , cnonce="a\\"b,c", algorithm="sha-256", x=y')
    assert read == Credentials("bob", "example.com", "n", "sip:x", "00", "SHA-256", "auth", 'a"b,c', "0000000A")


def test_without_algorithm_it_is_md5_and_another_scheme_is_none() -> None:
    read = read_credentials(f"Digest {WHOLE}")
    assert read is not None
    assert (read.algorithm, read.qop) == ("MD5", "")
    assert read_credentials("Basic Zm9vOmJhcg==") is None


@pytest.mark.parametrize(
    "value",
    [
        "Digest",
        "Digest ",
        "Digest x",
        f"Digest {WHOLE} realm=x",
        f'Digest {WHOLE}, realm="twice"',
        f'Digest {WHOLE}, cnonce="open',
        f"Digest {WHOLE}, qop=auth",
        f'Digest {WHOLE}, qop=auth, cnonce="c", nc=1',
        f'Digest {WHOLE}, qop=auth, cnonce="c", nc=0000000g',
        f'Digest {WHOLE}, qop=auth, nc=00000001, cnonce=""',
        'Digest username="bob", realm="example.com", nonce="n", uri="sip:x"',
        'Digest username="bob", realm="example.com", nonce="n", uri="sip:x", response="xyz"',
        'Digest username="bob", realm="example.com", nonce="n", uri="", response="00"',
        f'Digest {WHOLE}, x="{"y" * 3000}"',
    ],
)
def test_rfc7616_3_5_improper_credentials_are_400(value: str) -> None:
    with pytest.raises(BadRequest):
        read_credentials(value)


@given(st.text(max_size=200))
def test_garbage_is_refused_as_such(text: str) -> None:
    with suppress(BadRequest):
        read_credentials(f"Digest {text}")


# ---- checks ----


@pytest.mark.parametrize("algorithm", ALL)
def test_who_knows_the_password_is_proven(algorithm: str) -> None:
    one = authority()
    proof = one.check(answer(one.make_nonce(REALM, NOW), algorithm=algorithm), "PUBLISH", REALM, NOW)
    assert proof.account.aor == Aor("bob", REALM)


def test_rfc8760_2_4_one_challenge_for_each_algorithm_strongest_first() -> None:
    error = authority().challenge(REALM, NOW, "no credentials")
    assert [value.split("algorithm=")[1].split(",")[0] for _, value in error.headers] == list(ALL)
    assert all(name == "WWW-Authenticate" and 'qop="auth"' in value for name, value in error.headers)


def test_user_at_domain_is_taken_where_its_hash_is_known() -> None:
    one = authority()
    given_md5 = answer(one.make_nonce(REALM, NOW), username="bob@example.com")
    assert one.check(given_md5, "PUBLISH", REALM, NOW).account.aor == Aor("bob", REALM)
    given_sha = answer(one.make_nonce(REALM, NOW), username="bob@example.com", algorithm="SHA-256")
    assert refused(one, given_sha) == ("wrong response", False)


def test_unknown_user_and_wrong_password_are_answered_alike() -> None:
    one = authority()
    for wrong in (
        answer(one.make_nonce(REALM, NOW), username="mallory"),
        answer(one.make_nonce(REALM, NOW), password="guess"),
        answer(one.make_nonce(REALM, NOW))._replace(uri="sip:other@example.com"),
        answer(one.make_nonce(REALM, NOW), username=""),
    ):
        assert refused(one, wrong) == ("wrong response", False)


def test_an_account_without_the_hash_of_an_algorithm_is_not_proven_by_it() -> None:
    class Old:
        def find(self, username: str, domain: str) -> Account:
            return Account(Aor("bob", REALM), {"MD5": hash_account("MD5", "bob", REALM, "zanzibar"), "SHA-256": ""})

    one = DigestAuthority(Old(), b"s" * 32, algorithms=ALL)
    one.check(answer(one.make_nonce(REALM, NOW)), "PUBLISH", REALM, NOW)
    assert refused(one, answer(one.make_nonce(REALM, NOW), algorithm="SHA-256")) == ("wrong response", False)


def test_rfc7616_3_3_an_old_nonce_is_stale() -> None:
    one = authority(nonce_expire_s=60)
    nonce = one.make_nonce(REALM, NOW)
    one.check(answer(nonce), "PUBLISH", REALM, NOW + 59)
    assert refused(one, answer(nonce, nc="00000002"), NOW + 61) == ("stale nonce", True)
    assert refused(one, answer(nonce, nc="00000002", password="guess"), NOW + 61) == ("wrong response", False)


@pytest.mark.parametrize("tamper", [lambda n: "0" * 12 + n[12:], lambda n: n[:-1] + ("0" if n[-1] != "0" else "1")])
def test_a_tampered_nonce_is_stale(tamper) -> None:
    one = authority()
    assert refused(one, answer(tamper(one.make_nonce(REALM, NOW)))) == ("stale nonce", True)


def test_a_nonce_of_another_server_or_realm_is_stale() -> None:
    one, other = authority(), DigestAuthority(Accounts(), b"t" * 32)
    assert refused(one, answer(other.make_nonce(REALM, NOW))) == ("stale nonce", True)
    assert refused(one, answer(one.make_nonce("elsewhere.org", NOW))) == ("stale nonce", True)
    assert refused(one, answer("n\u00f8nce")) == ("stale nonce", True)


def test_each_nonce_count_serves_once_in_any_order() -> None:
    one = authority()
    nonce = one.make_nonce(REALM, NOW)
    for nc in (1, 3, 2, 40, 39, 90):
        one.check(answer(nonce, nc=f"{nc:08x}"), "PUBLISH", REALM, NOW)
    for nc in (1, 2, 3, 39, 40, 90, 26, 0):
        assert refused(one, answer(nonce, nc=f"{nc:08x}")) == ("replayed", True), nc
    one.check(answer(nonce, nc=f"{27:08x}"), "PUBLISH", REALM, NOW)
    one.check(answer(nonce, nc="ffffffff"), "PUBLISH", REALM, NOW)


def test_without_qop_only_where_it_is_allowed_and_once() -> None:
    one = authority()
    assert refused(one, answer(one.make_nonce(REALM, NOW), qop="")) == ("no qop", False)
    assert refused(one, answer(one.make_nonce(REALM, NOW), qop="auth-int")) == ("no qop", False)
    one = authority(allow_no_qop=True)
    nonce = one.make_nonce(REALM, NOW)
    one.check(answer(nonce, qop=""), "PUBLISH", REALM, NOW)
    assert refused(one, answer(nonce, qop="")) == ("replayed", True)


def test_what_is_remembered_of_nonces_is_bounded_and_what_was_forgotten_is_stale() -> None:
    one = authority(nonces_kept=3)
    nonces = [one.make_nonce(REALM, NOW + i) for i in range(5)]
    early = one.make_nonce(REALM, NOW + 1)
    for i, nonce in enumerate(nonces):
        one.check(answer(nonce), "PUBLISH", REALM, NOW + i)
    assert len(one.nonces) == 3
    # The first would serve again, had it been forgotten without a trace.
    assert refused(one, answer(nonces[0]), NOW + 5) == ("replayed", True)
    assert refused(one, answer(early), NOW + 5) == ("replayed", True)
    one.check(answer(one.make_nonce(REALM, NOW + 5)), "PUBLISH", REALM, NOW + 5)


def test_expired_nonces_take_no_room() -> None:
    nonces = Nonces(10)
    for i in range(100):
        assert nonces.use(b"%d" % i, 1, NOW + i, NOW + i + 5, NOW + i)
        assert len(nonces) <= 5


# ---- the client's side ----


def challenged(*values: str, status: int = 401) -> object:
    names = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}
    request = parse(sip.request("PUBLISH", "sip:x@example.com"))
    return parse(sip.answer(request, status, *(f"{names[status]}: {value}" for value in values)))


@pytest.mark.parametrize("algorithm", ALL)
def test_the_client_answers_what_the_server_asks(algorithm: str) -> None:
    one = authority(algorithms=(algorithm,))
    client = Answerer("bob", "zanzibar", Random(1))
    assert client.headers("PUBLISH", "sip:x@example.com") == ()
    error = one.challenge(REALM, NOW, "no credentials")
    assert client.learn(challenged(*(value for _, value in error.headers)))  # type: ignore[arg-type]
    for _ in range(3):
        ((name, value),) = client.headers("PUBLISH", "sip:x@example.com")
        given = read_credentials(value)
        assert name == "Authorization"
        assert given is not None
        assert one.check(given, "PUBLISH", REALM, NOW).account.aor == Aor("bob", REALM)


def test_the_client_takes_the_first_challenge_it_understands() -> None:
    client = Answerer("bob", "zanzibar", Random(1))
    odd = (
        'Digest realm="r", nonce="n", algorithm=SHA-3',
        "Basic realm=r",
        'Digest realm="r", nonce="n", qop="auth-int"',
    )
    assert not client.learn(challenged(*odd))  # type: ignore[arg-type]
    assert client.learn(challenged(*odd, 'Digest realm="r", nonce="n", algorithm=SHA-256, opaque="o", qop="auth"'))  # type: ignore[arg-type]
    ((_, value),) = client.headers("PUBLISH", "sip:x")
    assert 'opaque="o"' in value
    assert "algorithm=SHA-256" in value


@pytest.mark.parametrize("qop", ['qop="auth-int, auth"', 'qop="auth"', "qop=auth"])
def test_rfc3261_22_4_the_client_says_qop_and_cnonce_where_qop_was_asked_for(qop: str) -> None:
    client = Answerer("bob", "zanzibar", Random(1))
    assert client.learn(challenged(f'Digest realm="r", nonce="n", {qop}'))  # type: ignore[arg-type]
    ((_, value),) = client.headers("PUBLISH", "sip:x@example.com")
    assert ", qop=auth, nc=00000001, cnonce=" in value
    assert ', uri="sip:x@example.com", ' in value


def test_rfc3261_22_4_the_client_says_neither_where_it_was_not() -> None:
    client = Answerer("bob", "zanzibar", Random(1))
    assert client.learn(challenged('Digest realm="r", nonce="n"'))  # type: ignore[arg-type]
    ((_, value),) = client.headers("PUBLISH", "sip:x@example.com")
    assert "qop" not in value
    assert "cnonce" not in value


def test_the_client_does_not_repeat_a_wrong_password() -> None:
    client = Answerer("bob", "wrong", Random(1))
    assert client.learn(challenged('Digest realm="r", nonce="n"'))  # type: ignore[arg-type]
    assert not client.learn(challenged('Digest realm="r", nonce="m"'))  # type: ignore[arg-type]
    assert client.learn(challenged('Digest realm="r", nonce="o", stale=TRUE'))  # type: ignore[arg-type]
    assert client.learn(challenged('Digest realm="r", nonce="p"', status=407))  # type: ignore[arg-type]
    assert client.headers("PUBLISH", "sip:x")[0][0] == "Proxy-Authorization"
    assert not Answerer("", "", Random(1)).learn(challenged('Digest realm="r", nonce="n"'))  # type: ignore[arg-type]
