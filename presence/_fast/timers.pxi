# Lazy timer wheel: entries are only ever appended; whoever owns an item checks at expiry whether it is still due.
# Uses: nothing. Used by: transactions, watchers, and Python for publications.

cdef inline int vector_push(U32Vector* vector, uint32_t item) noexcept nogil:
    cdef uint32_t capacity
    cdef uint32_t* grown
    if vector.count == vector.capacity:
        capacity = vector.capacity * 2 if vector.capacity else 4
        grown = <uint32_t*>realloc(vector.items, capacity * sizeof(uint32_t))
        if grown == NULL:
            return -1
        vector.items = grown
        vector.capacity = capacity
    vector.items[vector.count] = item
    vector.count += 1
    return 0


cdef inline void vector_shrink(U32Vector* vector) noexcept nogil:
    cdef uint32_t* shrunk
    if vector.capacity >= 64 and vector.count < vector.capacity // 4:
        shrunk = <uint32_t*>realloc(vector.items, vector.capacity // 2 * sizeof(uint32_t))
        if shrunk != NULL:
            vector.items = shrunk
            vector.capacity //= 2


cdef class Wheel:
    """Deadlines of numbered items, in ticks of `tick_s` seconds.

    A deadline beyond the horizon (size x tick) comes up early, at the horizon; the owner adds it again.
    """

    def __cinit__(self, double tick_s, double now, uint32_t size=4096):
        if size & (size - 1) or size < 2 or tick_s <= 0:
            raise ValueError("size must be a power of two and tick_s positive")
        self.size = size
        self.tick_s = tick_s
        self.current = <uint64_t>(now / tick_s)
        self.buckets = <U32Vector*>calloc(size, sizeof(U32Vector))
        if self.buckets == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef uint32_t i
        if self.buckets != NULL:
            for i in range(self.size):
                free(self.buckets[i].items)
            free(self.buckets)
        free(self.spare.items)

    cdef int arm(self, uint32_t item, double at) noexcept nogil:
        cdef uint64_t tick = self.current + 1
        if at > 0:
            tick = <uint64_t>(at / self.tick_s) + 1
        if tick <= self.current:
            tick = self.current + 1
        if tick >= self.current + self.size:
            tick = self.current + self.size - 1
        self.armed += 1
        return vector_push(&self.buckets[tick & (self.size - 1)], item)

    cdef U32Vector* next_bucket(self, double now) noexcept nogil:
        # The entries of the next tick that has passed, detached so that the owner may arm while it walks them;
        # NULL when the wheel has caught up with `now`. Valid until the next call.
        cdef uint64_t target = <uint64_t>(now / self.tick_s)
        cdef U32Vector taken
        cdef U32Vector* bucket
        if target > self.current + self.size:
            self.current = target - self.size
        while self.current < target:
            self.current += 1
            bucket = &self.buckets[self.current & (self.size - 1)]
            if bucket.count:
                taken = bucket[0]
                bucket[0] = self.spare
                bucket.count = 0
                self.spare = taken
                self.armed -= taken.count
                if bucket.capacity > 1024:
                    # Memory taken by a burst is given back.
                    free(bucket.items)
                    bucket.items = NULL
                    bucket.capacity = 0
                return &self.spare
        return NULL

    def add(self, uint32_t item, double at):
        """Let `item` come up in `due` once `at` (epoch seconds) has passed."""
        if self.arm(item, at) < 0:
            raise MemoryError

    def due(self, double now):
        """Return the items whose deadline (or the horizon) has passed; an item added twice comes twice."""
        cdef list items = []
        cdef U32Vector* bucket
        cdef uint32_t i
        while True:
            bucket = self.next_bucket(now)
            if bucket == NULL:
                return items
            for i in range(bucket.count):
                items.append(bucket.items[i])

    def __len__(self):
        return self.armed
