"""Define the record, and describe its kinds, grades and times; this floor imports nothing."""
