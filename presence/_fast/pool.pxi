# Numbered items in one array: rows, groups, targets, transactions. The array grows without being copied or touched
# ahead, the lowest free number is given out first, so that what a burst took falls empty from the top, and whole
# stretches that fell empty go back to the system. Beside it an index by key that grows and shrinks a bucket at a time.
# Uses: nothing. Used by: transactions, slab, targets, watchers.

from libc.string cimport memcmp, memcpy, memmove, memset, strlen

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* address, size_t size, int protection, int flags, int fd, long offset)
    void* mremap(void* address, size_t old_size, size_t new_size, int flags)
    int munmap(void* address, size_t size)
    int madvise(void* address, size_t size, int advice)
    enum: PROT_READ
    enum: PROT_WRITE
    enum: MAP_PRIVATE
    enum: MAP_ANONYMOUS
    enum: MAP_NORESERVE
    enum: MREMAP_MAYMOVE
    enum: MADV_DONTNEED

cdef extern from *:
    """
    #include <stdint.h>
    #define pr_lowest_zero(word) ((uint32_t)__builtin_ctzll(~(uint64_t)(word)))
    #define pr_fetch(at) __builtin_prefetch((const void *)(at))
    #define pr_highest_bit(word) (31 - (uint32_t)__builtin_clz(word))
    """
    uint32_t pr_lowest_zero(uint64_t word) noexcept nogil
    void pr_fetch(const void* at) noexcept nogil
    uint32_t pr_highest_bit(uint32_t word) noexcept nogil

cdef uint64_t ALL_TAKEN = 0xFFFFFFFFFFFFFFFFULL


# ---- pages ----

cdef void* new_pages(size_t size) noexcept nogil:
    """Zeroes that take memory where they are written to; NULL when there is none."""
    cdef void* pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    return NULL if <size_t>pages == <size_t>-1 else pages


cdef void* grow_pages(void* pages, size_t size, size_t wanted) noexcept nogil:
    """The same pages with zeroes behind them, perhaps elsewhere; NULL when there is no memory."""
    cdef void* grown = mremap(pages, size, wanted, MREMAP_MAYMOVE)
    return NULL if <size_t>grown == <size_t>-1 else grown


cdef void forget_pages(char* pages, size_t start, size_t end) noexcept nogil:
    """Give back the whole pages in between; they read as zeroes then."""
    start = (start + PAGE_BYTES - 1) & ~<size_t>(PAGE_BYTES - 1)
    end &= ~<size_t>(PAGE_BYTES - 1)
    if start < end:
        madvise(pages + start, end - start, MADV_DONTNEED)


# ---- numbers ----

