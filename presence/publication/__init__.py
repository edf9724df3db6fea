"""The event state compositor (RFC 3903)."""
