"""The search spaces that come with lop-sweep: each is one small Python file in plain Ray Tune."""
