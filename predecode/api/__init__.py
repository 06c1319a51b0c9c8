"""The calls, a file each: what the commands do, for a program; ``predecode`` names them."""
