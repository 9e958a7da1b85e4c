"""Who may ask, how much, and how long it may take: connections, bodies, sessions, and what guards every request."""
