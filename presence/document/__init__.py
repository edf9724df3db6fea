"""Presence documents as values (RFC 3863)."""
