"""Run everything that happens by itself: publishing, sums, corrections, partitions, retention."""
