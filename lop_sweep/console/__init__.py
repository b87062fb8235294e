"""What the two commands share: signals, standard streams, arguments, and what is printed.

Its modules are imported one by one, because the entry points must load as little as possible before signals are
blocked and standard streams are open.
"""
