"""The SIP protocol without I/O (RFC 3261)."""
