"""The Inductor that is loaded: its modules, when it is loaded, and its nodes, read as stored."""
