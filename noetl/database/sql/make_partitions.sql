-- Make the weekly partitions of some weeks ahead, where they are missing.
SELECT make_partitions(%(weeks)s::integer)
