# Blocks of bytes in chunks of their own: the strings of dialogs, which stay for months and vary in length, and the
# responses of transactions, which all go after 32 s. With malloc they would lie between each other, and after a
# storm of logins nothing could be given back. A block is named by 32 bits: its chunk and its place in it.
# Uses: pool. Used by: transactions, slab.

from libc.stdlib cimport calloc, free, malloc, qsort, realloc


cdef inline char* block_at(const Chunks* chunks, uint32_t block) noexcept nogil:
    return chunks.bases[block >> BLOCK_BITS] + <size_t>(block & (CHUNK_UNITS - 1)) * UNIT_BYTES


cdef uint32_t take_chunk(Chunks* chunks) noexcept nogil:
    """The number of an empty chunk, 0 when there is no memory."""
    cdef uint32_t number = chunks.vacant, capacity
    cdef Chunk* items
    cdef char** bases
    cdef char* base
    if number == 0 and chunks.count == chunks.capacity:
        capacity = chunks.capacity * 2 if chunks.capacity else 64
        if capacity > CHUNKS_MOST:
            return 0
        items = <Chunk*>realloc(chunks.items, capacity * sizeof(Chunk))
        if items == NULL:
            return 0
        chunks.items = items
        bases = <char**>realloc(chunks.bases, capacity * sizeof(char*))
        if bases == NULL:
            return 0
        chunks.bases = bases
        chunks.capacity = capacity
        if chunks.count == 0:
            chunks.count = 1        # number 0 means "none"
            chunks.bases[0] = NULL
    if chunks.spare_count:
        chunks.spare_count -= 1
        base = chunks.spares[chunks.spare_count]
    else:
        base = <char*>new_pages(CHUNK_BYTES)
        if base == NULL:
            return 0
        chunks.mapped += 1
    if number:
        chunks.vacant = chunks.items[number].next
    else:
        number = chunks.count
        chunks.count += 1
    memset(&chunks.items[number], 0, sizeof(Chunk))
    chunks.bases[number] = base
    return number


cdef void drop_chunk(Chunks* chunks, uint32_t number) noexcept nogil:
    if chunks.spare_count < SPARE_CHUNKS:
        chunks.spares[chunks.spare_count] = chunks.bases[number]
        chunks.spare_count += 1
    else:
        munmap(chunks.bases[number], CHUNK_BYTES)
        chunks.mapped -= 1
    chunks.bases[number] = NULL
    chunks.items[number].next = chunks.vacant
    chunks.vacant = number


cdef void close_chunks(Chunks* chunks) noexcept nogil:
    cdef uint32_t i
    for i in range(1, chunks.count):
        if chunks.bases[i] != NULL:
            munmap(chunks.bases[i], CHUNK_BYTES)
    for i in range(chunks.spare_count):
        munmap(chunks.spares[i], CHUNK_BYTES)
    free(chunks.items)
    free(chunks.bases)
    memset(chunks, 0, sizeof(Chunks))


# ---- blocks that go in about the order they came ----

cdef uint32_t put_in_order(Chunks* chunks, const char* data, uint32_t size) noexcept nogil:
    """Keep a copy behind the last one; 0 when there is no memory or more than a chunk holds."""
    cdef uint32_t units = (size + UNIT_BYTES - 1) // UNIT_BYTES
    cdef uint32_t number = chunks.filling
    cdef uint32_t block
    if units > CHUNK_UNITS:
        return 0
    if number == 0 or chunks.items[number].used + units > CHUNK_UNITS:
        number = take_chunk(chunks)
        if number == 0:
            return 0
        if chunks.filling and chunks.items[chunks.filling].live == 0:
            drop_chunk(chunks, chunks.filling)
        chunks.filling = number
    block = number << BLOCK_BITS | chunks.items[number].used
    chunks.items[number].used += units
    chunks.items[number].live += 1
    memcpy(block_at(chunks, block), data, size)
    return block


