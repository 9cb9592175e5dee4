"""Run background jobs: publishing, sums, corrections, partitions, retention."""
