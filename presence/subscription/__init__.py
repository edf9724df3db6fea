"""The notifier (RFC 6665)."""
