"""What is written: an op, a node of the IR, a value, a graph, and the size of Inductor's own text."""
