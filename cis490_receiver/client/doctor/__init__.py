"""The host's self-check. Each check looks at one thing and says what it saw and what to do; none changes anything but
what git remembers of its remote, and none can stop the others."""
