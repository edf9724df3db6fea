"""XCAP: documents of users, and whose parts can be read and written (RFC 4825)."""
