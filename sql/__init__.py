"""The schema's numbered migrations and the named statements, installed as `presence.sql`."""
