"""`python -m presence` is the command `presence`."""

from presence.cli import main

raise SystemExit(main())