cdef int open_pool(Pool* pool, uint32_t item_size) except -1:
    memset(pool, 0, sizeof(Pool))
    pool.item_size = item_size
    pool.capacity = POOL_LEAST
    pool.items = <char*>new_pages(<size_t>pool.capacity * item_size)
    pool.taken = <uint64_t*>new_pages(pool.capacity // 8)
    pool.full = <uint64_t*>new_pages(pool.capacity // 512)
    pool.stretches = <uint16_t*>new_pages(pool.capacity // STRETCH * sizeof(uint16_t))
    if pool.items == NULL or pool.taken == NULL or pool.full == NULL or pool.stretches == NULL:
        close_pool(pool)
        raise MemoryError
    # Number 0 means "none" everywhere.
    pool.taken[0] = 1
    pool.stretches[0] = 1
    pool.used = 1
    return 0


cdef void close_pool(Pool* pool) noexcept nogil:
    if pool.items != NULL:
        munmap(pool.items, <size_t>pool.capacity * pool.item_size)
    if pool.taken != NULL:
        munmap(pool.taken, pool.capacity // 8)
    if pool.full != NULL:
        munmap(pool.full, pool.capacity // 512)
    if pool.stretches != NULL:
        munmap(pool.stretches, pool.capacity // STRETCH * sizeof(uint16_t))
    memset(pool, 0, sizeof(Pool))


cdef int grow_pool(Pool* pool, uint32_t number) noexcept nogil:
    # Each array on its own: one that has grown already is only larger than it need be when another cannot.
    cdef uint64_t wanted = pool.capacity
    cdef void* grown
    while wanted <= number:
        wanted *= 2
    if wanted > POOL_MOST:
        return -1
    grown = grow_pages(pool.stretches, pool.capacity // STRETCH * sizeof(uint16_t), wanted // STRETCH * sizeof(uint16_t))
    if grown == NULL:
        return -1
    pool.stretches = <uint16_t*>grown
    grown = grow_pages(pool.full, pool.capacity // 512, wanted // 512)
    if grown == NULL:
        return -1
    pool.full = <uint64_t*>grown
    grown = grow_pages(pool.taken, pool.capacity // 8, wanted // 8)
    if grown == NULL:
        return -1
    pool.taken = <uint64_t*>grown
    grown = grow_pages(pool.items, <size_t>pool.capacity * pool.item_size, <size_t>wanted * pool.item_size)
    if grown == NULL:
        return -1
    pool.items = <char*>grown
    pool.capacity = <uint32_t>wanted
    return 0


cdef bint take_number(Pool* pool, uint32_t number) noexcept nogil:
    """Take this number, its item zeroed; False when it is taken or there is no memory. May move the items."""
    cdef uint32_t word = number // 64
    if number >= pool.capacity and grow_pool(pool, number) < 0:
        return False
    if pool.taken[word] >> (number & 63) & 1:
        return False
    pool.taken[word] |= <uint64_t>1 << (number & 63)
    if pool.taken[word] == ALL_TAKEN:
        pool.full[word // 64] |= <uint64_t>1 << (word & 63)
    pool.stretches[number // STRETCH] += 1
    pool.live += 1
    pool.used = max(pool.used, number + 1)
    memset(pool.items + <size_t>number * pool.item_size, 0, pool.item_size)
    return True


cdef uint32_t take_lowest(Pool* pool) noexcept nogil:
    """Take the lowest free number, its item zeroed; 0 when there is no memory. May move the items."""
    cdef uint32_t words = pool.capacity // 4096
    cdef uint32_t word, number
    while pool.room_from < words and pool.full[pool.room_from] == ALL_TAKEN:
        pool.room_from += 1
    if pool.room_from == words:
        number = pool.capacity
    else:
        word = pool.room_from * 64 + pr_lowest_zero(pool.full[pool.room_from])
        number = word * 64 + pr_lowest_zero(pool.taken[word])
    return number if take_number(pool, number) else 0


cdef void drop_number(Pool* pool, uint32_t number) noexcept nogil:
    """Give a number back; its item reads as zeroes."""
    cdef uint32_t word = number // 64
    cdef uint32_t stretch = number // STRETCH
    pool.taken[word] &= ~(<uint64_t>1 << (number & 63))
    pool.full[word // 64] &= ~(<uint64_t>1 << (word & 63))
    pool.room_from = min(pool.room_from, word // 64)
    pool.stretches[stretch] -= 1
    pool.live -= 1
    if pool.stretches[stretch] == 0 and stretch > pool.room_from * 4096 // STRETCH + 4:
        # Not what will be taken next: giving that back would only make the kernel zero it again.
        forget_pages(pool.items, <size_t>stretch * STRETCH * pool.item_size, <size_t>(stretch + 1) * STRETCH * pool.item_size)
        return
    memset(pool.items + <size_t>number * pool.item_size, 0, pool.item_size)


cdef uint64_t held_bytes(const Pool* pool) noexcept nogil:
    """The bytes of the stretches in use."""
    cdef uint64_t stretches = 0
    cdef uint32_t i
    for i in range((pool.used + STRETCH - 1) // STRETCH):
        stretches += pool.stretches[i] != 0
    return stretches * STRETCH * pool.item_size


# ---- an index by key: linear hashing, so that there is never a moment at which everything is hashed anew ----

cdef int open_index(Index* index, Pool* pool, uint32_t key_at, uint32_t next_at) except -1:
    index.pool = pool
    index.key_at = key_at
    index.next_at = next_at
    index.level = index.count = INDEX_LEAST
    index.capacity = INDEX_LEAST
    index.listed = 0
    index.heads = <uint32_t*>new_pages(<size_t>index.capacity * sizeof(uint32_t))
    if index.heads == NULL:
        raise MemoryError
    return 0


cdef void close_index(Index* index) noexcept nogil:
    if index.heads != NULL:
        munmap(index.heads, <size_t>index.capacity * sizeof(uint32_t))
        index.heads = NULL


cdef inline uint64_t key_of_item(const Index* index, uint32_t number) noexcept nogil:
    return (<uint64_t*>(index.pool.items + <size_t>number * index.pool.item_size + index.key_at))[0]


cdef inline uint32_t* next_of_item(const Index* index, uint32_t number) noexcept nogil:
    return <uint32_t*>(index.pool.items + <size_t>number * index.pool.item_size + index.next_at)


cdef inline uint32_t* index_head(const Index* index, uint64_t key) noexcept nogil:
    """The first number in the bucket of the key; the others follow by the items' `next`."""
    cdef uint32_t home = <uint32_t>key & (2 * index.level - 1)
    return &index.heads[home if home < index.count else home - index.level]


cdef void index_add(Index* index, uint32_t number) noexcept nogil:
    cdef uint32_t* head
    index.listed += 1
    if index.listed > index.count:
        split_bucket(index)
    head = index_head(index, key_of_item(index, number))
    next_of_item(index, number)[0] = head[0]
    head[0] = number


cdef void index_remove(Index* index, uint32_t number) noexcept nogil:
    cdef int joined = 0
    cdef uint32_t* link = index_head(index, key_of_item(index, number))
    while link[0] and link[0] != number:
        link = next_of_item(index, link[0])
    if link[0] == number:
        link[0] = next_of_item(index, number)[0]
        index.listed -= 1
    while joined < 8 and index.listed < index.count // 4 and index.count > INDEX_LEAST:
        join_buckets(index)
        joined += 1


cdef void split_bucket(Index* index) noexcept nogil:
    cdef uint32_t old = index.count - index.level
    cdef uint32_t at, after, mask = 2 * index.level - 1
    cdef void* grown
    if index.count == index.capacity:
        grown = grow_pages(index.heads, <size_t>index.capacity * sizeof(uint32_t), <size_t>index.capacity * 2 * sizeof(uint32_t))
        if grown == NULL:
            return      # longer chains
        index.heads = <uint32_t*>grown
        index.capacity *= 2
    at = index.heads[old]
    index.heads[old] = 0
    index.heads[index.count] = 0
    while at:
        after = next_of_item(index, at)[0]
        next_of_item(index, at)[0] = index.heads[<uint32_t>key_of_item(index, at) & mask]
        index.heads[<uint32_t>key_of_item(index, at) & mask] = at
        at = after
    index.count += 1
    if index.count == 2 * index.level:
        index.level = index.count


cdef void join_buckets(Index* index) noexcept nogil:
    cdef uint32_t* link
    if index.count == index.level:
        index.level //= 2
    index.count -= 1
    link = &index.heads[index.count - index.level]
    while link[0]:
        link = next_of_item(index, link[0])
    link[0] = index.heads[index.count]
    index.heads[index.count] = 0
    if index.count % INDEX_STRETCH == 0:
        forget_pages(<char*>index.heads, <size_t>index.count * sizeof(uint32_t), <size_t>(index.count + INDEX_STRETCH) * sizeof(uint32_t))
