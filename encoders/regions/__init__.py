"""Where the products are in a picture, and what a region of it looks like.

`boxes` (arithmetic), `foreground` and `scenes` (training pictures with known boxes), `proposals` (the network),
`detector` (opens and trains one), `features` (what an encoder sees of each region).
"""
