# What a load peer answers to challenges: every presentity and watcher is a user with a nonce of its own.
# Uses: hashes, loadplaces. Used by: loadplaces, loadflights.

cdef enum:
    PROOF_URI_LONGEST = 512


cdef bint read_nonce(const SipMsg* m, LoadProof* proof) noexcept nogil:
    """Keep the nonce of the first challenge of a 401."""
    cdef const char* begin = <const char*>memmem(m.buf, m.size, b'nonce="', 7)
    cdef const char* end
    if begin == NULL:
        return False
    begin += 7
    end = find_byte(begin, m.buf + m.size, b'"')
    if end == begin or end - begin > sizeof(proof.nonce):
        return False
    memcpy(proof.nonce, begin, end - begin)
    proof.nonce_size = <uint8_t>(end - begin)
    proof.count = 0
    return True


cdef char* put_proof(char* p, int kind, LoadProof* proof, const char* user, const char* realm, uint32_t realm_size,
                     const char* method, const char* uri, uint32_t uri_size) noexcept nogil:
    """Write the header line with the next nonce-count in front of a line end; nothing while nobody has asked.

    `user` has nine characters; the password is "bench".
    """
    cdef char text[PROOF_LONGEST]
    cdef char ha1[HASH_HEX]
    cdef char ha2[HASH_HEX]
    cdef char* end
    cdef uint32_t digits = 64 if kind else 32
    if kind < 0 or proof.nonce_size == 0 or uri_size > PROOF_URI_LONGEST or realm_size > 255:
        return p
    proof.count += 1
    end = put_bytes(text, user, 9)
    end[0] = c":"
    end = put_text(put_bytes(end + 1, realm, realm_size), b":bench")
    pr_hash_hex(kind, text, end - text, ha1)
    end = put_text(put_text(text, method), b":")
    end = put_bytes(end, uri, uri_size)
    pr_hash_hex(kind, text, end - text, ha2)
    end = put_bytes(text, ha1, digits)
    end[0] = c":"
    end = put_bytes(end + 1, proof.nonce, proof.nonce_size)
    end[0] = c":"
    end = put_text(put_hex(end + 1, proof.count, 8), b":6c6f6164:auth:")
    end = put_bytes(end, ha2, digits)
    pr_hash_hex(kind, text, end - text, ha1)
    p = put_bytes(put_text(p, b'\r\nAuthorization: Digest username="'), user, 9)
    p = put_bytes(put_text(p, b'", realm="'), realm, realm_size)
    p = put_bytes(put_text(p, b'", nonce="'), proof.nonce, proof.nonce_size)
    p = put_bytes(put_text(p, b'", uri="'), uri, uri_size)
    p = put_bytes(put_text(p, b'", response="'), ha1, digits)
    p = put_text(p, b'", algorithm=')
    if kind == 0:
        p = put_text(p, b"MD5")
    elif kind == 1:
        p = put_text(p, b"SHA-256")
    else:
        p = put_text(p, b"SHA-512-256")
    return put_text(put_hex(put_text(p, b', qop=auth, nc='), proof.count, 8), b', cnonce="6c6f6164"')
