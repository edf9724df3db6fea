"""MD5, SHA-256 and SHA-512/256 (RFC 1321, FIPS 180-4), for digest authentication: no library is loaded for them.

A request proven by digest is hashed twice, over some 200 bytes: calling a general library for that costs more than the
hashing. The constants are what the standards derive them from: sines, and roots of primes.
Uses: nothing. Used by: credentials.
"""

from math import isqrt, sin

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    static uint32_t pr_md5_k[64];
    static uint64_t pr_sha_k[80], pr_sha_start[8], pr_sha_start_256[8];

    #define PR_ROL32(x, n) ((x) << (n) | (x) >> (32 - (n)))
    #define PR_ROR32(x, n) ((x) >> (n) | (x) << (32 - (n)))
    #define PR_ROR64(x, n) ((x) >> (n) | (x) << (64 - (n)))

    static void pr_md5_block(uint32_t *h, const uint8_t *p)
    {
        static const uint8_t turns[16] = {7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21};
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], f, g, m[16];
        int i;
        for (i = 0; i < 16; i++)
            m[i] = p[4 * i] | (uint32_t)p[4 * i + 1] << 8 | (uint32_t)p[4 * i + 2] << 16 | (uint32_t)p[4 * i + 3] << 24;
        for (i = 0; i < 64; i++) {
            switch (i >> 4) {
            case 0: f = (b & c) | (~b & d); g = i; break;
            case 1: f = (d & b) | (~d & c); g = 5 * i + 1; break;
            case 2: f = b ^ c ^ d; g = 3 * i + 5; break;
            default: f = c ^ (b | ~d); g = 7 * i;
            }
            f += a + pr_md5_k[i] + m[g & 15];
            a = d; d = c; c = b;
            b += PR_ROL32(f, turns[(i >> 4) * 4 + (i & 3)]);
        }
        h[0] += a; h[1] += b; h[2] += c; h[3] += d;
    }

    static void pr_sha256_block(uint32_t *h, const uint8_t *p)
    {
        uint32_t w[64], s[8], one, two;
        int i;
        for (i = 0; i < 16; i++)
            w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
        for (i = 16; i < 64; i++)
            w[i] = w[i - 16] + w[i - 7]
                + (PR_ROR32(w[i - 15], 7) ^ PR_ROR32(w[i - 15], 18) ^ w[i - 15] >> 3)
                + (PR_ROR32(w[i - 2], 17) ^ PR_ROR32(w[i - 2], 19) ^ w[i - 2] >> 10);
        memcpy(s, h, sizeof s);
        for (i = 0; i < 64; i++) {
            one = s[7] + (PR_ROR32(s[4], 6) ^ PR_ROR32(s[4], 11) ^ PR_ROR32(s[4], 25))
                + ((s[4] & s[5]) ^ (~s[4] & s[6])) + (uint32_t)(pr_sha_k[i] >> 32) + w[i];
            two = (PR_ROR32(s[0], 2) ^ PR_ROR32(s[0], 13) ^ PR_ROR32(s[0], 22))
                + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
            s[7] = s[6]; s[6] = s[5]; s[5] = s[4]; s[4] = s[3] + one;
            s[3] = s[2]; s[2] = s[1]; s[1] = s[0]; s[0] = one + two;
        }
        for (i = 0; i < 8; i++)
            h[i] += s[i];
    }

    static void pr_sha512_block(uint64_t *h, const uint8_t *p)
    {
        uint64_t w[80], s[8], one, two;
        int i, k;
        for (i = 0; i < 16; i++)
            for (w[i] = 0, k = 0; k < 8; k++)
                w[i] = w[i] << 8 | p[8 * i + k];
        for (i = 16; i < 80; i++)
            w[i] = w[i - 16] + w[i - 7]
                + (PR_ROR64(w[i - 15], 1) ^ PR_ROR64(w[i - 15], 8) ^ w[i - 15] >> 7)
                + (PR_ROR64(w[i - 2], 19) ^ PR_ROR64(w[i - 2], 61) ^ w[i - 2] >> 6);
        memcpy(s, h, sizeof s);
        for (i = 0; i < 80; i++) {
            one = s[7] + (PR_ROR64(s[4], 14) ^ PR_ROR64(s[4], 18) ^ PR_ROR64(s[4], 41))
                + ((s[4] & s[5]) ^ (~s[4] & s[6])) + pr_sha_k[i] + w[i];
            two = (PR_ROR64(s[0], 28) ^ PR_ROR64(s[0], 34) ^ PR_ROR64(s[0], 39))
                + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
            s[7] = s[6]; s[6] = s[5]; s[5] = s[4]; s[4] = s[3] + one;
            s[3] = s[2]; s[2] = s[1]; s[1] = s[0]; s[0] = one + two;
        }
        for (i = 0; i < 8; i++)
            h[i] += s[i];
    }

    /* What is left of a text, the bit 1, zeros and the length in bits: one or two blocks; returns how many bytes. */
    static size_t pr_pad(uint8_t *out, const uint8_t *rest, size_t left, uint64_t size, size_t block, int little)
    {
        size_t total = left + 1 + block / 8 > block ? 2 * block : block;
        int i;
        memset(out, 0, total);
        memcpy(out, rest, left);
        out[left] = 0x80;
        for (i = 0; i < 8; i++)
            out[little ? total - 8 + i : total - 1 - i] = (uint8_t)(size * 8 >> 8 * i);
        return total;
    }

    /* Write the hash of a text in small hex: kind 0 is MD5 (32 digits), 1 SHA-256, 2 SHA-512/256 (64 digits). */
    static void pr_hash_hex(int kind, const char *text, size_t size, char *out)
    {
        static const char digits[] = "0123456789abcdef";
        const uint8_t *p = (const uint8_t *)text;
        uint8_t tail[256], raw[32];
        size_t block = kind == 2 ? 128 : 64, done = size / block * block, i, total;
        uint32_t h[8] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0, 0, 0, 0};
        uint64_t l[8];
        if (kind == 1)
            for (i = 0; i < 8; i++)
                h[i] = (uint32_t)(pr_sha_start[i] >> 32);
        memcpy(l, pr_sha_start_256, sizeof l);
        total = pr_pad(tail, p + done, size - done, size, block, kind == 0);
        for (i = 0; i < done + total; i += block) {
            const uint8_t *at = i < done ? p + i : tail + (i - done);
            if (kind == 0) pr_md5_block(h, at);
            else if (kind == 1) pr_sha256_block(h, at);
            else pr_sha512_block(l, at);
        }
        for (i = 0; i < 32; i++)
            raw[i] = kind == 0 ? (uint8_t)(h[i / 4 & 3] >> 8 * (i & 3))
                : kind == 1 ? (uint8_t)(h[i / 4] >> (24 - 8 * (i & 3)))
                : (uint8_t)(l[i / 8] >> (56 - 8 * (i & 7)));
        for (i = 0; i < (kind ? 32u : 16u); i++) {
            out[2 * i] = digits[raw[i] >> 4];
            out[2 * i + 1] = digits[raw[i] & 15];
        }
    }

    /* FIPS 180-4 section 5.3.6: the start of SHA-512/256 is a SHA-512 of its name from another start. */
    static void pr_fill_start(void)
    {
        uint8_t tail[256];
        int i;
        for (i = 0; i < 8; i++)
            pr_sha_start_256[i] = pr_sha_start[i] ^ 0xa5a5a5a5a5a5a5a5ULL;
        pr_pad(tail, (const uint8_t *)"SHA-512/256", 11, 11, 128, 0);
        pr_sha512_block(pr_sha_start_256, tail);
    }
    """
    uint32_t pr_md5_k[64]
    uint64_t pr_sha_k[80]
    uint64_t pr_sha_start[8]
    void pr_hash_hex(int kind, const char* text, size_t size, char* out) noexcept nogil
    void pr_fill_start() noexcept

cdef enum:
    HASH_KINDS = 3
    HASH_HEX = 64           # digits of the longest


cdef object cube_root(object n):
    cdef object low = 0, high = 1 << (n.bit_length() // 3 + 1), middle
    while low < high:
        middle = (low + high + 1) >> 1
        if middle * middle * middle <= n:
            low = middle
        else:
            high = middle - 1
    return low


cdef void fill_hashes() except *:
    cdef list primes = [n for n in range(2, 410) if all([n % d for d in range(2, isqrt(n) + 1)])]
    cdef int i
    for i in range(64):
        pr_md5_k[i] = int(abs(sin(i + 1)) * 2**32)
    for i in range(80):
        pr_sha_k[i] = cube_root(primes[i] << 192) & 0xFFFFFFFFFFFFFFFF
    for i in range(8):
        pr_sha_start[i] = isqrt(primes[i] << 128) & 0xFFFFFFFFFFFFFFFF
    pr_fill_start()


fill_hashes()


def hash_hex(int kind, bytes text not None):
    """Return a hash in small hex digits; `kind` is 0 for MD5, 1 for SHA-256, 2 for SHA-512/256."""
    cdef char out[HASH_HEX]
    if not 0 <= kind < HASH_KINDS:
        raise ValueError(f"no hash {kind}")
    pr_hash_hex(kind, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), out)
    return decode(out, 64 if kind else 32)
