"""Describes an op, a node of the IR, a value and a graph, and counts the size of Inductor's own text."""
