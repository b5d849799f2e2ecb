"""Operators over a whole sequence: a reference in torch, and a native kernel where there is one."""