cdef void drop_in_order(Chunks* chunks, uint32_t block) noexcept nogil:
    cdef uint32_t number = block >> BLOCK_BITS
    if block == 0:
        return
    chunks.items[number].live -= 1
    if chunks.items[number].live == 0:
        if number == chunks.filling:
            chunks.items[number].used = 0
        else:
            drop_chunk(chunks, number)


# ---- blocks of any length and any life: chunks by size, freed blocks used again ----

cdef inline uint32_t size_class(uint32_t units) noexcept nogil:
    # Exact up to 32 units; then four sizes for each doubling.
    cdef uint32_t power
    if units <= 32:
        return units - 1
    power = pr_highest_bit(units - 1)
    return 32 + (power - 5) * 4 + ((units - 1) >> (power - 2) & 3)


cdef inline uint32_t class_units(uint32_t size_class) noexcept nogil:
    cdef uint32_t power
    if size_class < 32:
        return size_class + 1
    power = (size_class - 32) // 4 + 5
    return ((size_class - 32) % 4 + 5) << (power - 2)


cdef uint32_t take_block(Arena* arena, uint32_t size) noexcept nogil:
    """Room for `size` bytes, at most BLOCK_MOST; 0 when there is no memory."""
    cdef Chunks* chunks = &arena.chunks
    cdef uint32_t kind = size_class((max(size, <uint32_t>1) + UNIT_BYTES - 1) // UNIT_BYTES)
    cdef uint32_t units = class_units(kind)
    cdef uint32_t number = arena.roomy[kind]
    cdef uint32_t place
    cdef Chunk* chunk
    if number == 0:
        number = take_chunk(chunks)
        if number == 0:
            return 0
        chunks.items[number].size_class = kind
        enlist_chunk(arena, number)
    chunk = &chunks.items[number]
    if chunk.freed:
        place = chunk.freed - 1
        chunk.freed = (<uint32_t*>block_at(chunks, number << BLOCK_BITS | place))[0]
    else:
        place = chunk.used
        chunk.used += units
    chunk.live += 1
    if chunk.freed == 0 and chunk.used + units > CHUNK_UNITS:
        delist_chunk(arena, number)
    return number << BLOCK_BITS | place


cdef void drop_block(Arena* arena, uint32_t block) noexcept nogil:
    cdef Chunks* chunks = &arena.chunks
    cdef uint32_t number = block >> BLOCK_BITS
    cdef Chunk* chunk
    if block == 0:
        return
    chunk = &chunks.items[number]
    chunk.live -= 1
    if chunk.live == 0:
        if chunk.listed:
            delist_chunk(arena, number)
        drop_chunk(chunks, number)
        return
    (<uint32_t*>block_at(chunks, block))[0] = chunk.freed
    chunk.freed = (block & (CHUNK_UNITS - 1)) + 1
    if not chunk.listed:
        enlist_chunk(arena, number)


cdef uint32_t block_room(const Arena* arena, uint32_t block) noexcept nogil:
    """How many bytes the block holds."""
    return class_units(arena.chunks.items[block >> BLOCK_BITS].size_class) * UNIT_BYTES if block else 0


cdef void enlist_chunk(Arena* arena, uint32_t number) noexcept nogil:
    # At the end: while the first one is filled up, the others may fall empty.
    cdef Chunk* chunk = &arena.chunks.items[number]
    cdef uint32_t last = arena.last_roomy[chunk.size_class]
    chunk.listed = True
    chunk.next = 0
    chunk.previous = last
    if last:
        arena.chunks.items[last].next = number
    else:
        arena.roomy[chunk.size_class] = number
    arena.last_roomy[chunk.size_class] = number


cdef void delist_chunk(Arena* arena, uint32_t number) noexcept nogil:
    cdef Chunk* chunk = &arena.chunks.items[number]
    chunk.listed = False
    if chunk.previous:
        arena.chunks.items[chunk.previous].next = chunk.next
    else:
        arena.roomy[chunk.size_class] = chunk.next
    if chunk.next:
        arena.chunks.items[chunk.next].previous = chunk.previous
    else:
        arena.last_roomy[chunk.size_class] = chunk.previous
