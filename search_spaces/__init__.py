"""The search spaces that come with lop-sweep: one small Python file each, plain Ray Tune."""
