"""The engine of version 0.1.0 as it was before components: an oracle that today's engine must equal to the bit.

Nothing here is maintained. It is copied as it stood, apart from imports, and without backends other than NumPy.
"""
