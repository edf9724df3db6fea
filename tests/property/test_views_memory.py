"""Views and decisions of the watcher table against a model: whatever comes in between, no row is sent another view."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from presence._fastcore import Fanout, Framer, Message, parse

NOW = 1_700_000_000.0
HEAD = b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
VIEWS = (0, 1, 2, 3, 16, 17, 18, 40)


class Row:
    def __init__(self, view: int, pending: bool) -> None:
        self.view, self.pending = view, pending
        self.held = False
        self.ended = False
        self.said = False
        """Whether its end may say what its view says."""


class ViewsMemory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = Fanout(bytes(range(16)), NOW)
        self.table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1", contact=b"127.0.0.1")
        self.group = self.table.add_group(b"presence")
        self.bodies: dict[int, bytes] = {}
        self.rows: dict[int, Row] = {}
        self.flying: dict[str, tuple[int, Message, int, bool]] = {}
        self.now = NOW
        self.count = 0
        for view in VIEWS[1:]:
            self.change(view)

    def pick(self, choice: int, *, running: bool = True) -> int | None:
        slots = [slot for slot, row in self.rows.items() if not (running and row.ended)]
        return slots[choice % len(slots)] if slots else None

    @rule(view=st.sampled_from(VIEWS[1:]))
    def change(self, view: int) -> None:
        self.count += 1
        body = b"%d of view %d" % (self.count, view)
        assert self.table.set_body(self.group, view, HEAD % (len(body), body))
        self.bodies[view] = body

    @rule(view=st.sampled_from(VIEWS), pending=st.booleans(), many=st.integers(1, 5))
    def subscribe(self, view: int, pending: bool, many: int) -> None:
        for _ in range(many):
            self.count += 1
            slot = self.table.reserve()
            strings = (b"sip:b@127.0.0.1", b"", b"<sip:a@x>", b"<sip:b@x>", b"t%d" % self.count, b"c%d" % self.count)
            until = int(NOW) + 100_000
            dialog = (*strings, b"", b"", b"")
            self.table.fill(slot, self.group, dialog, expires_at=until, view=view, pending=pending, cseq_mark=1 << 30)
            self.table.set_target(slot, 0, "127.0.0.1", 5070)
            assert slot not in self.rows
            self.rows[slot] = Row(view, pending)

    @rule()
    def notify_all(self) -> None:
        self.table.notify_group(self.group)

    @rule()
    def notify_fresh(self) -> None:
        self.table.notify_fresh(self.group)

    @rule()
    def hold_all(self) -> None:
        self.table.hold_group(self.group)
        for row in self.rows.values():
            row.held = row.held or not row.ended

    @precondition(lambda self: self.rows)
    @rule(choice=st.integers(0), view=st.sampled_from(VIEWS), pending=st.booleans())
    def admit(self, choice: int, view: int, pending: bool) -> None:
        slot = self.pick(choice)
        if slot is not None:
            self.table.admit(slot, pending=pending, view=view)
            self.rows[slot].view, self.rows[slot].pending, self.rows[slot].held = view, pending, False

    @precondition(lambda self: self.rows)
    @rule(choice=st.integers(0))
    def let_go(self, choice: int) -> None:
        slot = self.pick(choice)
        if slot is not None:
            self.table.let_go(slot)
            self.rows[slot].held = False

    @precondition(lambda self: self.rows)
    @rule(choice=st.integers(0), body=st.booleans(), withdrawn=st.booleans())
    def finish(self, choice: int, body: bool, withdrawn: bool) -> None:
        slot = self.pick(choice)
        if slot is None:
            return
        row = self.rows[slot]
        if withdrawn:
            self.table.withdraw(slot)
        row.ended, row.said, row.held = True, body and not row.held, False
        self.table.finish(slot, b"timeout", body=body)

    @precondition(lambda self: self.rows)
    @rule(choice=st.integers(0))
    def withdraw_an_end(self, choice: int) -> None:
        slot = self.pick(choice, running=False)
        if slot is not None and self.rows[slot].ended:
            self.table.withdraw(slot)
            self.rows[slot].said = False

    @rule(seconds=st.sampled_from((0.0, 0.0, 0.3, 0.6, 1.1)))
    def send(self, seconds: float) -> None:
        self.now += seconds
        self.table.tick(self.now)
        while self.table.pump(self.now, 64) or self.table.outbox:
            outbox, self.table.outbox[:] = list(self.table.outbox), []
            for *_, data, slots in outbox:
                for notify, slot in zip(Framer().feed(data), slots, strict=True):
                    self.look(slot, notify)

    def look(self, slot: int, notify: Message) -> None:
        row = self.rows[slot]
        assert not row.held
        state = notify.header("Subscription-State") or ""
        if notify.branch in self.flying:
            _, first, view, was_pending = self.flying[notify.branch]
            # Never what it was shown before it was shown something else; who waited was shown nothing.
            assert row.view == view or was_pending
            assert notify.body == first.body
            return
        self.flying[notify.branch] = (slot, notify, row.view, row.pending and not row.ended)
        if row.ended:
            assert state.startswith("terminated")
            expected = self.bodies.get(row.view, b"") if row.said else b""
        else:
            assert state.startswith("pending" if row.pending else "active")
            whole = row.pending and row.view == 1
            expected = b"" if whole else self.bodies.get(row.view, b"")
        assert notify.body == expected

    @precondition(lambda self: self.flying)
    @rule(choice=st.integers(0), status=st.sampled_from((200, 200, 200, 486)))
    def answer(self, choice: int, status: int) -> None:
        branch = sorted(self.flying)[choice % len(self.flying)]
        _, notify, *_ = self.flying.pop(branch)
        names = ("Via", "From", "To", "Call-ID", "CSeq")
        lines = "".join(f"{name}: {notify.header(name)}\r\n" for name in names)
        text = f"SIP/2.0 {status} X\r\n{lines}Content-Length: 0\r\n\r\n"
        assert self.table.match(parse(text.encode()), self.now)
        self.take_events()

    def take_events(self) -> None:
        for slot, kind, _, _ in self.table.take_events():
            if kind == "failed":
                self.table.settle(slot)
            elif kind == "ended":
                del self.rows[slot]
                self.flying = {branch: known for branch, known in self.flying.items() if known[0] != slot}

    @invariant()
    def rows_are_counted(self) -> None:
        self.take_events()
        running = [slot for slot, row in self.rows.items() if not row.ended]
        assert sorted(self.table.group_slots(self.group)) == sorted(running)
        for view in VIEWS:
            if view >= 16:
                count = sum(row.view == view for row in self.rows.values())
                assert self.table.view_rows(self.group, view) == count
        assert [slot for slot in running if self.table.awaits(slot, self.group)] == [
            slot for slot in running if self.rows[slot].held
        ]


TestViewsMemory = ViewsMemory.TestCase
TestViewsMemory.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
