"""Instrumented builds of the compiled core, and how tests run with them (see docs/testing.md)."""
