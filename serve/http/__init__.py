"""What stands before and around every route: the gate, bodies and forms as they come in, events as they go out."""
