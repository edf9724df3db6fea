"""XCAP (RFC 4825): documents of users, and who writes them."""
