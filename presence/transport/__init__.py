"""Sockets: UDP and TCP on the same address."""
