"""The same work done by Trunkline and by others from Python, in turns.

Read `rows` first, which says what is compared with what, then `load`, `drive` and `turn`, which are
one turn in a process of its own, and `rounds`, which plays them all. `sides` has a file for each
who is compared; what each has to do is in `sides.side`.
"""
