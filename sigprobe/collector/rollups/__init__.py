"""Sum results up into time buckets: counts, distinct stations and histograms that merge exactly."""
