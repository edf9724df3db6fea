"""The memory of the watcher table against a model: each row has its strings and next hop, whatever comes and goes."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from presence._fastcore import Fanout, ServerTransactions, parse

NOW = 1_700_000_000.0
SECRET = bytes(range(16))

SIZES = st.one_of(st.integers(0, 40), st.integers(240, 270), st.integers(0, 1200))
FROMS = st.sampled_from([b"<sip:alice@example.com>", b"<sip:carol@example.com>", b"", b"f" * 300])


class TableMemory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = Fanout(SECRET, NOW)
        for _ in range(2):
            self.table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1", contact=b"127.0.0.1")
        self.groups = [self.table.add_group(b"presence") for _ in range(3)]
        self.dialogs: dict[int, list[bytes]] = {}
        self.targets: dict[int, tuple[str, int]] = {}
        self.freed: list[bytes] = []
        self.count = 0

    def pick(self, choice: int) -> int:
        return sorted(self.dialogs)[choice % len(self.dialogs)]

    @rule(sizes=st.lists(SIZES, min_size=5, max_size=5), local=FROMS, group=st.integers(0, 2), many=st.integers(1, 60))
    def subscribe(self, sizes: list[int], local: bytes, group: int, many: int) -> None:
        for _ in range(many):
            self.count += 1
            texts = [bytes([65 + self.count % 50]) * size for size in sizes]
            texts.insert(2, local)
            slot = self.table.reserve()
            assert slot not in self.dialogs
            strings = (*texts, b"id%d" % self.count)
            self.table.fill(slot, self.groups[group], (*strings, b"", b""), expires_at=int(NOW) + 60)
            self.dialogs[slot] = list(strings)
            self.targets[slot] = ("::", 0)

    @precondition(lambda self: self.dialogs)
    @rule(choice=st.integers(0), many=st.integers(1, 80))
    def release(self, choice: int, many: int) -> None:
        for _ in range(min(many, len(self.dialogs))):
            slot = self.pick(choice)
            self.freed.append(self.table.to_tag(slot))
            self.table.release(slot)
            del self.dialogs[slot], self.targets[slot]

    @precondition(lambda self: self.dialogs)
    @rule(choice=st.integers(0), uri=SIZES, route=SIZES)
    def retarget(self, choice: int, uri: int, route: int) -> None:
        slot = self.pick(choice)
        self.table.retarget(slot, b"u" * uri, b"r" * route)
        self.dialogs[slot][:2] = [b"u" * uri, b"r" * route]

    @precondition(lambda self: self.dialogs)
    @rule(choice=st.integers(0), host=st.integers(1, 4), port=st.integers(5060, 5062), link=st.integers(0, 1))
    def aim(self, choice: int, host: int, port: int, link: int) -> None:
        slot = self.pick(choice)
        self.table.set_target(slot, link, f"127.0.0.{host}", port)
        self.targets[slot] = (f"127.0.0.{host}", port)

    @precondition(lambda self: self.freed)
    @rule(choice=st.integers(0))
    def return_to_a_row(self, choice: int) -> None:
        tag = self.freed[choice % len(self.freed)]
        slot = self.table.reserve_tagged(tag)
        assert (slot == 0) == (int(tag[2:10], 16) in self.dialogs)
        if slot:
            strings = [b"again", b"", b"from", b"to", b"tag", b"call", b""]
            self.table.fill(slot, self.groups[0], (*strings, b"", b""), expires_at=int(NOW) + 60)
            self.dialogs[slot] = strings
            self.targets[slot] = ("::", 0)
            assert self.table.to_tag(slot) == tag

    @invariant()
    def every_row_has_its_own(self) -> None:
        assert len(self.table) == len(self.dialogs)
        for slot, strings in self.dialogs.items():
            assert list(self.table.dialog(slot)[:7]) == strings
            assert self.table.target(slot) == self.targets[slot]
        assert sorted(s for gid in self.groups for s in self.table.group_slots(gid)) == sorted(self.dialogs)


class TransactionMemory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.transactions = ServerTransactions(SECRET, NOW)
        self.now = NOW
        self.trying: dict[int, int] = {}
        self.answered: dict[int, tuple[bytes, float]] = {}
        self.count = 0

    @rule(many=st.integers(1, 400))
    def begin(self, many: int) -> None:
        for _ in range(many):
            self.count += 1
            message = parse(
                f"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{self.count}\r\nFrom: <sip:b@x>;tag=t\r\n"
                f"To: <sip:x>\r\nCall-ID: {self.count}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n".encode()
            )
            index, again = self.transactions.begin(message)
            assert not again
            assert index not in self.trying
            assert index not in self.answered
            self.trying[index] = self.count

    @rule(size=st.one_of(st.integers(1, 900), st.just(60_000)), share=st.integers(1, 3))
    def complete(self, size: int, share: int) -> None:
        for index in sorted(self.trying)[::share]:
            text = b"%d" % self.trying.pop(index) * size
            text = text[:size]
            self.transactions.complete(index, text, self.now)
            self.answered[index] = (text, self.now + 32)

    @rule(share=st.integers(2, 5))
    def abandon(self, share: int) -> None:
        for index in sorted(self.trying)[::share]:
            self.transactions.abandon(index)
            del self.trying[index]

    @rule(seconds=st.floats(0.5, 40))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.transactions.tick(self.now)
        # The wheel's grain is a quarter of a second.
        for index, (_, until) in list(self.answered.items()):
            if until <= self.now and self.transactions.response(index) is None:
                del self.answered[index]
            else:
                assert self.now < until + 0.5

    @invariant()
    def every_response_is_the_one_given(self) -> None:
        assert len(self.transactions) == len(self.trying) + len(self.answered)
        for index, (text, _) in self.answered.items():
            assert self.transactions.response(index) == text


TestTableMemory = TableMemory.TestCase
TestTransactionMemory = TransactionMemory.TestCase
TestTableMemory.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestTransactionMemory.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
