# SUBSCRIBE requests that most are, done in batches: begun over UDP where everybody may watch, or refreshed unchanged.
# Uses: plain, watchers, fanout, datagrams. Used by: subscription/ordinary.

cdef class Arrivals:
    """SUBSCRIBE requests of one tick on their way through one commit: new subscriptions, then refreshes."""

    def __cinit__(self):
        self.begun = []
        self.extended = []
        self.writes = []
        self.resources = []

    def __dealloc__(self):
        free(self.begin_steps)
        free(self.extend_steps)


cdef class Subscribing:
    """Recognises ordinary SUBSCRIBE requests, and does with them what `subscription/notifier.py` does with all."""

    def __cinit__(self, Fanout table, ServerTransactions transactions, object allowed, dict lanes, uint32_t min_expires_s, uint32_t max_expires_s,
                  uint32_t expires_offset_s, uint32_t boot, frozenset domains, dict asserted, set shared, bint nat=True, *,
                  tuple trusted=(), uint32_t unproven_per_target=0xFFFFFFFF, object quota=None):
        self.table = table
        self.transactions = transactions
        self.allowed = allowed
        self.lanes = lanes
        self.min_expires_s = min_expires_s
        self.max_expires_s = max_expires_s
        self.expires_offset_s = expires_offset_s
        self.boot = boot
        self.domains = domains
        self.trusted = Networks(trusted)
        self.unproven_most = unproven_per_target
        self.quota = quota
        self.nat = nat
        self.asserted = asserted
        self.shared = shared
        self.names, self.types, self.events = [], [], []

    def serve(self, str event, str content_type, uint32_t default_expires_s, bint guarded=False, *,
              bint selecting=False):
        """Take subscriptions to an event package; where it is `guarded` refreshes alone, of who was let in.

        Where it is `selecting` by parameters of Event, none that has any.
        """
        if self.package_count == MAX_ORDINARY_PACKAGES:
            return
        cdef OrdinaryPackage* package = &self.packages[self.package_count]
        cdef bytes name = event.encode()
        cdef bytes kind = content_type.encode()
        # Kept, for the package points into them.
        self.names.append(name)
        self.types.append(kind)
        self.events.append(event)
        package.name, package.name_size = name, <uint32_t>len(name)
        package.type, package.type_size = kind, <uint32_t>len(kind)
        package.default_expires_s = default_expires_s
        package.selecting = selecting
        package.guarded = guarded
        self.package_count += 1

    # ---- before the commit ----

    def take(self, list requests, double now, object new_id):
        """Take the ordinary requests out of those of a tick; return (the others, the `Arrivals` to submit or None).

        `new_id(table)` names a row to be inserted.
        """
        cdef list others = []
        cdef Arrivals batch = Arrivals.__new__(Arrivals)
        cdef Message request
        cdef set claimed = set()
        cdef int package
        for request in requests:
            package = self.ordinary(request)
            if package >= 0 and (
                self.extend(batch, request, package, now, claimed) if request.m.to_tag.len
                else not self.packages[package].guarded and self.begin(batch, request, package, now, new_id)
            ):
                continue
            if request.m.method == M_SUBSCRIBE and request.m.to_tag.len:
                # In the order received: what this one does to the dialog comes first.
                claimed.add(self.table.find(request))
            others.append(request)
        return others, batch if batch.writes else None

    cdef int ordinary(self, Message request) except -2:
        # Which package an ordinary request subscribes to; -1: it takes a closer look.
        cdef SipMsg* m = &request.m
        cdef OrdinaryPackage* package
        cdef Span accept
        cdef uint32_t size
        cdef const char* event = package_of(m, &size)
        cdef int i
        if not request.plain or m.method != M_SUBSCRIBE or request.origin.flow or m.body.len or m.expires == 0:
            return -1
        for i in range(self.package_count):
            package = &self.packages[i]
            if size != package.name_size or memcmp(event, package.name, size) != 0:
                continue
            if package.selecting and m.event_selects:
                return -1
            if m.first[<int>H_ACCEPT]:
                accept = m.headers[m.first[<int>H_ACCEPT] - 1].value
                if not span_equal(m.buf, accept, package.type, package.type_size):
                    return -1
            return i if self.granted(m, package) else -1
        return -1

    cdef uint32_t granted(self, const SipMsg* m, const OrdinaryPackage* package) noexcept nogil:
        # The interval granted in seconds (RFC 6665 section 4.2.1.1); 0 when it is too brief.
        cdef int64_t asked = m.expires if m.expires >= 0 else package.default_expires_s
        if asked < min(3600, <int64_t>self.min_expires_s):
            return 0
        return <uint32_t>min(asked, <int64_t>self.max_expires_s)

    cdef uint32_t until(self, double now, uint32_t granted) noexcept nogil:
        return <uint32_t>min(<int64_t>now + granted + self.expires_offset_s, <int64_t>0xFFFFFFFF)

    cdef bint begin(self, Arrivals batch, Message request, int index, double now, object new_id) except -1:
        cdef SipMsg* m = &request.m
        cdef Fanout table = self.table
        cdef Subscriber who
        cdef PlainUri uri
        cdef BeginStep* step
        cdef Row* row
        cdef object origin = request.origin
        cdef uint16_t link = origin.link
        cdef uint32_t slot
        cdef char text[1024]
        cdef str user, host, target_host, aim, source = None
        cdef Target target
        if not read_subscriber(m, &who) or not plain_aor(m.buf, m.uri, &uri) or link >= table.link_count:
            return False
        # With a SIPS URI our Contact is another (RFC 3261 section 12.1.1).
        if table.links[link].family != AF_INET or (m.buf + m.uri.off)[3] == b"s":
            return False
        if not leads_to_contact(m, &who.contact, request.source_ip, request.source_port, self.nat):
            return False
        event = self.events[index]
        user, host = request.text(uri.user), request.text(uri.host)
        if self.domains and host not in self.domains:
            return False
        target_host = request.text(who.contact.host)
        if target_host not in self.allowed:
            return False
        memset(&target, 0, sizeof(Target))
        read_address(m.buf + who.contact.host.off, who.contact.host.len, target.address)
        if memcmp(target.address, request.source_ip, 16) != 0 and not self.believes(request):
            if table.count_doubts(target.address) >= self.unproven_most:
                return False
            source = f";from={format_address(request.source_ip)}"
        if self.quota is not None and not self.quota.has_room(request, event, user, host):
            return False
        try:
            row_id = new_id("active_watchers")
            step = <BeginStep*>grown(<void**>&batch.begin_steps, &batch.begin_room, len(batch.begun), sizeof(BeginStep))
            slot = table.reserve()
        except Exception:
            return False        # refused where errors become responses
        row = &table.rows[slot]
        if source is not None:
            # Counted before the commit: the next of this tick may name the same address.
            target.port, target.link = who.contact.port if who.contact.port else DEFAULT_PORT, link
            target.explicit = who.contact.explicit
            if table.aim(row, &target) < 0 or table.begin_doubt(row) < 0:
                table.release_row(slot)
                return False
        if self.quota is not None:
            self.quota.enter(slot, request, event, user, host)
        step.slot, step.row_id, step.since = slot, row_id, <uint32_t>now
        step.granted = self.granted(m, &self.packages[index])
        step.until = self.until(now, step.granted)
        table.write_tag(row, text)
        tag = PyUnicode_DecodeUTF8(text, TAG_SIZE, NULL)
        aim = f"udp:{target_host}:{who.contact.port if who.contact.port else DEFAULT_PORT}"
        contact = decode(text, table.write_contact(row, link, text))
        batch.writes.append(("active_watchers_insert", (
            row_id, f"sip:{user}@{host}", request.text(who.remote.user), request.text(who.remote.host),
            request.text(who.local.user), request.text(who.local.host), event, request.text(m.event_id),
            tag, request.text(m.from_tag), request.text(m.call_id), RESERVED_CSEQS, m.cseq,
            request.text(who.contact_text), None, step.until, 1, "", 0, origin.local, contact,
            request.text(who.remote_text), request.text(who.local_text), step.since,
            aim if source is None else aim + source, self.boot,
        )))
        batch.resources.append((event, (user, host)))
        batch.begun.append(request)
        return True

    cdef bint believes(self, Message request) except -1:
        # Whether who sent it may name any Contact address: a trusted peer, or somebody who has proven who he is.
        return self.trusted.has(request.source_ip) or request.identity is not None

    cdef bint extend(self, Arrivals batch, Message request, int index, double now, set claimed) except -1:
        cdef ExtendStep* step
        cdef Row* row
        cdef object origin = request.origin
        cdef uint32_t slot = self.table.renewable(
            &request.m, origin.link, request.source_ip, request.source_port, self.nat
        )
        if slot == 0 or slot in claimed or slot in self.lanes or slot in self.shared:
            return False
        # A proven sender may go on with a dialog of their own only.
        if request.identity is not None and (slot in self.asserted or not self.table.watched_by(slot, &request.m)):
            return False
        row = &self.table.rows[slot]
        step = <ExtendStep*>grown(
            <void**>&batch.extend_steps, &batch.extend_room, len(batch.extended), sizeof(ExtendStep)
        )
        self.lanes[slot] = None
        step.slot = slot
        step.granted = self.granted(&request.m, &self.packages[index])
        step.until = self.until(now, step.granted)
        step.mark = max(row.cseq + RESERVED_CSEQS, row.cseq_mark)
        batch.writes.append(("active_watchers_extend", (row.row_id, step.until, request.m.cseq, step.mark, self.boot)))
        batch.extended.append(request)
        return True

    # ---- after the commit ----

    def begun(self, Arrivals batch, list gids, bytes server, double now):
        """Fill and answer what the commit began, in the groups of `gids`; return the slots in the same order."""
        cdef uint32_t i
        cdef BeginStep* step
        cdef Message request
        cdef char tag[TAG_SIZE]
        cdef list slots = []
        for i in range(len(batch.begun)):
            step = &batch.begin_steps[i]
            request = <Message>batch.begun[i]
            self.table.begin(step.slot, gids[i], request, request.origin.link, step.until, step.since, step.row_id)
            self.table.write_tag(&self.table.rows[step.slot], tag)
            self.answer(request, step.slot, step.granted, tag[:TAG_SIZE], server, now)
            slots.append(step.slot)
        return slots

    def extended(self, Arrivals batch, bytes server, double now):
        """Refresh and answer what the commit extended; return (slots, their groups)."""
        cdef uint32_t i
        cdef ExtendStep* step
        cdef Message request
        cdef list slots = []
        cdef set groups = set()
        for i in range(len(batch.extended)):
            step = &batch.extend_steps[i]
            request = <Message>batch.extended[i]
            self.table.refresh(step.slot, expires_at=step.until, remote_cseq=request.m.cseq, cseq_mark=step.mark)
            # A NOTIFY that failed meanwhile ends nothing: who refreshes is there.
            self.table.settle(step.slot)
            self.answer(request, step.slot, step.granted, b"", server, now)
            slots.append(step.slot)
            groups.add(self.table.rows[step.slot].group)
        return slots, groups

    cdef int answer(self, Message request, uint32_t slot, uint32_t granted, bytes tag, bytes server, double now) except -1:
        cdef char line[1100]
        cdef Row* row = &self.table.rows[slot]
        cdef char* p = emit(line, b"Expires: ", 9)
        p = emit_number(p, granted)
        p = emit(p, b"\r\nContact: <", 12)
        p += self.table.write_contact(row, self.table.targets[row.target].link, p)
        p = emit(p, b">\r\n", 3)
        self.transactions.accept(request, tag, server + line[:p - line], now)
        return 0

    def tell(self, list slots):
        """Queue a NOTIFY with the present state for each."""
        cdef uint32_t slot
        for slot in slots:
            self.table.want(slot)

    def extended_slots(self, Arrivals batch):
        """Return the lanes that a batch has taken."""
        cdef uint32_t i
        return [batch.extend_steps[i].slot for i in range(len(batch.extended))]

    def undo(self, Arrivals batch):
        """Give back the rows of subscriptions that the database refused."""
        cdef uint32_t i
        for i in range(len(batch.begun)):
            if self.quota is not None:
                self.quota.leave(batch.begin_steps[i].slot)
            self.table.release_row(batch.begin_steps[i].slot)


cdef void* grown(void** items, uint32_t* room, uint32_t count, size_t size) except NULL:
    # The place of the next item in an array that doubles.
    cdef uint32_t wanted = room[0]
    cdef void* more
    if count == wanted:
        wanted = wanted * 2 if wanted else 32
        more = realloc(items[0], wanted * size)
        if more == NULL:
            raise MemoryError
        items[0] = more
        room[0] = wanted
    return <char*>items[0] + count * size
