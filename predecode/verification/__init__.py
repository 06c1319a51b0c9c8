"""Proof: does an output hold what its plan promised, and does the source still decode to it?"""
