"""The texts of figures: how large they are, what points say, and where a text is clear of lines."""
