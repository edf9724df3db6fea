"""Event packages, one class a file (RFC 6665 section 5)."""
