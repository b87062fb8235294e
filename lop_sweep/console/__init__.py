"""How the commands speak to people: arguments, signals, standard streams and what is printed."""
