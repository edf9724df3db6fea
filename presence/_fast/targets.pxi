# Next hops: the link, flow, address and port that NOTIFYs go to, once for all rows that share them. Two rows go to
# the same next hop exactly when they name the same target.
# Uses: pool. Used by: slab.

cdef uint32_t take_target(Pool* pool, Index* index, Target* wanted, uint64_t secret) noexcept nogil:
    """The number of the target that is like `wanted`, counted once more; 0 when there is no memory."""
    cdef uint32_t number
    cdef Target* known
    wanted.key = pr_hash(
        <const char*>wanted.address, 16,
        secret ^ (<uint64_t>wanted.flow << 32 | <uint32_t>wanted.port << 16 | wanted.explicit << 15 | wanted.link),
    )
    number = index_head(index, wanted.key)[0]
    while number:
        known = <Target*>pool.items + number
        if same_target(known, wanted):
            known.refs += 1
            return number
        number = known.next
    number = take_lowest(pool)
    if number:
        wanted.refs = 1
        wanted.udp_until = 0
        (<Target*>pool.items + number)[0] = wanted[0]
        index_add(index, number)
    return number


cdef inline bint same_target(const Target* one, const Target* other) noexcept nogil:
    return (one.key == other.key and one.link == other.link and one.flow == other.flow and one.port == other.port
            and one.explicit == other.explicit and memcmp(one.address, other.address, 16) == 0)


cdef void drop_target(Pool* pool, Index* index, uint32_t number) noexcept nogil:
    cdef Target* target = <Target*>pool.items + number
    if number == 0:
        return
    target.refs -= 1
    if target.refs == 0:
        index_remove(index, number)
        drop_number(pool, number)
