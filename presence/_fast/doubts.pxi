# Addresses that somebody else has NOTIFYs sent to and that have not answered one yet: how many rows do, by address.
# RFC 3261 section 26.1.5: nobody shall make a server send to a third party more than was sent to it.
# Uses: pool. Used by: slab.

cdef uint32_t find_doubt(const Pool* pool, const Index* index, uint64_t key) noexcept nogil:
    cdef uint32_t number = index_head(index, key)[0]
    while number and (<Doubt*>pool.items + number).key != key:
        number = (<Doubt*>pool.items + number).next
    return number


cdef int add_doubt(Pool* pool, Index* index, uint64_t key) noexcept nogil:
    """Count one more row that goes to the address with this hash; -1 when there is no memory."""
    cdef uint32_t number = find_doubt(pool, index, key)
    if number == 0:
        number = take_lowest(pool)
        if number == 0:
            return -1
        (<Doubt*>pool.items + number).key = key
        index_add(index, number)
    (<Doubt*>pool.items + number).count += 1
    return 0


cdef void drop_doubt(Pool* pool, Index* index, uint64_t key) noexcept nogil:
    cdef uint32_t number = find_doubt(pool, index, key)
    cdef Doubt* doubt = <Doubt*>pool.items + number
    if number == 0:
        return
    doubt.count -= 1
    if doubt.count == 0:
        index_remove(index, number)
        drop_number(pool, number)
