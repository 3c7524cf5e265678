"""What learning is, in no framework: what an engine counts, scales, freezes and draws.

An engine of a framework keeps the forward and the backward pass, sharding and clipping.
"""
