"""A minimal registrar (RFC 3261 section 10)."""
